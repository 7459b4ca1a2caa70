"""Pyramid levels that the service reads coarser pixels from (docs/contract.md §4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from downloader.expressions.recipe import MOST_AVERAGED
from downloader.model.crs import transformer
from downloader.model.grid import PixelGrid
from downloader.model.image import Band
from downloader.planning.group import Group
from downloader.planning.lattice import offset_on

_SMALLEST = 256
"""A pyramid ends with the first level that fits so many pixels a side."""


_HOW: Final = {
    "nearest": "nearest neighbour",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "average": "averaged",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Pyramid level that is read for bands of one group that are not delivered on their own grid."""

    group: str
    bands: tuple[str, ...]
    level: int
    """0: the native pixels; each further level halves the resolution."""
    pixel_size: tuple[float, float]
    """(width, height) of that level's pixels, in units of the band's own CRS."""
    policy: str
    """Pyramiding policy of the level: MEAN, SAMPLE, MODE, …"""
    unit: str
    resampling: str = "nearest"
    """Interpolation from that level to the grid asked for."""

    def __str__(self) -> str:
        x, y = self.pixel_size
        size = f"{x:g} {self.unit}" if math.isclose(x, y) else f"{x:g}×{y:g} {self.unit}"
        names = ", ".join(self.bands[:8]) + (f", … ({len(self.bands)} bands)" if len(self.bands) > 8 else "")
        if self.level == 0:
            return f"{names}: read from the native pixels of {size}, {_HOW[self.resampling]}"
        return f"{names}: read from pyramid level {self.level} of {size} ({self.policy}), {_HOW[self.resampling]}"


def readings(group: Group) -> tuple[Reading, ...]:
    """Return the levels that the service reads for bands of `group` that are not on the group's own lattice.

    The level is the coarsest one that is not coarser than the pixels asked for; in another CRS, than they are at the
    middle of the group. Empty for a native group.

    Args:
        group: of the plan.
    """
    found: dict[tuple[int, tuple[float, float], str, str, str], list[str]] = {}
    for band in group.bands:
        if band.grid == group.lattice or band.mask_of:
            continue
        if group.lattices and offset_on(band.grid, group.lattice) is not None:
            continue  # a chip of the band's own pixels
        level = _level(band, group)
        x, y = band.grid.transform.pixel_size
        key = (level, (x * 2**level, y * 2**level), band.pyramiding, band.grid.crs.unit, band.resampling)
        found.setdefault(key, []).append(band.id)
    return tuple(
        Reading(group.name, tuple(bands), level, size, policy, unit, resampling)
        for (level, size, policy, unit, resampling), bands in found.items()
    )


def _level(band: Band, group: Group) -> int:
    ratio = _ratio(band.grid, group.lattice if band.grid.crs == group.lattice.crs else group.grid)
    if not 2 * (1 - 1e-9) <= ratio < math.inf:
        return 0
    if band.resampling == "average":
        return max(0, math.ceil(math.log2(ratio / math.isqrt(MOST_AVERAGED)) - 1e-9))
    last = max(0, math.ceil(math.log2(max(band.grid.width, band.grid.height) / _SMALLEST)))
    return min(math.floor(math.log2(ratio) + 1e-9), last)


def _ratio(native: PixelGrid, grid: PixelGrid) -> float:
    """Return native pixels per pixel of another grid, at its middle, by the finer axis; infinite if there are none."""
    project = transformer(grid.crs, native.crs).transform
    middle = (grid.width // 2, grid.height // 2)
    corners = [grid.transform.at(middle[0] + dx, middle[1] + dy) for dx, dy in ((0, 0), (1, 0), (0, 1))]
    there = [project(*corner) for corner in corners]
    if not all(map(math.isfinite, (number for point in there for number in point))):
        return math.inf
    first, *others = (native.transform.locate(x, y) for x, y in there)
    return min(math.hypot(column - first[0], row - first[1]) for column, row in others)
