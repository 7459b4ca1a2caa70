"""`grid` of the job file: on which pixels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from downloader.job.section import Section

__all__ = ["Grid"]


def _pair(value: Any) -> Any:
    if isinstance(value, (int, float, str)):
        return (value, value)
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 2):
        raise ValueError("write one number, or two: [x, y]")
    return value


_PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_PixelSize = Annotated[tuple[_PositiveFloat, _PositiveFloat] | None, BeforeValidator(_pair)]


class Grid(Section):
    """On which pixels."""

    native: bool = True
    """The image's own: a group for each resolution."""
    resolution: _PixelSize = None
    """One pixel size for all bands, in CRS units: a number or [x, y]. Keeps the image's corner."""
    scale: _PixelSize = None
    """`resolution` in metres: the plan refuses it for an image whose CRS counts in something else."""
    align: Literal["region", "image"] = "region"
    """`image` widens the region to the image's lattice of 256 pixels."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "native":
            raise ValueError("write native, or keys under it, such as {resolution: 20}")
        return {} if value == "native" else value

    @model_validator(mode="after")
    def _one_kind(self) -> Grid:
        if self.resolution is not None and self.scale is not None:
            raise ValueError("scale: is another name of resolution; keep one")
        if self.pixel_size is not None and "native" in self.model_fields_set and self.native:
            raise ValueError("native and a resolution exclude each other; keep one")
        if self.pixel_size is None and not self.native:
            raise ValueError("native: false needs a resolution; give one, or leave this out")
        return self

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """(width, height) of the pixels asked for; None for the image's own."""
        return self.resolution or self.scale
