"""Names, values and chunk shape of the array of coverage, which has a cell for each tile."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from downloader.planning import Tiling

COVERAGE: Final = "coverage"
"""Name of the group that holds it; a group of its own keeps dimensions of tiles away from those of pixels."""

TILES: Final = "tiles"
"""Name of the array in that group."""

COVERAGE_TILES: Final = f"{COVERAGE}/{TILES}"
"""Path of the array below the group that it describes."""

COVERAGE_CHUNK: Final = 1024
"""Cells along the side of a chunk; a multiple of every shard's side in tiles."""


class Coverage(IntEnum):
    """State of a tile; the worst over the group's bands."""

    MISSING = 0
    STORED = 1
    OUTSIDE_REGION = 2
    OUTSIDE_IMAGE = 3
    FAILED = 4


def coverage_chunk(tiling: Tiling) -> tuple[int, ...]:
    """Return lengths of a chunk of `coverage` along the leading axes, rows and columns, in tiles: whole shards.

    They stay as the leading axes grow. Where there are none, the first is 1.
    """
    if tiling.steps:
        samples = tiling.shard_leading[0]
        return max(1, COVERAGE_CHUNK // samples) * samples, tiling.shard_steps, 1, 1
    rows = min(COVERAGE_CHUNK // tiling.shard, tiling.shard_rows) * tiling.shard
    columns = min(COVERAGE_CHUNK // tiling.shard, tiling.shard_columns) * tiling.shard
    runs = min(COVERAGE_CHUNK, COVERAGE_CHUNK**2 // (rows * columns)) // tiling.shard_slices
    return max(1, runs) * tiling.shard_slices, rows, columns
