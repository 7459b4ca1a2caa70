"""`source` of the job file: images, and what is computed from them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from downloader.errors import JobError
from downloader.job.sections.bands import Bands, BandSpec, band_spec
from downloader.job.sections.base import Section
from downloader.job.sections.mask import Mask
from downloader.job.sections.pick import Clearest, Pick
from downloader.job.sections.reduce import Reduce
from downloader.model.expression import Serializable, load_expression
from downloader.model.filter import Filter
from downloader.model.time import SEASONS, instant_us
from downloader.text import few

_Text = Annotated[str, Field(min_length=1)]


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


KINDS: Final = ("asset", "images", "collection", "expression")
_Share = Annotated[float, Field(ge=0, le=1)]
OF_MANY: Final = ("every", "reduce", "on_missing_band", "properties")
"""Keys that mean something for several images, however they are named."""

OF_LISTING: Final = ("months", "season", "min_cover", "min_clear", "limit", "order_by", "pick")
"""Keys that choose among the images of a collection or an expression, besides `start`, `end` and `filter`."""


class Source(Section):
    """The source of pixels: an asset, a list of images, a collection or an expression; what is done to each image, and over time."""

    asset: _Text | None = None
    """Id or full name of one image asset."""
    images: tuple[_Text, ...] | _Text | None = None
    """Ids of images, or a file with one a line: a time series in their order of time."""
    collection: _Text | Annotated[tuple[_Text, ...], Field(min_length=1)] | None = None
    """Id of a collection, or a list of them: a time series of their images."""
    start: _Time = None
    """First moment of the period, UTC; start and end are left out where the images have no times."""
    end: _Time = None
    """Behind the last moment of the period, UTC."""
    months: Annotated[tuple[Annotated[int, Field(ge=1, le=12)], ...], Field(min_length=1)] | None = None
    """Months of the year, 1 to 12, in which an image begins, UTC."""
    season: Literal["DJF", "MAM", "JJA", "SON"] | None = None
    """Three months of the year, in place of months; a DJF is named after the year of its January."""
    filter: _Condition | None = None
    """Condition on properties, such as `CLOUDY_PIXEL_PERCENTAGE < 10`."""
    min_cover: _Share | None = None
    """Images that cover less than this share of the region, 0 to 1, are left out; every band asked for counts."""
    min_clear: _Share | None = None
    """Images of which the mask leaves less than this share of what they cover, 0 to 1, are left out."""
    limit: PositiveInt | None = None
    """No more than so many images, of all collections together, the first by `order_by`."""
    order_by: _Text | None = None
    """Property that `limit` counts by, the smallest first; `-NAME` for the greatest."""
    pick: Pick = None
    """`all`; `{clearest: 1, per: season}`: of each period the whole images that show most of the region unmasked; `nearest`:
    of each point of `region.points` the image nearest to its date."""
    properties: tuple[_Text, ...] = ()
    """Properties of the images to keep along the time axis."""
    on_missing_band: Literal["fail", "nodata"] = "fail"
    """`fail` refuses an image that lacks a band; `nodata` stores the band's nodata value in its place."""
    expression: Annotated[dict[str, Any] | _Text | None, BeforeValidator(_graph)] = None
    """Serialised Earth Engine expression of an image or an image collection: a JSON file, or the expression itself; in the
    library also any object that serialises itself, such as an `ee.Image` or `ee.ImageCollection`."""
    mask: Mask = None
    """Pixels to leave out of each image: `clouds`, or one or several rules on quality bands."""
    scale: Literal["none", "catalog"] = "none"
    """`catalog` applies each band's scale and offset, so that values are in physical units; `none` leaves numbers as stored."""
    bands: Bands = None
    """Band ids, colours (`red`) and formulas (`ndvi: (B8 - B4) / (B8 + B4)`) in the order wanted; `all` takes the asset's."""
    dtype: Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"] | None = None
    """Type of computed bands; default the smallest that holds them exactly, float32 for fractions."""
    every: Annotated[_Text, Field(examples=["image", "month", "all", "MGRS_TILE"])] = "image"
    """Images that become one slice: image, day, solar_day, 16d, month, season, year, all, or those with one value of a property."""
    reduce: Reduce = None
    """Reducer that makes one image of several: first, last, median, mean, min, max, p10, count, std, medoid, {least: BAND}, {most: BAND}."""
    on_update: Literal["refuse", "keep", "refetch"] = "refuse"
    """For an image that changed in the catalogue since its pixels were stored: refuse the run, keep them, or fetch them again."""

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if not given:
            raise ValueError(f"name one of {', '.join(KINDS)}")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one of them")
        if self.expression is not None:
            self._check_of_expression()
            return self  # whether it computes many images is for the service to say
        strangers = ["start", "end", "filter", *OF_LISTING] if self.collection is None else []
        if self.images is not None and self.pick == "nearest":
            strangers.remove("pick")
        if self.collection is None and self.images is None:
            strangers += OF_MANY
        wrong = [name for name in strangers if name in self.model_fields_set]
        if wrong:
            with_what = "collection" if wrong[0] == "filter" else "collection and expression"
            if wrong[0] in OF_MANY:
                with_what = "images, collection and expression"
            raise JobError(
                f"goes with {with_what}, not with {given[0]}; leave it out", key=f"source.{wrong[0]}"
            )
        return self

    def _check_of_expression(self) -> None:
        """Raise JobError for a key that needs the catalogue's word on a collection."""
        if self.mask == "clouds":
            raise JobError("is known for collections, not for an expression; write a rule", key="source.mask")
        if self.scale == "catalog":
            raise JobError(
                "is known for collections, not for an expression; write formulas in bands, such as {red: SR_B4 * 2.75e-05 - 0.2}",
                key="source.scale",
            )
        if self.filter is not None:
            raise JobError(
                "selects assets of a collection; write it into the expression, as "
                "collection.filter(ee.Filter.lt('CLOUDY_PIXEL_PERCENTAGE', 20))",
                key="source.filter",
            )

    @model_validator(mode="after")
    def _one_period(self) -> Source:
        if self.collection is not None or self.expression is not None:
            _check_period(self.start, self.end)
        if self.months is not None and self.season is not None:
            raise ValueError("months and season exclude each other; keep one of them")
        if self.min_clear is not None and self.mask is None:
            raise JobError(
                "is the share that mask leaves; add it, such as mask: clouds, or leave min_clear out",
                key="source.min_clear",
            )
        if self.clearest is not None and self.mask is None:
            raise JobError(
                "takes the images of which mask leaves most; add it, such as mask: clouds, or leave pick out",
                key="source.pick",
            )
        if self.clearest is not None and self.start is None and self.clearest.per != "all":
            raise JobError(
                "counts in periods, and without source.start and end there are none; write per: all",
                key="source.pick.per",
            )
        return self

    @model_validator(mode="after")
    def _over_time(self) -> Source:
        if self.every == "image" and self.reduce is not None:
            raise JobError(
                "goes with every, which says what becomes one slice, such as month or all; add it, or leave reduce out",
                key="source.reduce",
            )
        if self.every != "image" and self.reduce is None:
            raise JobError(
                f"{self.every} makes one slice of several images and needs reduce, such as reduce: median",
                key="source.every",
            )
        if self.every == "all" and self.properties:
            raise JobError(
                "lie along time, and every: all has no time axis; leave them out", key="source.properties"
            )
        return self

    @property
    def collections(self) -> tuple[str, ...]:
        """Ids of the collections; empty for other sources."""
        one = self.collection
        return tuple(dict.fromkeys((one,) if isinstance(one, str) else one or ()))

    @property
    def clearest(self) -> Clearest | None:
        """Rule that picks the clearest images of each period; None where there is none."""
        return None if self.pick == "nearest" else self.pick

    @property
    def months_taken(self) -> frozenset[int]:
        """Months of the year in which images begin."""
        if self.season is not None:
            first = 3 * SEASONS.index(self.season)
            return frozenset((first + k - 1) % 12 + 1 for k in range(3))
        return frozenset(self.months or range(1, 13))

    @property
    def outputs(self) -> tuple[BandSpec, ...] | None:
        """The bands asked for, in their order; None for those of the first image."""
        return None if self.bands is None else tuple(map(band_spec, self.bands))

    @property
    def is_computed(self) -> bool:
        """True if each image is computed, beyond choosing bands of the catalogue."""
        made = any(not isinstance(entry, str) for entry in self.bands or ())
        return made or self.mask is not None or self.scale != "none" or self.dtype is not None

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """Names of the bands asked for; None for those of the first image."""
        return None if self.outputs is None else tuple(one.name for one in self.outputs)

    @property
    def catalogue_bands(self) -> tuple[str, ...] | None:
        """Bands of the catalogue that the job may read; None for all."""
        if self.outputs is None:
            return None
        rules = (rule for rule in self.mask if not rule.of) if isinstance(self.mask, tuple) else ()
        named = [name for one in self.outputs for name in one.bands] + [rule.band for rule in rules]
        return tuple(dict.fromkeys(named))

    @property
    def kind(self) -> str:
        """The key that is given: asset, images, collection or expression."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def name(self) -> str:
        """Short name of the source, for messages."""
        if self.asset is not None:
            return self.asset
        return few(self.collections, most=3) or (
            "an expression" if self.images is None else "the images of the job"
        )


def _check_period(start: str | None, end: str | None) -> None:
    if start is None and end is None:
        return  # whether the images have times is for the catalogue to say
    if start is None or end is None:
        lacking = "start" if start is None else "end"
        raise ValueError(f"{lacking} is needed too; write a date such as 2017-04-01")
    if (instant_us(start) or 0) >= (instant_us(end) or 0):
        raise ValueError(f"start {start} must lie before end {end}, which is the first moment not taken")
