"""The levels of a mosaic's overviews: each half as fine as the one below, down to a size that fits a screen.

A level lies in the mosaic as a group of its own, `overviews/2` or `overviews/10m/2` by the factor, beside the pixels and
never among them: what opens the pixels sees nothing of it. It is laid out like the group that it is made of, with the
same tiles and shards, so that a shard of a level is made of four of the one below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from downloader.model.grid import AffineTransform, PixelGrid
from downloader.mosaic.format.layout import GroupLayout

OVERVIEWS: Final = "overviews"
"""Name of the group of all overviews."""

SMALLEST: Final = 512
"""Pixels along the longer side of the last level, at most."""


@dataclass(frozen=True)
class Level:
    """One level of the overviews of a group."""

    factor: int
    """Pixels of the mosaic along the side of one of its own: 2, 4, 8, …"""
    layout: GroupLayout
    below: GroupLayout
    """The level below, or the pixels."""


def levels_of(layout: GroupLayout, policies: Mapping[str, str]) -> tuple[Level, ...]:
    """Return the levels of a group, the finest first; none where it is small, or holds samples.

    Args:
        layout: the group.
        policies: band id → pyramiding policy.
    """
    levels: list[Level] = []
    if layout.group.axis == "sample":
        return ()
    below, factor = layout, 1
    while max(below.group.tiling.width, below.group.tiling.height) > SMALLEST:
        factor *= 2
        level = _halved(below, f"{OVERVIEWS}/{layout.prefix}{factor}", factor, policies)
        levels.append(Level(factor, level, below))
        below = level
    return tuple(levels)


def policies_of(layout: GroupLayout) -> dict[str, str]:
    """Return band id → the service's pyramiding policy; a mask's is MAX: valid where any pixel below is."""
    return {band.id: "MAX" if band.mask_of else band.pyramiding.upper() for band in layout.group.bands}


def _halved(below: GroupLayout, name: str, factor: int, policies: Mapping[str, str]) -> GroupLayout:
    group, tiling = below.group, below.group.tiling
    grid = _coarser(group.grid)
    level = replace(
        group,
        name=name,
        lattice=grid,
        window=grid.bounds,
        bands=tuple(replace(band, grid=grid, pyramiding=policies[band.id]) for band in group.bands),
        tiling=replace(tiling, width=grid.width, height=grid.height),
        region=None,
        outside=(),
        extents=(),
        absent=(),
    )
    return replace(below, group=level, level=factor)


def _coarser(grid: PixelGrid) -> PixelGrid:
    """Return the grid of the same corner with pixels twice as large; a last odd row or column becomes a pixel of its own."""
    t = grid.transform
    doubled = AffineTransform(
        2 * t.scale_x, 2 * t.shear_x, t.translate_x, 2 * t.shear_y, 2 * t.scale_y, t.translate_y
    )
    return PixelGrid(grid.crs, doubled, -(-grid.width // 2), -(-grid.height // 2))
