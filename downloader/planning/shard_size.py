"""Size of chunks and shards: as large as their bounds allow, so that a mosaic has few objects and a kill costs little."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from downloader.planning.tiling import TILE, Tiling

MIN_SHARDS: Final = 64
"""A slice of a group is cut into at least so many shards, as long as tiles allow."""

MAX_SHARD_BYTES: Final = 64 * 2**20
"""A shard holds at most so many bytes of pixels over all bands of its group."""


DEEP_SHARD_SHARE: Final = 8
"""One shard of deep chunks takes no more than this part of the memory limit. Two are in memory at once, beside the process
itself (some 95 MiB) and what no budget counts (48 MiB): at 256 MiB two eighths are 64 MiB and fit, two quarters would need 271
MiB in all. From 512 MiB on both are the same 64 MiB."""

MAX_CHUNK_BYTES: Final = 2**20
"""A chunk of several slices holds at most so many bytes of pixels, as a reader of one pixel decodes all of it."""


def chunk_shape(
    width: int, height: int, itemsize: int, slices: int, depth: int | None = None
) -> tuple[int, int]:
    """Return (side in pixels, slices) of a chunk of a time series; tiles of one slice where a plane is no smaller than one.

    Of a long series also planes of a few tiles are read through time, and their chunks hold several slices.

    Args:
        width: columns of the group, in pixels.
        height: rows of the group, in pixels.
        itemsize: bytes of a pixel of the group's widest band.
        slices: length of the series.
        depth: slices that the user wants in a chunk; None for `auto`.
    """
    longer = max(width, height)
    side = min(TILE, longer)
    if depth is None:
        is_small = longer <= TILE and width * height < TILE**2
        if not is_small and (longer > _FEW_TILES * TILE or slices < _LONG):
            return TILE, 1
        depth = 1 << (MAX_CHUNK_BYTES // (side * side * itemsize)).bit_length() - 1
        return (side, depth) if depth > 1 else (TILE, 1)
    if depth == 1:
        return TILE, 1
    most = max(_SMALLEST, math.isqrt(MAX_CHUNK_BYTES // (depth * itemsize)))
    return (side, depth) if side <= most else (1 << most.bit_length() - 1, depth)


_FEW_TILES: Final = 2
"""Tiles along a plane's side, at most, for `auto` to cut a long series through time."""

_LONG: Final = 64
"""Slices of such a series, at least."""

_SMALLEST: Final = 16
"""Pixels along the side of a chunk, at least, however many slices it holds, unless the plane has fewer."""


def deep_shard(tiling: Tiling, bytes_per_pixel: int, max_bytes: int) -> tuple[int, int]:
    """Return (tiles along a shard's side, slices in it) for chunks of several slices.

    The largest square of chunks that `max_bytes` and the plane allow; where that holds a whole plane, the largest power-of-two
    run of chunks that `max_bytes` and the series' length allow.

    Args:
        tiling: tiles and depth of the chunks.
        bytes_per_pixel: sum of the itemsizes of the group's bands.
        max_bytes: bytes of pixels that a shard may hold over all bands of its group.
    """
    tile_bytes = tiling.tile**2 * bytes_per_pixel
    most = max(tiling.tile_rows, tiling.tile_columns)
    side = _doubled(1, min(most, 64), lambda side: side**2 * tiling.depth * tile_bytes <= max_bytes)
    if side < most:
        return side, tiling.depth
    return side, _doubled(tiling.depth, tiling.slices, lambda run: run * side**2 * tile_bytes <= max_bytes)


def _doubled(start: int, enough: int, fits: Callable[[int], bool]) -> int:
    """Return a number doubled until it is `enough`, as long as the result fits."""
    while start < enough and fits(2 * start):
        start *= 2
    return start


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


def shard_samples(samples: int, chip: int, bytes_per_pixel: int, max_bytes: int = MAX_SHARD_BYTES) -> int:
    """Return the number of samples in a shard: the largest power of two that keeps both bounds, 1 where none does.

    Args:
        samples: how many there are.
        chip: pixels along a chip's side.
        bytes_per_pixel: sum of the itemsizes of the group's bands.
        max_bytes: bytes of pixels that a shard may hold over all bands of its group.
    """
    return _doubled(
        1,
        samples,
        lambda run: math.ceil(samples / run) >= MIN_SHARDS and run * chip**2 * bytes_per_pixel <= max_bytes,
    )


def step_shape(
    steps: int, chip: int, itemsize: int, bytes_per_pixel: int, max_bytes: int, depth: int | None = None
) -> tuple[int, int]:
    """Return (steps in a chunk, steps in a shard) where each sample has steps: a chip's dates lie together.

    A shard has room for more steps than there are, up to the next power of two, so that a later end of the period finds
    its place in it.

    Args:
        steps: of each sample.
        chip: pixels along a chip's side.
        itemsize: bytes of a pixel of the group's widest band.
        bytes_per_pixel: sum of the itemsizes of the group's bands.
        max_bytes: bytes of pixels that a shard may hold over all bands of its group.
        depth: steps that the user wants in a chunk; None for `auto`.
    """
    fitting = max(1, max_bytes // (chip * chip * bytes_per_pixel))
    whole = 1 << (steps - 1).bit_length()
    if depth is None:
        depth = 1 << max(1, MAX_CHUNK_BYTES // (chip * chip * itemsize)).bit_length() - 1
        depth = min(depth, whole)
    depth = min(depth, fitting)
    return depth, _doubled(depth, steps, lambda run: run <= fitting)
