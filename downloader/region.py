"""From what a user calls a region to the window of a grid. Pure; pyproj does the geometry between CRSs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from downloader.crs import Crs
from downloader.errors import JobError
from downloader.grid import PixelGrid, Window, around

__all__ = ["BoundingBox", "cover_box", "cover_window"]

_EDGE_POINTS = 64
"""Points along each edge of a box that goes from one CRS to another: edges bend."""


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle along the axes of its CRS; x before y always."""

    west: float
    south: float
    east: float
    north: float
    crs: Crs

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.west, self.south, self.east, self.north))):
            raise JobError(f"region.bbox: needs four finite numbers, got {self.edges}")
        if self.south >= self.north:
            raise JobError(
                f"region.bbox: south {self.south:g} must lie below north {self.north:g}; the order is [west, south, east, north]"
            )
        if self.west >= self.east:
            hint = (
                "; a box across the antimeridian is written with an east beyond 180, such as [170, -20, 190, -10]"
                if self.crs.to_pyproj().is_geographic
                else "; the order is [west, south, east, north]"
            )
            raise JobError(f"region.bbox: west {self.west:g} must lie left of east {self.east:g}{hint}")
        if self.crs.to_pyproj().is_geographic and (self.south < -90 or self.north > 90):
            raise JobError(
                f"region.bbox: latitudes {self.south:g}…{self.north:g} leave -90…90; the order is "
                "[west, south, east, north], longitude first"
            )

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """(west, south, east, north)."""
        return (self.west, self.south, self.east, self.north)

    def __str__(self) -> str:
        return f"[{self.west:g}, {self.south:g}, {self.east:g}, {self.north:g}] in {self.crs}"


def cover_box(grid: PixelGrid, box: BoundingBox) -> Window:
    """The pixels of `grid` that `box` overlaps by more than a millionth of a pixel, clipped to the grid.

    Raises JobError where the box lies outside the grid, or where it cannot be projected.
    """
    if box.crs == grid.crs:
        corners = [grid.transform.locate(x, y) for x in (box.west, box.east) for y in (box.south, box.north)]
        window = around([column for column, _ in corners], [row for _, row in corners])
    else:
        window = _project(grid, _boundary(box), box.crs, f"region.bbox {box}")
    clipped = window.clip(grid.bounds)
    if clipped is None:
        raise JobError(
            f"region.bbox {box} lies outside the image, whose pixels ({grid}) it would meet at {window}"
        )
    return clipped


def cover_window(grid: PixelGrid, window: Window, other: PixelGrid) -> Window | None:
    """The pixels of `grid` that `window` of `other` touches, clipped to the grid; None where it touches none."""
    if grid.crs == other.crs:
        return grid.cover(window, other).clip(grid.bounds)
    t = other.transform
    steps = [k / _EDGE_POINTS for k in range(_EDGE_POINTS + 1)]
    edge: list[tuple[float, float]] = [(window.column + s * window.width, window.row + r * window.height) for s in steps for r in (0, 1)]
    edge += [
        (window.column + s * window.width, window.row + r * window.height) for r in steps for s in (0, 1)
    ]
    points = [
        (t.translate_x + t.scale_x * c + t.shear_x * r, t.translate_y + t.shear_y * c + t.scale_y * r)
        for c, r in edge
    ]
    return _project(grid, points, other.crs, "region.window").clip(grid.bounds)


def _boundary(box: BoundingBox) -> list[tuple[float, float]]:
    steps = [k / _EDGE_POINTS for k in range(_EDGE_POINTS + 1)]
    xs = [box.west + s * (box.east - box.west) for s in steps]
    ys = [box.south + s * (box.north - box.south) for s in steps]
    return [(x, y) for x in xs for y in (box.south, box.north)] + [
        (x, y) for y in ys for x in (box.west, box.east)
    ]


def _project(grid: PixelGrid, points: list[tuple[float, float]], crs: Crs, what: str) -> Window:
    import pyproj

    transformer = pyproj.Transformer.from_crs(crs.to_pyproj(), grid.crs.to_pyproj(), always_xy=True)
    located = [transformer.transform(x, y) for x, y in points]
    if not all(math.isfinite(value) for point in located for value in point):
        raise JobError(
            f"{what} has points that {grid.crs} cannot show; give the box in the image's own CRS (region.crs: {grid.crs})"
        )
    pixels = [grid.transform.locate(x, y) for x, y in located]
    return around([column for column, _ in pixels], [row for _, row in pixels])
