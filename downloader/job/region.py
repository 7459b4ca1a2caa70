"""`region` of the job file: where."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PositiveInt, field_validator, model_validator

from downloader.crs import Crs
from downloader.errors import JobError
from downloader.job.section import Section
from downloader.region import BoundingBox

__all__ = ["Region", "WindowSpec"]


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


def _four(value: Any) -> Any:
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 4):
        raise ValueError("four numbers are needed: [west, south, east, north]")
    return value


def _crs_text(value: Any) -> Any:
    return f"EPSG:{value}" if isinstance(value, int) else value


class Region(Section):
    """Where."""

    image: bool = False
    """`true`: all of the image, which is the default for one asset."""
    window: WindowSpec | None = None
    """Pixels of the finest group asked for; coarser groups take every pixel it touches."""
    bbox: Annotated[tuple[float, float, float, float] | None, BeforeValidator(_four)] = None
    """[west, south, east, north]: x before y, whatever the CRS."""
    crs: Annotated[str, BeforeValidator(_crs_text)] = "EPSG:4326"
    """CRS of `bbox`."""

    @field_validator("crs")
    @classmethod
    def _crs_known(cls, crs: str) -> str:
        try:
            Crs.parse(crs)
        except JobError as error:
            raise ValueError(str(error)) from None
        return crs

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        given = [name for name in ("image", "window", "bbox") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one of them")
        if "crs" in self.model_fields_set and self.bbox is None:
            raise ValueError("crs: says what CRS bbox is in, and there is no bbox; add one, or leave crs out")
        if self.bbox is not None:
            try:
                self.box()
            except JobError as error:
                raise ValueError(str(error).removeprefix("region.")) from None
        return self

    def box(self) -> BoundingBox:
        """The bounding box. Only where `bbox` is given."""
        if self.bbox is None:
            raise JobError("region.bbox: is not given")
        return BoundingBox(*self.bbox, crs=Crs.parse(self.crs))
