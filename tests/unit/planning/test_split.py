"""Requests in parts: nothing lost, nothing twice; halves down to one tile of one band, first parts no larger than asked."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band
from downloader.planning import Group, Request, ShardKey, TileBlock, Tiling
from downloader.planning.split import cut, halves, weight

LATTICE = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 9000, 9000)


def group_of(bands: int) -> Group:
    columns = tuple(Band(f"B{n}", np.dtype(["u1", "<u2", "<f8"][n % 3]), LATTICE) for n in range(bands))
    tiling = Tiling(2048 - 100, 2048 - 3, 6, shard=8, shard_slices=6, depth=3)
    window = Window(0, 0, tiling.width, tiling.height)
    return Group("", LATTICE, window, columns, tiling, (8, 8), axis="time", stack=6)


def parts_of(group: Group, request: Request) -> Counter[tuple[int, int, int, int]]:
    return Counter(
        (number, row, column, band)
        for number in request.block.numbers
        for row, column in request.block
        for band in request.bands
    )


def a_request(group: Group, data: st.DataObject) -> Request:
    row, column = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 7))
    sides = data.draw(st.integers(1, 8 - row)), data.draw(st.integers(1, 8 - column))
    first = data.draw(st.integers(0, 5))
    block = TileBlock(first, row, column, *sides, data.draw(st.integers(1, 6 - first)))
    bands = data.draw(st.sets(st.integers(0, len(group.bands) - 1), min_size=1))
    return group.request(ShardKey("", 0, 0, 0), block, tuple(sorted(bands)))


@given(st.integers(1, 9), st.data())
def test_halves_are_the_whole(bands: int, data: st.DataObject) -> None:
    group = group_of(bands)
    request = a_request(group, data)
    parts = halves(group, request)
    if not parts:
        assert (request.tiles, len(request.bands)) == (1, 1)
        return
    one, two = parts
    assert parts_of(group, one) + parts_of(group, two) == parts_of(group, request)
    assert weight(group, one) + weight(group, two) == weight(group, request)
    assert all(part.shard == request.shard for part in parts)
    if request.tiles > 1:
        assert one.bands == two.bands == request.bands, "tiles come apart before bands do"
    if request.block.slices > 1:
        assert abs(one.block.slices - two.block.slices) <= 1, "slices come apart before tiles do"
        assert (one.block.rows, one.block.columns) == (request.block.rows, request.block.columns)
    elif request.tiles > 1:
        assert one.block.slice == two.block.slice == request.block.slice
        assert abs(one.tiles - two.tiles) <= min(request.block.rows, request.block.columns)
    else:
        assert abs(len(one.bands) - len(two.bands)) <= 1


@given(st.integers(1, 9), st.data())
def test_halving_on_ends_at_single_tiles_of_single_bands(bands: int, data: st.DataObject) -> None:
    group = group_of(bands)
    request = a_request(group, data)
    queue, leaves = deque([request]), Counter[tuple[int, int, int]]()
    splits = 0
    while queue:
        part = queue.popleft()
        if smaller := halves(group, part):
            queue.extend(smaller)
            splits += 1
        else:
            leaves += parts_of(group, part)
    assert leaves == parts_of(group, request)
    assert splits == len(leaves) - 1


def test_the_longer_side_is_halved() -> None:
    group = group_of(1)
    key = ShardKey("", 0, 0, 0)
    wide = halves(group, group.request(key, TileBlock(0, 0, 0, 2, 4), (0,)))
    assert [(p.block.rows, p.block.columns) for p in wide] == [(2, 2), (2, 2)]
    high = halves(group, group.request(key, TileBlock(0, 0, 0, 4, 2), (0,)))
    assert [(p.block.rows, p.block.columns) for p in high] == [(2, 2), (2, 2)]
    odd = halves(group, group.request(key, TileBlock(0, 0, 0, 1, 3), (0,)))
    assert [(p.block.column, p.block.columns) for p in odd] == [(0, 1), (1, 2)]


@given(st.integers(1, 3), st.floats(0, 1.2), st.data())
def test_a_first_part_is_no_larger_than_asked_and_the_others_are_the_rest(
    bands: int, share: float, data: st.DataObject
) -> None:
    group = group_of(bands)
    request = a_request(group, data)
    first, *rest = cut(group, request, share * weight(group, request))
    assert sum((parts_of(group, part) for part in rest), parts_of(group, first)) == parts_of(group, request)
    assert first.tiles <= max(1, share * request.tiles + 1e-6)
    assert share < 1 or not rest
    whole = request.block
    if whole.slices > 1:
        plane = whole.rows * whole.columns
        most = max(1, int(share * whole.tiles + 1e-6) // plane)
        assert not rest or first.block.slices in {1, most - 1, most}
        return
    # The largest rectangle along one whole side; where none is small enough, a part of the thinnest.
    strips = [n * whole.columns for n in range(whole.rows)] + [n * whole.rows for n in range(whole.columns)]
    fitting = max(tiles for tiles in strips if tiles <= share * whole.tiles + 1e-6)
    assert not rest or first.tiles >= fitting


def test_of_a_stack_the_first_slices_are_cut_off() -> None:
    tiling = Tiling(100, 100, slices=12, shard_slices=12)
    band = Band("B0", np.dtype("u1"), LATTICE)
    group = Group("", LATTICE, Window(0, 0, 100, 100), (band,), tiling, (1, 1), stack=8)
    request = group.request(ShardKey("", 0, 0, 0), TileBlock(2, 0, 0, 1, 1, 8), (0,))
    assert [part.block.numbers for part in cut(group, request, 35_000)] == [range(2, 5), range(5, 10)]
    assert [part.block.numbers for part in cut(group, request, 1)] == [range(2, 3), range(3, 10)]
    assert cut(group, request, 80_000) == (request,)


def test_weight_is_pixel_bytes() -> None:
    group = group_of(3)
    request = group.request(ShardKey("", 0, 0, 0), TileBlock(0, 0, 6, 1, 2), (0, 2))
    assert request.window.shape == (256, 2048 - 100 - 6 * 256)
    assert weight(group, request) == 256 * 412 * (1 + 8)
