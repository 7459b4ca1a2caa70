"""The rule of the shard's size, against its own words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.planning.shard_size import (
    MAX_CHUNK_BYTES,
    MAX_SHARD_BYTES,
    MIN_SHARDS,
    chunk_shape,
    deep_shard,
    shard_samples,
    shard_tiles,
)
from downloader.planning.tiling import TILE, Tiling


def shard_side_by_the_book(width: int, height: int, itemsize: int) -> int:
    """The largest of 256 … 2048 that leaves at least 64 shards per slice and at most 64 MiB; 256 where none does."""
    keeps = [
        side
        for side in (256, 512, 1024, 2048)
        if len(range(0, width, side)) * len(range(0, height, side)) >= 64
        and side * side * itemsize <= 67_108_864
    ]
    return max(keeps, default=256)


@given(st.integers(1, 40_000), st.integers(1, 40_000), st.integers(1, 3000))
def test_the_shard_rule(width: int, height: int, itemsize: int) -> None:
    tiles = shard_tiles(width, height, itemsize)
    assert tiles * TILE == shard_side_by_the_book(width, height, itemsize)
    if tiles > 1:
        tiling = Tiling(width, height, shard=tiles)
        assert tiling.shards >= MIN_SHARDS
        assert tiling.shard_side**2 * itemsize <= MAX_SHARD_BYTES


@pytest.mark.parametrize(
    ("width", "height", "itemsize", "side"),
    [
        (10980, 10980, 8, 1024),  # a Sentinel-2 scene, four bands of 16 bits: 11 × 11 shards
        (5490, 5490, 12, 512),
        (2048, 2048, 8, 256),  # the quickstart: 8 × 8 shards of one tile, exactly 64
        (2047, 2048, 8, 256),
        (256, 256, 2, 256),
        (16384, 16384, 16, 2048),  # 2048² × 16 bytes: 64 MiB, equality passes
        (16384, 16384, 17, 1024),
        (16385, 14336, 16, 1024),  # 9 × 7 = 63 shards of 2048² would be one too few
        (16385, 14337, 16, 2048),  # 9 × 8
        (14336, 14336, 16, 1024),  # 7 × 7
        (100, 16384 * 8, 1, 2048),  # a long strip
        (10**7, 10**7, 800, 256),  # 100 float64 bands: 512² would hold 200 MiB
    ],
)
def test_the_shard_rule_at_its_bounds(width: int, height: int, itemsize: int, side: int) -> None:
    assert shard_tiles(width, height, itemsize) * TILE == side


@given(st.integers(1, 10**6), st.integers(1, 600), st.integers(1, 64))
def test_a_shard_is_the_longest_run_under_both_bounds(samples, chip, itemsize):
    run = shard_samples(samples, chip, itemsize)
    assert run & (run - 1) == 0

    def allowed(length):
        return math.ceil(samples / length) >= MIN_SHARDS and length * chip**2 * itemsize <= MAX_SHARD_BYTES

    assert run == 1 or allowed(run)
    assert not allowed(2 * run)


@given(
    width=st.integers(1, 700), height=st.integers(1, 700), itemsize=st.sampled_from([1, 2, 4, 8]),
    bands=st.integers(1, 5), slices=st.integers(1, 20_000), depth=st.none() | st.integers(1, 4096),
)  # fmt: skip
def test_chunks_go_deep_where_planes_are_small_or_the_user_says_so(
    width, height, itemsize, bands, slices, depth
):
    side, deep = chunk_shape(width, height, itemsize, slices, depth)
    small = max(width, height) <= TILE and width * height < TILE**2
    small |= max(width, height) <= 2 * TILE and slices >= 64
    if depth is None and not small:
        assert (side, deep) == (TILE, 1)
    if deep == 1:
        assert side == TILE
        return
    assert side == min(TILE, max(width, height)) or side.bit_count() == 1
    if depth is None:
        assert deep.bit_count() == 1
        assert MAX_CHUNK_BYTES // 2 < deep * side * side * itemsize <= MAX_CHUNK_BYTES
    else:
        assert deep == depth
        assert side <= 16 or depth * side * side * itemsize <= MAX_CHUNK_BYTES
    shard, run = deep_shard(
        Tiling(width, height, slices, side, shard_slices=deep, depth=deep), itemsize * bands, MAX_SHARD_BYTES
    )
    t = Tiling(width, height, slices, side, shard, run, deep)
    assert run % deep == 0
    assert shard.bit_count() == 1
    assert t.shard_side**2 * itemsize * bands * run <= max(
        MAX_SHARD_BYTES, side * side * itemsize * bands * deep
    )
    if t.shard_rows * t.shard_columns == 1:
        assert shard == 1 or shard < 2 * max(t.tile_rows, t.tile_columns)
        assert run == deep or run < 2 * slices
        assert run >= slices or 2 * run * t.shard_side**2 * itemsize * bands > MAX_SHARD_BYTES
    else:
        assert run == deep
