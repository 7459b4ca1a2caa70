"""`region` of the job file: where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PositiveInt, WithJsonSchema, field_validator, model_validator

from downloader.errors import JobError
from downloader.job.sections.base import Section
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


def _four(value: Any) -> Any:
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 4):
        raise ValueError("four numbers are needed: [west, south, east, north]")
    return value


def _crs_text(value: Any) -> Any:
    return f"EPSG:{value}" if isinstance(value, int) else value


_INSTEAD: Final = {
    "asset": "a table of features is no region here; export it as GeoJSON, and name the file in region.file",
    "point": "a point has no area; write a box around it, region.bbox: [west, south, east, north], or name a file of points in "
    "region.points",
}
"""Keys that users expect → what to write."""


class Region(Section):
    """The region: all of an image, or a part of it."""

    image: bool = False
    """`true`: all of the image, which is the default for one asset."""
    window: WindowSpec | None = None
    """Pixels of the finest group asked for; coarser groups take every pixel it touches."""
    bbox: Annotated[tuple[float, float, float, float] | None, BeforeValidator(_four)] = None
    """[west, south, east, north]: x before y, whatever the CRS."""
    geometry: dict[str, Any] | None = None
    """GeoJSON: a geometry, a feature, or a collection of features, whose union is taken."""
    file: Annotated[str | None, Field(min_length=1)] = None
    """Vector file: GeoJSON, or anything the library behind the extra `vector` reads; its own CRS counts."""
    points: PointsSpec | None = None
    """Samples, a chip for each point of a file: arrays become (sample, step, y, x) of all its images, or (sample, y, x)."""
    crs: Annotated[
        str, BeforeValidator(_crs_text), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
    ] = "EPSG:4326"
    """CRS of `bbox` and `geometry`, and of the columns `x` and `y` of `points`."""
    mask: bool = False
    """`true`: pixels outside the geometry become the band's nodata value."""
    all_touched: bool = False
    """`true`: with `mask`, a pixel that is only touched is inside; else its centre decides."""
    buffer: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Widens the geometry by so many units of the image's CRS; negative narrows it."""

    @model_validator(mode="before")
    @classmethod
    def _expected(cls, values: Any) -> Any:
        for key in _INSTEAD if isinstance(values, Mapping) else ():
            if key in values:
                raise JobError(_INSTEAD[key], key=f"region.{key}")
        return values

    @field_validator("crs")
    @classmethod
    def _crs_known(cls, crs: str) -> str:
        Crs.parse(crs)
        return crs

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        given = [
            name for name in ("image", "window", "bbox", "geometry", "file", "points") if getattr(self, name)
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one of them")
        located = (self.bbox, self.geometry, self.points)
        if "crs" in self.model_fields_set and all(one is None for one in located):
            raise JobError(
                "says what CRS bbox, geometry or points are in, and there is none; add one, or leave crs out",
                key="region.crs",
            )
        shaped = [name for name in ("mask", "all_touched", "buffer") if getattr(self, name)]
        if shaped and not self.is_shaped:
            raise JobError("goes with geometry or file; add one, or leave it out", key=f"region.{shaped[0]}")
        if self.all_touched and not self.mask:
            raise JobError("goes with mask: true; add it, or leave this out", key="region.all_touched")
        if self.bbox is not None:
            self.box()
        return self

    @property
    def is_shaped(self) -> bool:
        """Whether the region is a geometry."""
        return self.geometry is not None or self.file is not None

    @property
    def is_place(self) -> bool:
        """Whether the region is given by coordinates, rather than by pixels of an image."""
        return self.bbox is not None or self.points is not None or self.is_shaped

    def box(self) -> BoundingBox:
        """Return the bounding box. Only where `bbox` is given."""
        if self.bbox is None:
            raise JobError("is not given", key="region.bbox")
        return BoundingBox(*self.bbox, crs=Crs.parse(self.crs))
