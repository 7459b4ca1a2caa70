"""`coverage` of overviews, from the mosaic's own: a tile of a level has the worst state of the four below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.mosaic.format.coverage import Coverage, coverage_chunk
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.overviews.stale import of_four
from downloader.mosaic.record.coverage import coverage_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.overviews.levels import Level
    from downloader.mosaic.record.state import GroupState


_BY_RANK: Final = np.array(
    [Coverage[n] for n in ("OUTSIDE_IMAGE", "OUTSIDE_REGION", "STORED", "MISSING", "FAILED")], "u1"
)
"""States from the best to the worst; nothing is wanted outside."""

_RANKS: Final = np.argsort(_BY_RANK).astype(np.uint8)


def level_coverage(chain: tuple[Level, ...], state: GroupState) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (level's group, cells) of every level of a group; cells are (slice, row, column) in tiles.

    It takes a quarter of a byte for each tile of the mosaic, and one chunk of `coverage`.
    """
    if not chain:
        return
    cells = _first(chain[0].below, state)
    for level in chain:
        yield level.layout.group.name, cells
        cells = _worst(cells)


def with_stale(level: Level, cells: NDArray[np.uint8], stale: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the cells with stored tiles of `stale` shards (layer, row, column) marked missing."""
    tiling = level.layout.group.tiling
    tiles = stale.repeat(tiling.shard_slices, 0).repeat(tiling.shard, 1).repeat(tiling.shard, 2)
    tiles = tiles[: tiling.slices, : tiling.tile_rows, : tiling.tile_columns]
    return np.where(tiles & (cells == Coverage.STORED), np.uint8(Coverage.MISSING), cells)


def level_chunks(layout: GroupLayout, cells: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (key, cells) of each chunk of a level's `coverage`."""
    depth, height, width = coverage_chunk(layout.group.tiling)
    slices, rows, columns = cells.shape
    for first in range(0, slices, depth):
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                chunk = np.zeros((depth, height, width), np.uint8)
                part = cells[first : first + depth, top : top + height, left : left + width]
                chunk[: part.shape[0], : part.shape[1], : part.shape[2]] = part
                yield layout.coverage_object((first, top, left), chunk)


def _first(layout: GroupLayout, state: GroupState) -> NDArray[np.uint8]:
    """Return the cells of the first level, from what is stored below."""
    t = layout.group.tiling
    cells = np.zeros((t.slices, -(-t.tile_rows // 2), -(-t.tile_columns // 2)), np.uint8)
    for (first, top, left), chunk in coverage_chunks(layout.group, state):
        part = _worst(chunk[: t.slices - first, : t.tile_rows - top, : t.tile_columns - left])
        n, rows, columns = part.shape
        cells[first : first + n, top // 2 : top // 2 + rows, left // 2 : left // 2 + columns] = part
    return cells


def _worst(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the worst of each 2×2 cells; a last odd row or column stands alone."""
    return np.asarray(_BY_RANK[of_four(_RANKS[cells])])
