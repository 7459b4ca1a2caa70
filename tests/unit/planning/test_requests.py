"""Requests: every missing (tile, band) exactly once, inside one shard, never above the service's limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band
from downloader.planning import Group, Request, ShardKey, Tiling
from downloader.planning.limits import (
    MAX_REQUEST_BANDS,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_SIDE,
    counted_bytes,
    fits,
)
from downloader.planning.requests import BandType, PixelRequest
from downloader.planning.split import apart, halves

U1, U2, F4, F8 = (np.dtype(code) for code in ("u1", "<u2", "<f4", "<f8"))
LATTICE = PixelGrid(
    Crs(code="EPSG:32610"), AffineTransform(10.0, 0.0, 499980.0, 0.0, -10.0, 4200000.0), 9000, 9000
)


def group_of(tiling: Tiling, dtypes: list[np.dtype], shape: tuple[int, int]) -> Group:
    bands = tuple(Band(f"B{number}", dtype, LATTICE) for number, dtype in enumerate(dtypes))
    return Group("10m", LATTICE, Window(7, 11, tiling.width, tiling.height), bands, tiling, shape)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    shard = draw(st.sampled_from([1, 2, 4, 8]))
    steps = draw(st.sampled_from([0, 0, 1, 4, 6]))
    if steps:  # samples of so many; a shard has place for more of each, or for a part
        chip, depth = draw(st.integers(1, 9)), draw(st.integers(1, 3))
        run, samples = depth * draw(st.integers(1, 4)), draw(st.integers(1, 3))
        slices = steps * draw(st.integers(1, 4))
        tiling = Tiling(chip, chip, slices, chip, 1, samples * run, depth, steps, run)
        group = group_of(tiling, draw(st.lists(st.sampled_from([U1, F4]), min_size=1, max_size=3)), (1, 1))
        return replace(group, stack=draw(st.integers(0, steps)))
    tiling = Tiling(
        width=draw(st.integers(1, 90)),
        height=draw(st.integers(1, 90)),
        slices=draw(st.integers(1, 5)),
        tile=draw(st.integers(3, 9)),
        shard=shard,
        shard_slices=(depth := draw(st.integers(1, 4))) * draw(st.integers(1, 3)),
        depth=depth,
    )
    shape = draw(st.tuples(*[st.sampled_from([n for n in (1, 2, 4, 8) if n <= shard])] * 2))
    group = group_of(tiling, draw(st.lists(st.sampled_from([U1, U2, F4, F8]), min_size=1, max_size=5)), shape)
    return replace(group, stack=draw(st.integers(0, tiling.shard_slices)))


def cells(group: Group, request: Request) -> list[tuple[int, int]]:
    """(band, slot) of all that a request brings."""
    return [
        (band, group.tiling.slot(slice_, row, column))
        for band in request.bands
        for slice_ in request.block.numbers
        for row, column in request.block
    ]


def check_request(group: Group, key: ShardKey, request: Request) -> None:
    t, b = group.tiling, request.block
    assert request.shard == key
    place = (key.slice, key.row, key.column)
    assert t.shard_of(b.slice, b.row, b.column) == t.shard_of(b.numbers[-1], b.row, b.column) == place
    assert b.slices <= max(1, group.stack)
    assert not t.steps or b.slice // t.steps == b.numbers[-1] // t.steps, "of one sample alone"
    assert t.steps or b.row // t.shard == (b.row + b.rows - 1) // t.shard == key.row
    assert b.column // t.shard == (b.column + b.columns - 1) // t.shard == key.column
    assert b.rows <= group.shape[0]
    assert b.columns <= group.shape[1]
    assert request.window == t.window(b.row, b.column, b.rows, b.columns)
    assert list(request.bands) == sorted(request.bands)
    assert fits(
        request.window.width, request.window.height, tuple(group.bands[i].dtype for i in request.bands)
    )


@given(groups(), st.data())
def test_requests_cover_what_is_missing_exactly_once(group: Group, data: st.DataObject) -> None:
    """Any subset of bands, any bits for each, bits beyond the group's edge included (they mean nothing)."""
    keys = list(group.shards())
    key = data.draw(st.sampled_from(keys))
    bands = data.draw(st.sets(st.integers(0, len(group.bands) - 1)))
    masks = st.one_of(st.just(0), st.just(group.full_mask(key)), st.integers(0, 2**group.tiling.slots - 1))
    missing = {band: data.draw(masks) for band in bands}
    got: Counter[tuple[int, int]] = Counter()
    for request in group.requests(key, missing):
        check_request(group, key, request)
        got.update(cells(group, request))
    full = group.full_mask(key)
    wanted = {
        (band, slot)
        for band, mask in missing.items()
        for slot in range(group.tiling.slots)
        if mask & full & 1 << slot
    }
    assert set(got) == wanted
    assert all(count == 1 for count in got.values())


@given(groups())
def test_a_plan_from_nothing_covers_everything_once_and_counts_itself(group: Group) -> None:
    t = group.tiling
    seen: Counter[tuple[int, int, int, int]] = Counter()
    requests = 0
    shards = list(group.shards())
    assert len(shards) == len(set(shards)) == t.shards
    for key in shards:
        for request in group.requests(key):
            requests += 1
            seen.update(
                (slice_, row, column, band)
                for slice_ in request.block.numbers
                for row, column in request.block
                for band in request.bands
            )
    assert len(seen) == t.tiles * len(group.bands)
    assert set(seen.values()) == {1}
    assert group.count_requests() == requests


@given(
    st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 7))),
    st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8])),
    st.integers(0, 8),
)
def test_ragged_holes_are_covered_by_boxes_of_nothing_else(
    holes: set[tuple[int, int, int]], shape: tuple[int, int], stack: int
) -> None:
    """Holes of any form in a large shard: no box takes a tile that is already there."""
    tiling = Tiling(64, 64, 8, tile=8, shard=8, shard_slices=8, depth=4)
    group = replace(group_of(tiling, [U2], shape), stack=stack)
    mask = sum(1 << tiling.slot(*hole) for hole in holes)
    taken = Counter(
        (slice_, *tile)
        for request in group.requests(ShardKey("10m", 0, 0, 0), {0: mask})
        for slice_ in request.block.numbers
        for tile in request.block
    )
    assert taken == Counter(holes)


def test_a_partly_done_shard_is_asked_for_in_few_requests() -> None:
    """An L of five tiles: a row of three, and the two below its first."""
    group = group_of(Tiling(64, 64, tile=8, shard=8), [U2], (8, 8))
    mask = sum(
        1 << group.tiling.slot(0, row, column) for row, column in [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]
    )
    found = [(r.block.rows, r.block.columns) for r in group.requests(ShardKey("10m", 0, 0, 0), {0: mask})]
    assert found == [(1, 3), (2, 1)]


def test_images_that_meet_half_of_a_plane_share_requests_with_those_that_meet_it_all() -> None:
    """Two orbits in turn: the half that both see in one request, the other half of each second image by itself."""
    tiling = Tiling(16, 8, 8, tile=8, shard=2, shard_slices=8, depth=8)
    group = replace(group_of(tiling, [U2], (2, 2)), stack=8)
    mask = sum(1 << tiling.slot(s, 0, c) for s in range(8) for c in range(1 + (s % 2 == 0)))
    found = [r.block for r in group.requests(ShardKey("10m", 0, 0, 0), {0: mask})]
    assert [(b.slice, b.slices, b.column, b.columns) for b in found] == [
        (0, 1, 0, 2), (1, 7, 0, 1), (2, 1, 1, 1), (4, 1, 1, 1), (6, 1, 1, 1),
    ]  # fmt: skip


@given(groups(), st.data())
def test_tiles_worth_adds_up_to_tiles(group: Group, data: st.DataObject) -> None:
    """What a display adds up, whatever the bands come apart into."""
    key = data.draw(st.sampled_from(list(group.shards())))
    full = group.full_mask(key)
    cut = data.draw(st.integers(0, len(group.bands)))
    parts = [dict.fromkeys(range(cut), full), dict.fromkeys(range(cut, len(group.bands)), full)]
    worth = sum(request.tiles_worth for missing in parts for request in group.requests(key, missing))
    assert worth == pytest.approx(full.bit_count())


# Limits ----------------------------------------------------------------------------------------------------


def test_the_limit_is_what_the_contract_says() -> None:
    assert MAX_REQUEST_BYTES == 48 * 2**20 == 50_331_648
    assert (MAX_REQUEST_SIDE, MAX_REQUEST_BANDS) == (32_768, 1_024)


@pytest.mark.parametrize(
    ("width", "height", "dtypes", "ok"),
    [
        (4096, 4096, (U2,), True),  # equality passes: 4096 · 4096 · (2 + 1)
        (4096, 4097, (U2,), False),
        (512, 256, (F8,) * 48, False),  # the public error: "56623104 bytes"
        (5016, 5016, (U1,), True),
        (5017, 5017, (U1,), False),
        (3172, 3172, (F4,), True),
        (3173, 3173, (F4,), False),
        (2364, 2364, (F8,), True),
        (2365, 2365, (F8,), False),
        (1003, 1003, (U2,) * 15 + (np.dtype("<u4"),), True),
        (1004, 1004, (U2,) * 15 + (np.dtype("<u4"),), False),
        (32_768, 1, (U1,), True),
        (32_769, 1, (U1,), False),
        (1, 32_769, (U1,), False),
        (1, 1, (U1,) * 1024, True),
        (1, 1, (U1,) * 1025, False),
    ],
)
def test_limits_exactly(width: int, height: int, dtypes: tuple[np.dtype, ...], ok: bool) -> None:
    assert fits(width, height, dtypes) is ok


def test_the_bytes_of_the_public_error() -> None:
    assert counted_bytes(512, 256, (F8,) * 48) == 56_623_104


def test_one_tile_of_100_float64_bands_comes_in_two_runs() -> None:
    """256² × 9 bytes: 85 bands make 50,135,040 bytes, 86 would be too many."""
    group = group_of(Tiling(256, 256), [F8] * 100, (1, 1))
    requests = list(group.requests(ShardKey("10m", 0, 0, 0)))
    assert [len(request.bands) for request in requests] == [85, 15]
    assert [band for request in requests for band in request.bands] == list(range(100))
    assert group.count_requests() == 2


def test_runs_fill_the_limit_to_equality() -> None:
    """256² pixels × 384 bands × (1 + 1) bytes = 50,331,648 exactly."""
    group = group_of(Tiling(256, 256), [U1] * 385, (1, 1))
    first, second = group.band_runs(tuple(range(385)))
    assert counted_bytes(256, 256, [group.bands[b].dtype for b in first]) == MAX_REQUEST_BYTES
    assert (len(first), len(second)) == (384, 1)


def test_small_tiles_of_very_many_bands_keep_the_band_limit() -> None:
    group = group_of(Tiling(16, 16, tile=16), [U1] * 2500, (1, 1))
    assert [len(run) for run in group.band_runs(tuple(range(2500)))] == [1024, 1024, 452]


@given(st.lists(st.sampled_from([U1, U2, F4, F8]), min_size=1, max_size=300), st.sampled_from([1, 2, 4]))
def test_runs_are_greedy_in_order_and_within_limits(dtypes: list[np.dtype], side: int) -> None:
    group = group_of(Tiling(1024, 1024, shard=4), dtypes, (side, side))
    runs = group.band_runs(tuple(range(len(dtypes))))
    assert [band for run in runs for band in run] == list(range(len(dtypes)))
    pixels = side * 256
    for run, after in zip(runs, [*runs[1:], None], strict=True):
        assert fits(pixels, pixels, tuple(dtypes[b] for b in run))
        if after is not None:
            assert not fits(pixels, pixels, tuple(dtypes[b] for b in (*run, after[0])))


def test_a_thousand_bands_cost_little() -> None:
    """Fault 53: the runs are found once a shard, in linear time, not once a request in quadratic time."""
    group = group_of(Tiling(2048, 2048, shard=8), [U1] * 1024, (1, 1))
    assert sum(1 for _ in group.requests(ShardKey("10m", 0, 0, 0))) == 64 * 3


# On the wire -----------------------------------------------------------------------------------------------


def test_the_grid_of_a_request_counts_from_the_images_own_origin() -> None:
    """The group's window begins at (7, 11) of the image; its tile (1, 2) at 7 + 512, 11 + 256."""
    group = group_of(Tiling(2048, 2048, shard=8), [U2, F4], (1, 1))
    request = next(
        r for r in group.requests(ShardKey("10m", 0, 0, 0)) if (r.block.row, r.block.column) == (1, 2)
    )
    grid = group.request_grid(request.window)
    assert grid.transform == LATTICE.transform.shifted(7 + 512, 11 + 256)
    assert (grid.width, grid.height) == (256, 256)
    assert group.grid.window(request.window) == grid


def test_a_pixel_request_knows_its_answer() -> None:
    request = PixelRequest(
        "projects/p/assets/i", LATTICE.window(Window(0, 0, 3, 2)), (BandType("B2", U2), BandType("Q", F8))
    )
    assert request.dtype == np.dtype([("B2", "<u2"), ("Q", "<f8")])
    assert request.dtype.itemsize == 10
    assert request.nbytes == 60
    assert str(request) == "3×2 pixels of B2, Q at (499980.0, 4200000.0)"


def test_messages_about_many_bands_stay_short() -> None:
    bands = tuple(BandType(f"band_{n}", U1) for n in range(1024))
    assert len(str(PixelRequest("i", LATTICE, bands))) < 150


@given(groups(), st.data())
def test_halved_in_depth_and_then_in_the_plane_it_is_the_same_tiles(
    group: Group, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(list(group.shards())))
    for request in group.requests(key):
        waiting, parts = [request], Counter()
        while waiting:
            one = waiting.pop()
            if len(one.bands) == one.block.tiles == 1 or not (cut := halves(group, one)):
                parts.update(cells(group, one))
                continue
            assert all(part.block.slices == 1 for part in cut) or one.block.slices > 1
            waiting += cut
        assert parts == Counter(cells(group, request))


@given(groups(), st.data())
def test_what_is_put_apart_covers_the_request_once_and_each_named_slice_alone(
    group: Group, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(list(group.shards())))
    for request in group.requests(key):
        named = data.draw(st.sets(st.sampled_from(list(request.block.numbers))))
        parts = apart(group, request, named)
        assert [n for part in parts for n in part.block.numbers] == list(request.block.numbers)
        assert all(part.block.slices == 1 for part in parts if named & set(part.block.numbers))
        assert len(parts) <= 2 * len(named) + 1
