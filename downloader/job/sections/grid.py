"""`grid` of the job file: the pixel grid."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from downloader.errors import JobError
from downloader.job.sections.base import CRS_TEXT, Section, checked, is_list
from downloader.model.crs import Crs


def _pair(value: Any) -> Any:
    if isinstance(value, (int, float, str)):
        return (value, value)
    if value is not None and not is_list(value, 2):
        raise ValueError("write one number, or two: [x, y]")
    return value


_PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_PixelSize = Annotated[
    tuple[_PositiveFloat, _PositiveFloat] | None,
    BeforeValidator(_pair),
    WithJsonSchema(
        {"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 2, "maxItems": 2}]}
    ),
]


_Finite = Annotated[float, Field(allow_inf_nan=False)]


Resampling = Literal["nearest", "bilinear", "bicubic", "average"]


def _modes(value: Any) -> Any:
    given = list(value.values()) if isinstance(value, dict) else [value]
    if not given or any(not isinstance(one, str) or one not in get_args(Resampling) for one in given):
        raise ValueError(
            "write nearest, bilinear, bicubic or average, or one of them for each band, such as {B4: bilinear}"
        )
    return value


KINDS: Final = ("resolution", "scale", "transform", "like")
"""Keys of which one says what the pixels are; without any they are the image's own."""

UTM: Final = "utm"
"""`grid.crs` for the zone of the region's middle."""


class Grid(Section):
    """The pixel grid; `native`, the image's own with a group for each resolution, where no key is given."""

    resolution: _PixelSize = None
    """One pixel size for all bands, in CRS units: a number or [x, y]. Keeps the image's corner; with `crs`, pixel
    edges lie on whole multiples of it."""
    scale: _PixelSize = None
    """`resolution` in metres, whatever the CRS counts in; a degree is 111,319.49 m, as Earth Engine counts it."""
    crs: Annotated[str | None, *CRS_TEXT] = None
    """Another CRS, with `resolution`, `scale` or `transform`; `utm` is the zone of the region's middle."""
    zones: Annotated[
        Literal["each"] | None,
        checked(
            lambda value: value == "each",
            "write each, for a group of each UTM zone that the images have, or leave it out",
        ),
    ] = None
    """`each`: a group for each UTM zone that the images have, native there; with `resolution` or `scale`, pixel edges lie
    on whole multiples of it."""
    transform: Annotated[
        tuple[_Finite, _Finite, _Finite, _Finite, _Finite, _Finite] | None,
        checked(
            lambda value: is_list(value, 6),
            "six numbers are needed: [scaleX, shearX, translateX, shearY, scaleY, translateY]",
        ),
    ] = None
    """The whole affine transform: [scaleX, shearX, translateX, shearY, scaleY, translateY]."""
    like: Annotated[str | None, Field(min_length=1)] = None
    """A band of the source, or a raster file or mosaic, whose pixel grid is taken."""
    resampling: Annotated[Resampling | dict[str, Resampling], BeforeValidator(_modes)] = "nearest"
    """Resampling to another grid, for all bands or for each; other than nearest it is computed (computePixels).
    `average` is the mean of the pixels that a coarser one holds. Classes and bits, and bands that a mapping does not name,
    are read nearest."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "native":
            raise ValueError("write native, or keys under it, such as {resolution: 20}")
        return {} if value == "native" else value

    @field_validator("crs")
    @classmethod
    def _crs_known(cls, crs: str | None) -> str | None:
        if crs is None:
            return None
        if crs.strip().lower() == UTM:
            return UTM
        Crs.parse(crs)
        return crs

    @model_validator(mode="after")
    def _one_kind(self) -> Grid:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        one = [name for name in ("crs", "transform", "like") if getattr(self, name) is not None]
        if self.zones is not None and one:
            raise JobError(
                f"gives each UTM zone a grid of its own, and {one[0]} one to all; keep one of them",
                key="grid.zones",
            )
        if self.crs is not None and (not given or self.like is not None):
            raise JobError(
                "goes with resolution, scale or transform; give one, or leave it out", key="grid.crs"
            )
        if self.resampling != "nearest" and not given:
            raise JobError(
                "native pixels are not resampled; give a resolution, or leave this out", key="grid.resampling"
            )
        return self

    def pixel_size(self, crs: Crs) -> tuple[float, float] | None:
        """Return (width, height) of the pixels asked for, in units of `crs`; None where the grid says it otherwise."""
        if self.scale is None:
            return self.resolution
        return self.scale[0] / crs.metres_per_unit, self.scale[1] / crs.metres_per_unit

    @property
    def is_native(self) -> bool:
        """True if every band keeps its own grid."""
        return all(getattr(self, name) is None for name in KINDS)
