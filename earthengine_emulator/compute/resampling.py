"""Pixels of one lattice seen through another: nearest, bilinear and bicubic (docs/contract.md §4.7, `Image.resample`).

Positions are those of pixel centres: the centre of pixel k is at k + ½, so that a point at u + ½ lies between the
centres of floor(u) and floor(u) + 1, at the fraction t = u - floor(u).

bilinear: weights 1 - t, t over 2×2 pixels. bicubic: Keys' kernel with a = -½ (Catmull-Rom) over 4×4 pixels. A masked
neighbour, and one beyond the image's edge, counts with the value of the pixel that holds the point; where that pixel is
masked, the result is. Integers are rounded to nearest, halves up, and clamped to their type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.model import Image, Lattice, Pixels, Valid
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.computed import Plane
from earthengine_emulator.pixels import pyramid, sampling
from earthengine_emulator.pixels.sampling import Part

MODES: Final = ("nearest", "bilinear", "bicubic")
MOST_PIXELS: Final = 64 * 2**20
"""Of a fixed lattice no more are worked out for one block of output."""
_BLOCK: Final = 256
_SNAP: Final = 1e-7
"""A point so near to a pixel's centre, in pixels, takes that pixel as it is: float64 rounding must not blur a copy."""

Floats = npt.NDArray[np.float64]


class Window(Protocol):
    """The pixels of one level of a lattice, by window."""

    def read(self, column: int, row: int, width: int, height: int) -> Part:
        """Return pixels (height, width), masked beyond the edges."""
        ...

    def inside(self, column: int, row: int, width: int, height: int) -> Valid | None:
        """Return where the window lies within the footprint."""
        ...


class AssetWindow:
    """One pyramid level of an asset's band."""

    def __init__(self, pyramids: pyramid.Pyramids, image: Image, band: int, level: int) -> None:
        self._pyramids = pyramids
        self._image = image
        self._band = band
        self._level = level
        self._size = pyramid.size(image.bands[band], level)

    def read(self, column: int, row: int, width: int, height: int) -> Part:
        """Return pixels (height, width), masked beyond the edges."""
        return self._pyramids.window(self._image, self._band, self._level, column, row, width, height)

    def inside(self, column: int, row: int, width: int, height: int) -> Valid | None:
        """Return where the window lies within the band."""
        wide, tall = self._size
        c, r = np.arange(column, column + width), np.arange(row, row + height)
        return np.logical_and.outer((r >= 0) & (r < tall), (c >= 0) & (c < wide))


class PlaneWindow:
    """Any plane, worked out on a lattice whose pixels are 2^level native ones a side."""

    def __init__(self, pyramids: pyramid.Pyramids, plane: Plane, native: Lattice, level: int) -> None:
        self._pyramids = pyramids
        self._plane = plane
        self._native = native
        self._step = 1 << level

    def _reader(self, column: int, row: int, width: int, height: int) -> sampling.Reader:
        a, b, c, d, e, f = (v * self._step if i % 3 != 2 else v for i, v in enumerate(self._native.affine))
        affine = (a, b, c + a * column + b * row, d, e, f + d * column + e * row)
        return self._plane(self._pyramids, Lattice(self._native.crs, width, height, affine))

    def read(self, column: int, row: int, width: int, height: int) -> Part:
        """Return pixels (height, width); masked where the plane is."""
        return self._reader(column, row, width, height).rows(0, height)

    def inside(self, column: int, row: int, width: int, height: int) -> Valid | None:
        """Return where the window lies within the plane's footprint."""
        return self._reader(column, row, width, height).inside(0, height)


class Resampled:
    """A lattice's pixels through an output grid."""

    def __init__(self, window: Window, native: Lattice, level: int, grid: Lattice, mode: str) -> None:
        self._window = window
        self._level = level
        self._grid = grid
        self._mode = mode
        self._points = sampling.mapping(native, grid)

    def rows(self, first: int, count: int) -> Part:
        """Return pixels (count, grid width) of the output rows from `first` on, and where they are valid."""
        return self._blocks(first, count, self._nearest if self._mode == "nearest" else self._interpolated)

    def inside(self, first: int, count: int) -> Valid | None:
        """Return where output rows lie within the footprint."""
        values, _ = self._blocks(first, count, self._footprint)
        return values.astype(np.bool_)

    def _blocks(self, first: int, count: int, gather: Callable[[Floats, Floats], Part]) -> Part:
        width = self._grid.width
        parts: list[list[Part]] = []
        for r in range(0, count, _BLOCK):
            parts.append([])
            for c in range(0, width, _BLOCK):
                row, column = np.mgrid[r : min(r + _BLOCK, count), c : min(c + _BLOCK, width)]
                x, y = self._points(column + 0.5, row + (first + 0.5))
                with np.errstate(invalid="ignore"):
                    x, y = x / (1 << self._level), y / (1 << self._level)
                known = np.isfinite(x) & np.isfinite(y)
                if known.all():
                    parts[-1].append(gather(x, y))
                    continue
                # Points that have no place in the lattice's CRS: any place serves, since they are masked.
                anchor = np.unravel_index(known.argmax(), known.shape)
                values, valid = gather(
                    np.where(known, x, x[anchor] if known.any() else 0.5),
                    np.where(known, y, y[anchor] if known.any() else 0.5),
                )
                parts[-1].append((values, known if valid is None else valid & known))
        values = np.block([[values for values, _ in line] for line in parts])
        if all(valid is None for line in parts for _, valid in line):
            return values, None
        return values, np.block([[computed.everywhere(part) for part in line] for line in parts])

    def _around(
        self, i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], reach: int
    ) -> tuple[int, int, int, int]:
        """Return the window of pixels that hold the points, and of so many around them."""
        c, r = int(i.min()) - reach, int(j.min()) - reach
        width, height = int(i.max()) + reach + 1 - c, int(j.max()) + reach + 1 - r
        if width * height > MOST_PIXELS:
            raise errors.reprojection_too_large(width, height)
        return c, r, width, height

    def _nearest(self, x: Floats, y: Floats) -> Part:
        i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        around = self._around(i, j, 0)
        values, valid = self._window.read(*around)
        there = (j - around[1], i - around[0])
        return values[there], None if valid is None else valid[there]

    def _footprint(self, x: Floats, y: Floats) -> Part:
        i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        around = self._around(i, j, 0)
        inside = self._window.inside(*around)
        if inside is None:
            return np.ones(x.shape, np.uint8), None
        return inside[j - around[1], i - around[0]].astype(np.uint8), None

    def _interpolated(self, x: Floats, y: Floats) -> Part:
        taps = 2 if self._mode == "bilinear" else 4
        lead = taps // 2 - 1
        column, across = _fractions(x)
        row, down = _fractions(y)
        i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        around = self._around(i, j, taps // 2 + 1)
        values, valid = self._window.read(*around)
        here = (j - around[1], i - around[0])
        middle: Pixels = values[here].astype(np.float64)
        total = np.zeros(x.shape)
        weights = _weights(self._mode)
        for n, vertical in enumerate(weights(down)):
            for m, horizontal in enumerate(weights(across)):
                there = (row + (n - lead) - around[1], column + (m - lead) - around[0])
                tap = values[there].astype(np.float64)
                if valid is not None:
                    tap = np.where(valid[there], tap, middle)
                total += vertical * horizontal * tap
        return _as_type(total, values.dtype), None if valid is None else valid[here]


def _fractions(x: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the pixel whose centre lies before each point, and how far the point is on the way to the next centre."""
    u = x - 0.5
    nearest = np.rint(u)
    u = np.where(np.abs(u - nearest) < _SNAP, nearest, u)
    before = np.floor(u)
    return before.astype(np.int64), u - before


def _bilinear(t: Floats) -> list[Floats]:
    return [1 - t, t]


def _bicubic(t: Floats) -> list[Floats]:
    return [
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]


def _weights(mode: str) -> Callable[[Floats], list[Floats]]:
    return _bilinear if mode == "bilinear" else _bicubic


def _as_type(values: Floats, dtype: np.dtype[np.generic]) -> Pixels:
    """Return interpolated values in the band's own type."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype.str)
    return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(dtype)


def interpolated(image: Image, band: int, mode: str) -> Plane:
    """Return a band seen through any grid by interpolation from its own lattice, or from its pyramid where that is coarser."""
    native = image.bands[band].lattice
    plane = computed.plane_of(image, band)

    def through(pyramids: pyramid.Pyramids, grid: Lattice) -> Resampled:
        if isinstance(plane, computed.AssetPlane):
            level = sampling.level_of(plane.image, plane.band, grid)
            window: Window = AssetWindow(pyramids, plane.image, plane.band, level)
            return Resampled(window, plane.image.bands[plane.band].lattice, level, grid, mode)
        level = sampling.level_of(image, band, grid)
        return Resampled(PlaneWindow(pyramids, plane, native, level), native, level, grid, mode)

    return through


def fixed(plane: Plane, lattice: Lattice) -> Plane:
    """Return a plane worked out on one lattice, whatever the grid through which it is seen."""
    return lambda pyramids, grid: Resampled(
        PlaneWindow(pyramids, plane, lattice, 0), lattice, 0, grid, "nearest"
    )


@dataclass(frozen=True, slots=True)
class Averaged:
    """The mean of a lattice's pixels within each output pixel, each by its share; masked ones do not count.

    An output pixel is the upright box, in the lattice's own columns and rows, between the middles of its edges.
    """

    window: Window
    native: Lattice
    level: int
    grid: Lattice

    def _edges(self, first: int, count: int, columns: slice) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the left, right, upper and lower edges of output pixels in columns and rows of the level."""
        points = sampling.mapping(self.native, self.grid)
        row, column = np.mgrid[first : first + count, columns]
        x = [points(column + d, row + 0.5)[0] / (1 << self.level) for d in (0.0, 1.0)]
        y = [points(column + 0.5, row + d)[1] / (1 << self.level) for d in (0.0, 1.0)]
        return np.minimum(*x), np.maximum(*x), np.minimum(*y), np.maximum(*y)

    def most(self) -> int:
        """Return how many pixels the output pixel at the grid's middle holds."""
        left, right, top, bottom = self._edges(
            self.grid.height // 2, 1, slice(self.grid.width // 2, self.grid.width // 2 + 1)
        )
        return int(np.ceil((right - left).max() - _SNAP) * np.ceil((bottom - top).max() - _SNAP))

    def rows(self, first: int, count: int) -> Part:
        """Return means (count, grid width) in float64, and where there is any pixel."""
        parts = []
        for r in range(first, first + count, _BLOCK):
            line = [
                self._block(r, min(_BLOCK, first + count - r), slice(c, min(c + _BLOCK, self.grid.width)))
                for c in range(0, self.grid.width, _BLOCK)
            ]
            parts.append(line)
        return np.block([[v for v, _ in line] for line in parts]), np.block(
            [[m for _, m in line] for line in parts]
        )

    def _block(self, first: int, count: int, columns: slice) -> tuple[Floats, Valid]:
        left, right, top, bottom = self._edges(first, count, columns)
        total, weight = np.zeros(left.shape), np.zeros(left.shape)
        if not all(np.isfinite(edge).all() for edge in (left, right, top, bottom)):
            return total, weight > 0
        column, row = np.floor(left + _SNAP).astype(np.int64), np.floor(top + _SNAP).astype(np.int64)
        wide = int(np.ceil((right - column).max() - _SNAP))
        tall = int(np.ceil((bottom - row).max() - _SNAP))
        c0, r0 = int(column.min()), int(row.min())
        size = int(column.max()) + wide - c0, int(row.max()) + tall - r0
        if size[0] * size[1] > MOST_PIXELS:
            raise errors.reprojection_too_large(*size)
        values, valid = self.window.read(c0, r0, *size)
        known = computed.everywhere((values, valid))
        for j in range(tall):
            down = _share(top, bottom, row + j)
            for i in range(wide):
                there = (row + (j - r0), column + (i - c0))
                share = down * _share(left, right, column + i) * known[there]
                total += share * values[there].astype(np.float64)
                weight += share
        seen = weight > 0
        return total / np.where(seen, weight, 1), seen

    def inside(self, first: int, count: int) -> Valid | None:
        """Return where output rows have any pixel."""
        return self.rows(first, count)[1]


def _share(low: Floats, high: Floats, pixel: npt.NDArray[np.int64]) -> Floats:
    """Return how much of a pixel's side lies between two edges."""
    share: Floats = np.minimum(high, pixel + 1.0) - np.maximum(low, pixel)
    return np.where(share > _SNAP, share, 0.0)


def averaged(image: Image, band: int, most: int, *, best_effort: bool) -> Plane:
    """Return a band whose output pixels are the means of at most so many of its own.

    Raises:
        ApiError: 400 where they would be more; with `best_effort` the pyramid is read instead.
    """
    plane = computed.plane_of(image, band)
    asset = isinstance(plane, computed.AssetPlane)
    of, number = (plane.image, plane.band) if isinstance(plane, computed.AssetPlane) else (image, band)
    native = of.bands[number].lattice

    def through(pyramids: pyramid.Pyramids, grid: Lattice) -> Averaged:
        level = 0
        while True:
            window: Window = (
                AssetWindow(pyramids, of, number, level)
                if asset
                else PlaneWindow(pyramids, plane, native, level)
            )
            found = Averaged(window, native, level, grid)
            held = found.most()
            if held <= most:
                return found
            if not best_effort or native is computed.DEGREE:
                raise errors.too_many_pixels_to_reduce(held, most)
            level += 1

    return through
