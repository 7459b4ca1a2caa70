"""Where on the Earth a group lies, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from downloader.errors import JobError

if TYPE_CHECKING:
    from downloader.planning import Group

__all__ = ["box", "place"]


def place(group: Group) -> str:
    """The box around a group in longitude and latitude; empty where it has none, or each slice lies elsewhere."""
    if group.lattices:
        return ""
    import pyproj

    grid = group.grid
    corners = [grid.transform.at(column, row) for column in (0, grid.width) for row in (0, grid.height)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    try:
        transformer = pyproj.Transformer.from_crs(grid.crs.to_pyproj(), 4326, always_xy=True)
        west, south, east, north = transformer.transform_bounds(min(xs), min(ys), max(xs), max(ys))
    except (pyproj.exceptions.ProjError, JobError):
        return ""  # PROJ does not know it, or has no way from it to longitude and latitude
    if not all(math.isfinite(value) for value in (west, south, east, north)):
        return ""
    return box(west, south, east, north)


def box(west: float, south: float, east: float, north: float) -> str:
    """A box in longitude and latitude, in words."""
    return f"{_degrees(west, 'EW')} to {_degrees(east, 'EW')}, {_degrees(south, 'NS')} to {_degrees(north, 'NS')}"


def _degrees(value: float, signs: str) -> str:
    return f"{abs(value):.4f}° {signs[int(value < 0)]}"
