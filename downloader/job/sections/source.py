"""`source` of the job file: whose pixels."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from downloader.errors import JobError
from downloader.job.sections.base import Section
from downloader.model.expression import Serializable, load_expression
from downloader.model.filter import Filter
from downloader.model.time import instant_us
from downloader.text import cut

_Text = Annotated[str, Field(min_length=1)]


def _names(value: Any) -> Any:
    if value is None or value == "all":
        return None
    if isinstance(value, (list, tuple)):
        return value
    raise ValueError("write a list of band names, such as [B2, B3], or all")


def _date(value: Any) -> Any:
    """Return a time as text; a bare date is its first moment, UTC."""
    if value is None:
        return None
    instant_us(str(value))
    return str(value)


_Time = Annotated[str | None, BeforeValidator(_date)]


def _condition(text: str) -> str:
    """Return a filter as written; raise JobError if it cannot be parsed."""
    Filter.parse(text)
    return text


_Condition = Annotated[_Text, AfterValidator(_condition)]


def _graph(value: Any) -> Any:
    return load_expression(value, "source.expression") if isinstance(value, Serializable) else value


class MaskBits(Section):
    """Pixels that a composite leaves out, by bits of a quality band."""

    band: _Text
    """Such as QA60."""
    bits: Annotated[tuple[Annotated[int, Field(ge=0, le=62)], ...], Field(min_length=1)]
    """A pixel is left out where any of these bits is set; bit 0 is the lowest."""


class Composite(Section):
    """One image computed by the service from many: cloud-masked, reduced over a period."""

    collection: _Text
    """Id of the collection that it is made from."""
    start: _Time
    """First moment of the period, UTC."""
    end: _Time
    """Behind the last moment of the period, UTC."""
    filter: _Condition | None = None
    """Condition on properties, such as `CLOUDY_PIXEL_PERCENTAGE < 10`."""
    reduce: Literal["median", "mosaic", "mean"] = "median"
    """Reducer that makes one pixel of many; `mosaic` takes the last that is not left out."""
    mask: MaskBits | None = None
    """Pixels to leave out before reducing."""
    index: Annotated[tuple[_Text, _Text] | None, Field()] = None
    """[A, B] adds the normalised difference (A − B) / (A + B) as a band `nd`, behind the others."""

    @model_validator(mode="after")
    def _period(self) -> Composite:
        _check_period(self.start, self.end)
        return self


_KINDS: Final = ("asset", "images", "collection", "expression", "composite")
_OF_MANY: Final = ("group_by", "on_missing_band", "properties")
_OF_COLLECTION: Final = ("start", "end", "filter", "limit", "order_by")


class Source(Section):
    """The source of pixels: one of an asset, a list of images, a collection, an expression, a composite."""

    asset: _Text | None = None
    """Id or full name of one image asset."""
    images: tuple[_Text, ...] | _Text | None = None
    """Ids of images, or a file with one a line: a time series in their order of time."""
    collection: _Text | None = None
    """Id of a collection: a time series of its images."""
    start: _Time = None
    """First moment of the period, UTC."""
    end: _Time = None
    """Behind the last moment of the period, UTC."""
    filter: _Condition | None = None
    """Condition on properties, such as `CLOUDY_PIXEL_PERCENTAGE < 10`."""
    limit: PositiveInt | None = None
    """No more than so many images, the first by `order_by`."""
    order_by: _Text | None = None
    """Property that `limit` counts by, the smallest first; `-NAME` for the greatest."""
    properties: tuple[_Text, ...] = ()
    """Properties of the images to keep along the time axis."""
    group_by: _Text = "image"
    """image, day, solar_day, or a property: images of one value become one slice, mosaicked by the service."""
    on_missing_band: Literal["fail", "nodata"] = "fail"
    """`fail` refuses an image that lacks a band; `nodata` stores the band's nodata value in its place."""
    expression: Annotated[dict[str, Any] | _Text | None, BeforeValidator(_graph)] = None
    """Serialised Earth Engine expression: a JSON file, or the expression itself; in the library also any object that
    serialises itself, such as an `ee.Image`."""
    composite: Composite | None = None
    """One image that the service computes from a collection."""
    bands: Annotated[
        tuple[_Text, ...] | None,
        BeforeValidator(_names),
        WithJsonSchema(
            {
                "anyOf": [
                    {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                    {"enum": ["all"]},
                ]
            }
        ),
    ] = None
    """Band ids in the order wanted; `all` takes the asset's."""
    on_update: Literal["refuse", "keep", "refetch"] = "refuse"
    """For an image that changed in the catalogue since its pixels were stored: refuse the run, keep them, or fetch them again."""

    @field_validator("bands")
    @classmethod
    def _bands_once(cls, bands: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if bands is not None and not bands:
            raise ValueError("name at least one band, or write all")
        if bands is not None and len(set(bands)) < len(bands):
            twice = sorted({band for band in bands if bands.count(band) > 1})
            raise ValueError(f"{cut(', '.join(twice))} is named more than once; name each band once")
        return bands

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if not given:
            raise ValueError(f"name one of {', '.join(_KINDS)}")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one of them")
        strangers = [*_OF_COLLECTION] if self.collection is None else []
        if self.collection is None and self.images is None:
            strangers += _OF_MANY
        wrong = [name for name in strangers if name in self.model_fields_set]
        if wrong:
            with_what = "collection" if wrong[0] in _OF_COLLECTION else "images and collection"
            raise JobError(
                f"goes with {with_what}, not with {given[0]}; leave it out", key=f"source.{wrong[0]}"
            )
        if self.collection is not None:
            if self.start is None or self.end is None:
                raise ValueError("a collection needs start and end")
            _check_period(self.start, self.end)
        return self

    @property
    def kind(self) -> str:
        """The key that is given: asset, images, collection, expression or composite."""
        return next(name for name in _KINDS if getattr(self, name) is not None)


def _check_period(start: str | None, end: str | None) -> None:
    if start is None or end is None:
        raise ValueError("start and end are needed; write dates such as 2017-04-01")
    if (instant_us(start) or 0) >= (instant_us(end) or 0):
        raise ValueError(f"start {start} must lie before end {end}, which is the first moment not taken")
