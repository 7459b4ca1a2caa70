"""Bounding boxes as windows of a grid. Pure; pyproj does the geometry between CRSs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import Crs, transformer
from downloader.model.grid import PixelGrid, Window, around

_SAMPLES: Final = 129
"""Points along an edge that goes from one CRS to another: edges bend."""

_ROUNDS: Final = 4
"""Times that the neighbourhood of an edge's extreme point is sampled anew: the last step is 10⁻⁹ of the edge."""

_BISECTIONS: Final = 38
"""Halvings after which a gap between neighbours that is still a pixel wide is a cut, not a steep slope."""

_Corners = tuple[tuple[float, float], ...]
_Line = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle along the axes of its CRS; x before y always."""

    west: float
    south: float
    east: float
    north: float
    crs: Crs

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise JobError(problem, key="region.bbox")

    def _problem(self) -> str:
        """Return what is wrong with the edges, and what to write; empty where nothing is."""
        order = "the order is [west, south, east, north]"
        if not all(map(math.isfinite, self.edges)):
            return f"needs four finite numbers, got {list(self.edges)}"
        west, south, east, north = (f"{edge:.10g}" for edge in self.edges)
        geographic = self.crs.to_pyproj().is_geographic
        if geographic and (self.south < -90 or self.north > 90):
            return (
                f"latitudes {south}…{north} leave -90…90; {order}, longitude first; for coordinates in metres say which "
                "CRS they are in"
            )
        if self.south >= self.north:
            return f"south {south} must lie below north {north}; {order}"
        if self.west >= self.east:
            across = "a box across the antimeridian is written with an east beyond 180, such as [170, -20, 190, -10]"
            return f"west {west} must lie left of east {east}; {across if geographic else order}"
        if geographic and self.east - self.west > 360:
            return f"from west {west} to east {east} is more than once around; {order}, in degrees"
        return ""

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """(west, south, east, north)."""
        return (self.west, self.south, self.east, self.north)

    @property
    def corners(self) -> _Corners:
        """(x, y) of the corners, in the order of a walk around the box."""
        return (
            (self.west, self.south), (self.east, self.south), (self.east, self.north), (self.west, self.north),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{_edges_text(self.edges)} in {self.crs}"


def cover_box(grid: PixelGrid, box: BoundingBox) -> Window:
    """Return the pixels of `grid` that `box` overlaps by more than a millionth of a pixel, clipped to the grid.

    Longitudes are taken modulo 360, so that a box in 0…360 finds an image in -180…180.

    Raises:
        JobError: the box lies outside the grid, or comes apart in its CRS (across the antimeridian, around a pole).
    """
    found = Window.hull(part for part, _ in _meetings(grid, box, grid.bounds))
    if found is None:
        raise JobError(f"{box} lies outside the image{_where_then(grid, box)}", key="region.bbox")
    return found


def cover_box_anywhere(lattice: PixelGrid, box: BoundingBox, reach: Window | None = None) -> Window:
    """Return the pixels of an endless lattice that `box` overlaps by more than a millionth of a pixel.

    Args:
        lattice: CRS and transform; its size does not matter.
        box: in any CRS.
        reach: the pixels that images cover; longitudes are taken modulo 360, so that the box finds them.

    Raises:
        JobError: the box comes apart in the lattice's CRS, or meets both ends of what the images cover.
    """
    hits = [] if reach is None else _meetings(lattice, box, reach)
    if not hits:
        return _around(lattice, _points(lattice, box), 0)
    return max(hits, key=lambda hit: hit[0].width)[1]


def cover_window(grid: PixelGrid, window: Window, other: PixelGrid) -> Window:
    """Return the pixels of an endless lattice that `window` of `other` touches.

    Raises:
        JobError: the window comes apart in the lattice's CRS.
    """
    if grid.crs == other.crs:
        return grid.cover(window, other)
    extremes = _project(grid, _corners_of(other, window), other.crs, f"{window}", "region.window")
    return _around(grid, extremes, 0)


def _corners_of(grid: PixelGrid, window: Window) -> _Corners:
    """Return (x, y) of a window's corners, in the order of a walk around it."""
    left, top, right, bottom = window.column, window.row, window.column_end, window.row_end
    walk = ((left, top), (right, top), (right, bottom), (left, bottom))
    return tuple(grid.transform.at(*corner) for corner in walk)


def _meetings(grid: PixelGrid, box: BoundingBox, reach: Window) -> list[tuple[Window, Window]]:
    """Return the parts of `reach` that a box covers, from left to right, each with the box's whole window there.

    They are several where a geographic grid ends at a meridian that the box crosses. Raises JobError if they do not touch.
    """
    points = _points(grid, box)
    windows = (_around(grid, points, turn) for turn in _turns(grid))
    found = sorted(
        ((part, window) for window in windows if (part := window.clip(reach))), key=lambda hit: hit[0].column
    )
    if any(after.column > before.column_end for (before, _), (after, _) in itertools.pairwise(found)):
        raise JobError(
            f"{box} crosses the meridian where the image's grid begins and ends; "
            "make one job for the part on either side",
            key="region.bbox",
        )
    return found


def _points(grid: PixelGrid, box: BoundingBox) -> _Corners:
    """Return the extreme points of a box in a grid's CRS."""
    return (
        box.corners if box.crs == grid.crs else _project(grid, box.corners, box.crs, f"{box}", "region.bbox")
    )


def _turns(grid: PixelGrid) -> tuple[int, ...]:
    """Return the degrees by which a longitude may be off and still be the same place."""
    return (0, -360, 360) if grid.crs.to_pyproj().is_geographic and grid.crs.unit == "deg" else (0,)


def _around(grid: PixelGrid, points: _Corners, turn: int) -> Window:
    pixels = [grid.transform.locate(Fraction(x) + turn, y) for x, y in points]
    return around([column for column, _ in pixels], [row for _, row in pixels])


def _where_then(grid: PixelGrid, box: BoundingBox) -> str:
    """Return the end of the message for a box outside the image: the image's own extent, and swapped coordinates."""
    text = ""
    line = _line(_corners_of(grid, grid.bounds), grid.crs, box.crs)
    x, y = line(np.linspace(0.0, 4.0, 4 * 32 + 1))
    if np.isfinite(x).all() and np.isfinite(y).all():
        edges = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        text = f", which covers about {_edges_text(edges, 6)} there"
    try:
        swapped = BoundingBox(box.south, box.west, box.north, box.east, box.crs)
        if _meetings(grid, swapped, grid.bounds):
            text += "; longitude and latitude seem to be swapped: the order is [west, south, east, north]"
    except JobError:
        pass
    return text


def _project(grid: PixelGrid, corners: _Corners, crs: Crs, what: str, key: str) -> _Corners:
    """Return the extreme points, in `grid`'s CRS, of the outline with these corners in `crs`.

    Projecting keeps insides inside, so that the outline decides; where it comes apart, nothing is sure.
    """
    line = _line(corners, crs, grid.crs)

    def pixels(s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = line(s)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise JobError(
                f"{what} has points that {grid.crs} cannot show; take a smaller region, or give it in the image's "
                f"own CRS, {grid.crs}",
                key=key,
            )
        return grid.transform.to_pixels(x, y)

    found: list[float] = []
    for edge in range(len(corners)):
        s = np.linspace(edge, edge + 1, _SAMPLES)
        values = pixels(s)
        _check_whole(
            pixels, s, values, f"{what} comes apart in {grid.crs}, at the antimeridian or a pole", key
        )
        found += [_extreme(pixels, s, values, axis, sign) for axis in (0, 1) for sign in (1, -1)]
    x, y = line(np.array(found))
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


def _extreme(
    pixels: _Line,
    s: NDArray[np.float64],
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    axis: int,
    sign: int,
) -> float:
    """Return the position along one edge at which a coordinate is largest (`sign` 1) or smallest (-1)."""
    first, last = s[0], s[-1]
    for _ in range(_ROUNDS):
        best = int(np.argmax(sign * values[axis]))
        step = s[1] - s[0]
        s = np.linspace(max(first, s[best] - step), min(last, s[best] + step), _SAMPLES)
        values = pixels(s)
    return float(s[int(np.argmax(sign * values[axis]))])


def _check_whole(
    pixels: _Line,
    s: NDArray[np.float64],
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    what: str,
    key: str,
) -> None:
    """Refuse an edge with a jump: a steep slope gets shorter when it is halved, a cut does not."""
    gaps = np.hypot(np.diff(values[0]), np.diff(values[1]))
    at = int(np.argmax(gaps))
    low, high = s[at], s[at + 1]
    gap = gaps[at]
    for _ in range(_BISECTIONS):
        if gap <= 1:
            return
        three = np.array([low, (low + high) / 2, high])
        columns, rows = pixels(three)
        left, right = np.hypot(np.diff(columns), np.diff(rows))
        low, high, gap = (three[0], three[1], left) if left >= right else (three[1], three[2], right)
    raise JobError(f"{what}: make a job for each part, or give the region in the image's own CRS", key=key)


def _line(corners: _Corners, source: Crs, target: Crs) -> _Line:
    """Return the outline as a function: s from 0 to the number of corners, once around, to (x, y) in `target`."""
    project = transformer(source, target).transform
    xs, ys = (np.array([corner[axis] for corner in (*corners, corners[0])]) for axis in (0, 1))
    numbers = np.arange(len(corners) + 1)

    def line(s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = project(np.interp(s, numbers, xs), np.interp(s, numbers, ys))
        return np.asarray(x), np.asarray(y)

    return line


def _edges_text(edges: tuple[float, ...], digits: int = 10) -> str:
    return f"[{', '.join(f'{edge:.{digits}g}' for edge in edges)}]"
