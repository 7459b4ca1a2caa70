"""Nearest neighbour by pixel centre: where each output pixel finds its source pixel (docs/contract.md §4.1).

A request on the band's own lattice is a plain window; one that is parallel to it takes whole columns and rows; any
other goes through a map of points, in blocks, so that the source window stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.model import Image, Lattice, Pixels, Valid
from earthengine_emulator.pixels import pyramid

Ints = npt.NDArray[np.int64]
Composite = tuple[float, float, float, float, float, float]
"""Output (column, row) to native (column, row), as an affine in the order of `Lattice.affine`."""

Part = tuple[Pixels, Valid | None]
"""Pixels, and where they are valid; None is everywhere."""

_BLOCK = 256
_PARALLEL = 1e-9
"""Relative slack when two affines are compared: far below a pixel over the longest side, above float64 rounding."""


class Reader(Protocol):
    """Rows of one plane through one output grid."""

    def rows(self, first: int, count: int) -> Part:
        """Return pixels (count, grid width) of the output rows from `first` on, and where they are valid."""
        ...

    def inside(self, first: int, count: int) -> Valid | None:
        """Return where those rows lie within the plane's footprint; None is everywhere."""
        ...


class Joined(Protocol):
    """A source of pixels whose bands can be made together with those of other images."""

    def alike(self, band: int) -> object | None:
        """Return what such bands have in common; None for a band that is made alone."""
        ...

    def together(self, bands: Sequence[tuple[object, int]], window: tuple[int, int, int, int]) -> Pixels:
        """Return pixels (height, width, bands) of a window of bands of several images."""
        ...


class Rendered(Protocol):
    """A source of pixels that reads itself through any grid, since it has no lattice of its own."""

    def reader(self, pyramids: pyramid.Pyramids, band: int, grid: Lattice) -> Reader:
        """Return one band through a grid."""
        ...


def reader(pyramids: pyramid.Pyramids, image: Image, band: int, grid: Lattice) -> Reader:
    """Return one band of any image through a grid."""
    if hasattr(image.source, "reader"):
        return cast("Rendered", image.source).reader(pyramids, band, grid)
    return Sampler(pyramids, image, band, grid)


@dataclass(frozen=True, slots=True)
class Placement:
    """An output grid's position on one band: the same lattice shifted by whole pixels, or anything else."""

    composite: Composite | None
    """None when the CRSs differ."""
    level: int
    """Pyramid level to read."""
    offset: tuple[int, int] | None
    """Native column and row of output pixel (0, 0), when the two lattices coincide."""


def _compose(native: Lattice, grid: Lattice) -> Composite:
    a, b, c, d, e, f = native.affine
    ga, gb, gc, gd, ge, gf = grid.affine
    det = a * e - b * d
    x, y = gc - c, gf - f
    return (
        (e * ga - b * gd) / det,
        (e * gb - b * ge) / det,
        (e * x - b * y) / det,
        (a * gd - d * ga) / det,
        (a * ge - d * gb) / det,
        (a * y - d * x) / det,
    )


def place(image: Image, band: int, grid: Lattice) -> Placement:
    """Return the position of `grid` on a band, and the pyramid level to read."""
    return _coinciding(image.bands[band].lattice, grid) or _apart(image, band, grid)


@lru_cache(maxsize=64)
def _coinciding(native: Lattice, grid: Lattice) -> Placement | None:
    """Return the position of a grid that is a lattice shifted by whole pixels; None for any other. Kept for all of a request."""
    if not crs.same(grid.crs, native.crs):
        return None
    composite = _compose(native, grid)
    a, b, c, d, e, f = composite
    slack = max(_PARALLEL, 1e-4 / max(grid.width, grid.height))
    if abs(a - 1) < slack and abs(e - 1) < slack and abs(b) < slack and abs(d) < slack:
        # The centre of output pixel k is at c + k + ½, so the pixel that holds it is k + floor(c + ½).
        return Placement(composite, 0, (math.floor(c + 0.5), math.floor(f + 0.5)))
    return None


def _apart(image: Image, band: int, grid: Lattice) -> Placement:
    native = image.bands[band].lattice
    composite = _compose(native, grid) if crs.same(grid.crs, native.crs) else None
    return Placement(composite, level_of(image, band, grid), None)


def level_of(image: Image, band: int, grid: Lattice) -> int:
    """Return the pyramid level that serves a grid."""
    native = image.bands[band].lattice
    if not crs.same(grid.crs, native.crs):
        return _level(_local_scale(native, grid), image, band)
    a, b, _, d, e, _ = _compose(native, grid)
    return _level(min(math.hypot(a, d), math.hypot(b, e)), image, band)


def mapping(
    native: Lattice, grid: Lattice
) -> Callable[[crs.Points, crs.Points], tuple[crs.Points, crs.Points]]:
    """Return the function from points of the output grid (column, row) to points of a native lattice."""
    if not crs.same(grid.crs, native.crs):
        return lambda column, row: _native_points(native, grid, column, row)
    a, b, c, d, e, f = _compose(native, grid)
    return lambda column, row: (c + a * column + b * row, f + d * column + e * row)


def _level(scale: float, image: Image, band: int) -> int:
    """Return floor(log2(output scale / native scale)) within the pyramid."""
    if not math.isfinite(scale) or scale < 2 * (1 - _PARALLEL):
        return 0
    return min(math.floor(math.log2(scale) + _PARALLEL), pyramid.levels(image.bands[band]))


def _local_scale(native: Lattice, grid: Lattice) -> float:
    """Return native pixels per output pixel at the grid's centre, along the finer axis; infinite where undefined."""
    middle = np.array([grid.width / 2, grid.width / 2 + 1, grid.width / 2])
    down = np.array([grid.height / 2, grid.height / 2, grid.height / 2 + 1])
    columns, rows = _native_points(native, grid, middle, down)
    return min(
        math.hypot(columns[1] - columns[0], rows[1] - rows[0]),
        math.hypot(columns[2] - columns[0], rows[2] - rows[0]),
    )


def _native_points(
    native: Lattice, grid: Lattice, column: crs.Points, row: crs.Points
) -> tuple[crs.Points, crs.Points]:
    """Return native column and row of points of the output grid."""
    ga, gb, gc, gd, ge, gf = grid.affine
    x, y = crs.convert(grid.crs, native.crs, gc + ga * column + gb * row, gf + gd * column + ge * row)
    a, b, c, d, e, f = native.affine
    det = a * e - b * d
    with np.errstate(invalid="ignore"):
        return (e * (x - c) - b * (y - f)) / det, (a * (y - f) - d * (x - c)) / det


class Sampler:
    """One band seen through one output grid."""

    def __init__(self, pyramids: pyramid.Pyramids, image: Image, band: int, grid: Lattice) -> None:
        self._pyramids = pyramids
        self._image = image
        self._band = band
        self._grid = grid
        self.placement = place(image, band, grid)
        self._size = pyramid.size(image.bands[band], self.placement.level)

    def rows(self, first: int, count: int) -> tuple[Pixels, Valid | None]:
        """Return output rows `first`…: pixels (count, grid width), 0 where not valid, and the validity (None: all)."""
        placement, width = self.placement, self._grid.width
        if placement.offset is not None:
            column, row = placement.offset
            level = placement.level
            return self._pyramids.window(self._image, self._band, level, column, row + first, width, count)
        composite = placement.composite
        if composite is not None and composite[1] == 0 == composite[3]:
            a, _, c, _, e, f = composite
            columns = np.floor(c + a * (np.arange(width) + 0.5)).astype(np.int64)
            rows = np.floor(f + e * (np.arange(first, first + count) + 0.5)).astype(np.int64)
            return self._crossed(columns, rows)
        return self._scattered(first, count)

    def alike(self) -> object | None:
        """Return what bands that can be made in one pass have in common; None for one that is made alone."""
        source = self._image.source
        if self.placement.offset is None or self.placement.level or not hasattr(source, "alike"):
            return None
        return cast("Joined", source).alike(self._band)

    def native(self, first: int, count: int) -> tuple[int, int, int, int] | None:
        """Return the window that output rows are of the band's own pixels; None where it reaches over the edge."""
        assert self.placement.offset is not None  # noqa: S101  # as `alike` says
        column, row = self.placement.offset
        wide, tall = self._size
        row += first
        if min(column, row) < 0 or column + self._grid.width > wide or row + count > tall:
            return None
        return column, row, self._grid.width, count

    def together(self, bands: Sequence[Sampler], window: tuple[int, int, int, int]) -> Pixels:
        """Return pixels (height, width, bands) of bands that are `alike`."""
        return cast("Joined", self._image.source).together([one.source for one in bands], window)

    @property
    def source(self) -> tuple[object, int]:
        """The image's source, and the band."""
        return self._image.source, self._band

    def key(self, window: tuple[int, int, int, int]) -> pyramid.Window:
        """Return what a window of this band is known by."""
        return (self._image.name, self._band, *window)

    def inside(self, first: int, count: int) -> Valid:
        """Return where output rows lie within the band's extent, masked or not."""
        native = self._image.bands[self._band].lattice
        row, column = np.mgrid[first : first + count, : self._grid.width]
        x, y = mapping(native, self._grid)(column + 0.5, row + 0.5)
        with np.errstate(invalid="ignore"):
            within: Valid = (x >= 0) & (x < native.width) & (y >= 0) & (y < native.height)
        return within

    def _read(self, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        level = self.placement.level
        return self._pyramids.read(self._image, self._band, level, column, row, width, height)

    def _blank(self, height: int, width: int) -> tuple[Pixels, Valid]:
        dtype = self._image.bands[self._band].type.dtype
        return np.zeros((height, width), dtype), np.zeros((height, width), np.bool_)

    def _crossed(self, columns: Ints, rows: Ints) -> tuple[Pixels, Valid | None]:
        """Return every pixel at the crossing of native columns and rows."""
        native = self._image.bands[self._band].lattice
        level = self.placement.level
        ok_c = (columns >= 0) & (columns < native.width)
        ok_r = (rows >= 0) & (rows < native.height)
        out, valid = self._blank(len(rows), len(columns))
        if not ok_c.any() or not ok_r.any():
            return out, valid
        column, row = columns[ok_c] >> level, rows[ok_r] >> level
        c0, r0 = int(column.min()), int(row.min())
        values, mask = self._read(c0, r0, int(column.max()) - c0 + 1, int(row.max()) - r0 + 1)
        here, there = np.ix_(ok_r, ok_c), np.ix_(row - r0, column - c0)
        out[here] = values[there]
        valid[here] = True if mask is None else mask[there]
        return out, None if valid.all() else valid

    def _scattered(self, first: int, count: int) -> tuple[Pixels, Valid | None]:
        """Return the pixels of any map of points, read block by block."""
        width, level = self._grid.width, self.placement.level
        native = self._image.bands[self._band].lattice
        points = mapping(native, self._grid)
        out, valid = self._blank(count, width)
        for r in range(0, count, _BLOCK):
            for c in range(0, width, _BLOCK):
                block = (slice(r, min(r + _BLOCK, count)), slice(c, min(c + _BLOCK, width)))
                row, column = np.mgrid[block]
                x, y = points(column + 0.5, row + (first + 0.5))
                with np.errstate(invalid="ignore"):
                    ok = (x >= 0) & (x < native.width) & (y >= 0) & (y < native.height)
                if ok.any():
                    i, j = x[ok].astype(np.int64) >> level, y[ok].astype(np.int64) >> level
                    out[block][ok], mask = self._gather(i, j)
                    valid[block][ok] = mask
        return out, None if valid.all() else valid

    def _gather(self, i: Ints, j: Ints) -> tuple[Pixels, Valid | bool]:
        """Return the level's pixels at points (column i, row j), through their bounding window."""
        c0, r0 = int(i.min()), int(j.min())
        values, mask = self._read(c0, r0, int(i.max()) - c0 + 1, int(j.max()) - r0 + 1)
        there = (j - r0, i - c0)
        return values[there], True if mask is None else mask[there]
