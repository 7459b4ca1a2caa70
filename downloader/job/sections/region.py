"""`region` of the job file: the place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, PositiveInt, field_validator, model_validator

from downloader.errors import JobError
from downloader.job.sections.base import CRS_TEXT, Section, checked, is_list
from downloader.job.units import Duration
from downloader.model.bbox import BoundingBox
from downloader.model.crs import Crs


class WindowSpec(Section):
    """A rectangle in pixels of the finest grid asked for."""

    column: int
    """Column of the leftmost pixel, from 0."""
    row: int
    """Row of the topmost pixel, from 0."""
    width: PositiveInt
    """Columns."""
    height: PositiveInt
    """Rows."""


class PointsSpec(Section):
    """Many small samples: a chip of pixels around each point."""

    file: Annotated[str, Field(min_length=1)]
    """CSV with a header, or GeoJSON of points: coordinates, and where there are such columns `id`, `image`, `date`; all
    others are kept."""
    chip: PositiveInt
    """Columns and rows of a chip, in pixels of the finest group; coarser groups get fewer, for the same ground."""
    before: Duration | None = None
    """Images of each point from so long before its `date` on are taken, such as `30d`."""
    after: Duration | None = None
    """Images of each point until so long after its `date` are taken, such as `30d`."""


class FieldsSpec(Section):
    """Samples of polygons: the pixels around each, and which of them lie inside."""

    file: Annotated[str | None, Field(min_length=1)] = None
    """Polygons: GeoJSON, GeoPackage or another vector file, or GeoParquet. Columns as of points; the file's own CRS counts."""
    features: dict[str, Any] | None = None
    """Polygons as a GeoJSON FeatureCollection, in place of a file; in the CRS of `region.crs`."""
    chip: PositiveInt | None = None
    """Columns and rows of each sample, in pixels of the finest group, where it is not to be the box of the largest field."""
    before: Duration | None = None
    """Images of each field from so long before its `date` on are taken, such as `30d`."""
    after: Duration | None = None
    """Images of each field until so long after its `date` are taken, such as `30d`."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"file": value}
        is_geojson = isinstance(value, Mapping) and value.get("type") == "FeatureCollection"
        return {"features": value} if is_geojson else value

    @model_validator(mode="after")
    def _one_origin(self) -> FieldsSpec:
        if (self.file is None) == (self.features is None):
            raise ValueError("give one of file and features, such as fields: {file: fields.geojson}")
        return self


KINDS: Final = ("window", "bbox", "geometry", "file", "points", "fields")
"""Keys of which one says where; without any it is all of the image."""


class Region(Section):
    """The region: all of an image where no key is given, or a part of it."""

    window: WindowSpec | None = None
    """Pixels of the finest group asked for; coarser groups take every pixel it touches."""
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        checked(lambda value: is_list(value, 4), "four numbers are needed: [west, south, east, north]"),
    ] = None
    """[west, south, east, north]: x before y, whatever the CRS."""
    geometry: dict[str, Any] | None = None
    """GeoJSON: a geometry, a feature, or a collection of features, whose union is taken."""
    file: Annotated[str | None, Field(min_length=1)] = None
    """Vector file: GeoJSON, or anything the library behind the extra `vector` reads; its own CRS counts."""
    points: PointsSpec | None = None
    """Samples, a chip for each point of a file: arrays become (sample, step, y, x) of all its images, or (sample, y, x)."""
    fields: FieldsSpec | None = None
    """Samples, one for each polygon of a file: arrays as with `points`, and `inside` (sample, y, x)."""
    crs: Annotated[str, *CRS_TEXT] = "EPSG:4326"
    """CRS of `bbox` and `geometry`, of the columns `x` and `y` of `points`, and of `fields.features`."""
    mask: bool = False
    """`true`: pixels outside the geometry become the band's nodata value."""
    all_touched: bool = False
    """`true`: with `mask` or `fields`, a pixel that is only touched is inside; else its centre decides."""
    buffer: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Widens the geometry by so many units of the image's CRS; negative narrows it."""

    @field_validator("crs")
    @classmethod
    def _crs_known(cls, crs: str) -> str:
        Crs.parse(crs)
        return crs

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one of them")
        features = None if self.fields is None else self.fields.features
        located = (self.bbox, self.geometry, self.points, features)
        if "crs" in self.model_fields_set and all(one is None for one in located):
            raise JobError(
                "says what CRS bbox, geometry, points or fields.features are in, and there is none; add one, or leave crs out",
                key="region.crs",
            )
        shaped = [name for name in ("mask", "all_touched", "buffer") if getattr(self, name)]
        if shaped and not self.is_shaped and self.fields is None:
            raise JobError(
                "goes with geometry, file or fields; add one, or leave it out", key=f"region.{shaped[0]}"
            )
        if self.mask and self.fields is not None:
            raise JobError(
                "means nothing with fields, whose array `inside` tells; leave it out", key="region.mask"
            )
        if self.all_touched and not self.mask and self.fields is None:
            raise JobError("goes with mask: true; add it, or leave this out", key="region.all_touched")
        if self.bbox is not None:
            self.box()
        return self

    @property
    def is_shaped(self) -> bool:
        """True if the region is a geometry."""
        return self.geometry is not None or self.file is not None

    @property
    def samples(self) -> PointsSpec | FieldsSpec | None:
        """Origin of the samples, `points` or `fields`; None where there are none."""
        return self.points or self.fields

    @property
    def samples_key(self) -> str:
        """Key of `samples`, for messages."""
        return "region.points" if self.fields is None else "region.fields"

    @property
    def is_place(self) -> bool:
        """True if the region is given by coordinates, rather than by pixels of an image."""
        return self.bbox is not None or self.samples is not None or self.is_shaped

    def box(self) -> BoundingBox:
        """Return the bounding box. Only where `bbox` is given."""
        if self.bbox is None:
            raise JobError("is not given", key="region.bbox")
        return BoundingBox(*self.bbox, crs=Crs.parse(self.crs))
