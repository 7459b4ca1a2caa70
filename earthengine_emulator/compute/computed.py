"""Images that are computed: every band a plane that can be read through any output grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

import numpy as np
import shapely

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.geometry import Shape
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Image, Lattice, PixelType, Valid
from earthengine_emulator.pixels.pyramid import Pyramids
from earthengine_emulator.pixels.sampling import Part, Reader, Sampler

DEGREE: Final = Lattice("EPSG:4326", 360, 180, (1, 0, -180, 0, -1, 90))
"""The grid of what has none, such as constants and composites: one degree per pixel (docs/contract.md §4.2)."""


Plane = Callable[[Pyramids, Lattice], Reader]
"""A plane, ready to be read through a grid."""


@dataclass(frozen=True, slots=True)
class Computation:
    """The source of a computed image; it has no pixels of its own, only planes."""

    planes: tuple[Plane, ...]
    grid: Lattice | None = None
    """The output grid that the computation itself fixes, if it does."""

    def reader(self, pyramids: Pyramids, band: int, grid: Lattice) -> Reader:
        """Return one band through a grid."""
        return self.planes[band](pyramids, grid)

    def read(self, band: int, column: int, row: int, width: int, height: int) -> Part:
        """Refuse: a computed image has no pixels of its own, only those of the grid on which it is asked for.

        Raises:
            TypeError: always; `reader` is the way to them.
        """
        raise TypeError(
            f"a computed image has no pixels of its own (band {band}, {column}, {row}, {width}×{height}): use reader()"
        )


def plane_of(image: Image, band: int) -> Plane:
    """Return a band of any image as a plane."""
    if isinstance(image.source, Computation):
        return image.source.planes[band]
    return AssetPlane(image, band)


@dataclass(frozen=True, slots=True)
class AssetPlane:
    """A band of an asset, as it is."""

    image: Image
    band: int

    def __call__(self, pyramids: Pyramids, grid: Lattice) -> Reader:
        """Return the band through a grid."""
        return Sampler(pyramids, self.image, self.band, grid)


def image_of(bands: Sequence[Band], planes: Sequence[Plane], like: Image | None = None) -> Image:
    """Return a computed image; with the properties of another, if there is one."""
    if like is None:
        return Image("", tuple(bands), Computation(tuple(planes)), "")
    fixed = like.source.grid if isinstance(like.source, Computation) else None
    return replace(like, bands=tuple(bands), source=Computation(tuple(planes), fixed))


def kind_of(kind: PixelType) -> str:
    """Return the key of PIXEL_TYPES."""
    return next(key for key, known in PIXEL_TYPES.items() if known == kind)


@dataclass(frozen=True, slots=True)
class _Combined:
    """A function of several planes, pixel by pixel."""

    readers: tuple[Reader, ...]
    function: Callable[[Sequence[Part]], Part]
    dtype: np.dtype[Any]
    cover: str

    def inside(self, first: int, count: int) -> Valid | None:
        footprints = [r.inside(first, count) for r in self.readers]
        if self.cover == "first":
            return footprints[0]
        if self.cover == "all":
            return both(*footprints)
        known = [mask for mask in footprints if mask is not None]
        return reduce(np.logical_or, known) if len(known) == len(footprints) else None

    def rows(self, first: int, count: int) -> Part:
        values, valid = self.function([r.rows(first, count) for r in self.readers])
        with np.errstate(invalid="ignore", over="ignore"):
            cast_to = values.astype(self.dtype, copy=False)
        return (cast_to if valid is None else np.where(valid, cast_to, np.zeros((), self.dtype))), valid


def combine(
    planes: Sequence[Plane],
    function: Callable[[Sequence[Part]], Part],
    kind: str,
    cover: str = "all",
) -> Plane:
    """Return the plane whose pixels are a function of those of other planes.

    Its footprint is where `all` of them are, `any` of them is, or the `first` is.
    """
    dtype = PIXEL_TYPES[kind].dtype
    return lambda pyramids, grid: _Combined(tuple(p(pyramids, grid) for p in planes), function, dtype, cover)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A plane whose masked pixels take those of another, within its own footprint or wherever that is."""

    target: Reader
    filling: Reader
    within: bool

    def inside(self, first: int, count: int) -> Valid | None:
        own, other = self.target.inside(first, count), self.filling.inside(first, count)
        if self.within:
            return own
        return None if own is None or other is None else own | other

    def rows(self, first: int, count: int) -> Part:
        values, valid = self.target.rows(first, count)
        if valid is None:
            return values, None
        other, known = self.filling.rows(first, count)
        with np.errstate(invalid="ignore", over="ignore"):
            filled = np.where(valid, values, other.astype(values.dtype))
        if self.within:
            known = both(known, self.target.inside(first, count))
        seen = None if known is None else valid | known
        return (filled if seen is None else np.where(seen, filled, np.zeros((), values.dtype))), seen


def fill(target: Plane, filling: Plane, *, within: bool) -> Plane:
    """Return the plane whose masked pixels are taken from another; `within` keeps what is outside its footprint masked."""
    return lambda pyramids, grid: _Filled(target(pyramids, grid), filling(pyramids, grid), within)


def both(*valid: Valid | None) -> Valid | None:
    """Return where all are valid; None is everywhere."""
    masks = [mask for mask in valid if mask is not None]
    return reduce(np.logical_and, masks) if masks else None


def everywhere(part: Part) -> Valid:
    """Return the validity of a part as an array."""
    values, valid = part
    return np.ones(values.shape, np.bool_) if valid is None else valid


@dataclass(frozen=True, slots=True)
class _Constant:
    """The same value everywhere."""

    value: float
    dtype: np.dtype[Any]
    width: int

    def rows(self, first: int, count: int) -> Part:
        del first
        return np.full((count, self.width), self.value, self.dtype), None

    def inside(self, first: int, count: int) -> Valid | None:
        del first, count
        return None


def constant(value: float) -> tuple[str, Plane]:
    """Return a plane of one value and its type: the smallest integer type that holds it, or float64."""
    kind = "f8"
    if isinstance(value, int):
        for candidate in ("u1", "i1", "u2", "i2", "u4", "i4"):
            low, high = PIXEL_TYPES[candidate].range or (0, 0)
            if low <= value <= high:
                kind = candidate
                break
    dtype = PIXEL_TYPES[kind].dtype
    return kind, lambda _, grid: _Constant(value, dtype, grid.width)


@dataclass(frozen=True, slots=True)
class _Inside:
    """1 where a pixel's centre lies in a shape."""

    shape: Shape
    grid: Lattice

    def rows(self, first: int, count: int) -> Part:
        row, column = np.mgrid[first : first + count, : self.grid.width] + 0.5
        a, b, c, d, e, f = self.grid.affine
        x, y = crs.convert(
            self.grid.crs, self.shape.system, c + a * column + b * row, f + d * column + e * row
        )
        return shapely.contains_xy(self.shape.geometry, x, y).astype(np.uint8), None

    def inside(self, first: int, count: int) -> Valid | None:
        return self.rows(first, count)[0].astype(np.bool_)


def inside(shape: Shape) -> Plane:
    """Return the plane that is 1 within a shape's areas."""
    if not shape.geometry.area:
        raise invalid_argument("Image.clip needs an area.")
    return lambda _, grid: _Inside(shape, grid)
