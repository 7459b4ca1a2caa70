"""Size of a shard: as large as its bounds allow, so that a mosaic has few objects and a kill costs little."""

from __future__ import annotations

import math
from typing import Final

from downloader.planning.tiling import TILE

MIN_SHARDS: Final = 64
"""A slice of a group is cut into at least so many shards, as long as tiles allow."""

MAX_SHARD_BYTES: Final = 64 * 2**20
"""A shard holds at most so many bytes of pixels over all bands of its group."""


def shard_tiles(width: int, height: int, bytes_per_pixel: int) -> int:
    """Return the number of tiles along a shard's side: the largest of 8, 4, 2, 1 that keeps both bounds, 1 where none does.

    Args:
        width: columns of the group, in pixels.
        height: rows of the group, in pixels.
        bytes_per_pixel: sum of the itemsizes of the group's bands.
    """
    for tiles in (8, 4, 2):
        side = tiles * TILE
        shards = math.ceil(width / side) * math.ceil(height / side)
        if shards >= MIN_SHARDS and side * side * bytes_per_pixel <= MAX_SHARD_BYTES:
            return tiles
    return 1


def shard_samples(samples: int, chip: int, bytes_per_pixel: int) -> int:
    """Return the number of samples in a shard: the largest power of two that keeps both bounds, 1 where none does.

    Args:
        samples: how many there are.
        chip: pixels along a chip's side.
        bytes_per_pixel: sum of the itemsizes of the group's bands.
    """
    run = 1
    while (
        math.ceil(samples / (2 * run)) >= MIN_SHARDS
        and 2 * run * chip * chip * bytes_per_pixel <= MAX_SHARD_BYTES
    ):
        run *= 2
    return run
