"""How many tiles one request takes: never above a limit, and as good as a brute-force schedule says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band
from downloader.planning.group import band_runs
from downloader.planning.limits import fits
from downloader.planning.request_size import ServiceModel, StackLimits, pack, schedule_s, stack_of
from downloader.planning.shard_size import chunk_shape, deep_shard, shard_tiles
from downloader.planning.tiling import Tiling

U2 = np.dtype("<u2")
MODEL = ServiceModel()
SCENE = Tiling(10980, 10980, shard=4)


def durations(tiling: Tiling, shape: tuple[int, int], itemsize: int, model: ServiceModel) -> list[float]:
    """One by one: the rectangles that the shards fall into, each clipped at the group's edge."""
    found = []
    for top in range(0, tiling.height, tiling.shard_side):
        for left in range(0, tiling.width, tiling.shard_side):
            for y in range(top, min(top + tiling.shard_side, tiling.height), shape[0] * tiling.tile):
                for x in range(left, min(left + tiling.shard_side, tiling.width), shape[1] * tiling.tile):
                    y_end = min(y + shape[0] * tiling.tile, top + tiling.shard_side, tiling.height)
                    x_end = min(x + shape[1] * tiling.tile, left + tiling.shard_side, tiling.width)
                    found.append(model.base_s + model.per_mb_s * (y_end - y) * (x_end - x) * itemsize / 1e6)
    return found * tiling.slices


def list_schedule(durations: list[float], model: ServiceModel) -> float:
    """Longest first, each on the slot that is free first, starts paced: the textbook's list scheduler."""
    slots = [0.0] * model.concurrency
    for number, duration in enumerate(sorted(durations, reverse=True)):
        slot = slots.index(min(slots))
        slots[slot] = max(slots[slot], number / model.starts_per_s) + duration
    return max(slots)


models = st.builds(
    ServiceModel,
    base_s=st.floats(0, 3),
    per_mb_s=st.floats(0, 3),
    concurrency=st.integers(1, 60),
    starts_per_s=st.floats(1, 200),
)
tilings = st.builds(
    Tiling,
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    slices=st.integers(1, 2),
    tile=st.sampled_from([64, 100, 256]),
    shard=st.sampled_from([1, 2, 4, 8]),
)


@given(tilings, models, st.integers(1, 64), st.sampled_from([(1, 1), (1, 2), (2, 2), (1, 4)]))
def test_schedule_against_a_brute_force_list_scheduler(
    tiling: Tiling, model: ServiceModel, itemsize: int, shape: tuple[int, int]
) -> None:
    shape = (min(shape[0], tiling.shard), min(shape[1], tiling.shard))
    pieces = durations(tiling, shape, itemsize, model)
    if len(pieces) <= 4096:
        assert schedule_s(tiling, shape, itemsize, model) == pytest.approx(list_schedule(pieces, model))


@settings(max_examples=8)
@given(models, st.integers(1, 16))
def test_beyond_the_simulation_the_average_is_near(model: ServiceModel, itemsize: int) -> None:
    """Many waves: the closed form is off by less than a wave."""
    tiling = Tiling(256 * 70, 256 * 60, shard=2)
    pieces = durations(tiling, (1, 1), itemsize, model)
    assert len(pieces) > 4096
    exact, closed = list_schedule(pieces, model), schedule_s(tiling, (1, 1), itemsize, model)
    assert closed <= exact + 1 / model.starts_per_s + 1e-6
    assert exact - closed <= 2 * max(pieces) + model.concurrency / model.starts_per_s + 1e-6


dtypes = st.lists(
    st.sampled_from([np.dtype(c) for c in ("u1", "<u2", "<f4", "<f8")]), min_size=1, max_size=40
)


@given(tilings, dtypes, st.one_of(st.none(), st.integers(1, 100)), models, st.integers(1, 10**8))
def test_packing_never_exceeds_limits_or_memory(
    tiling: Tiling, types: list[np.dtype], tiles: int | None, model: ServiceModel, max_bytes: int
) -> None:
    rows, columns = pack(tiling, tuple(types), tiles, model, max_bytes)
    assert tiling.shard % rows == 0
    assert tiling.shard % columns == 0
    if (rows, columns) != (1, 1):
        width, height = columns * tiling.tile, rows * tiling.tile
        assert fits(width, height, tuple(types))
        assert width * height * sum(t.itemsize for t in types) <= max_bytes
        assert tiles is None or rows * columns <= tiles


@given(tilings, st.integers(1, 8), models)
def test_auto_is_no_worse_than_any_other_rectangle(
    tiling: Tiling, itemsize: int, model: ServiceModel
) -> None:
    """But for the ramp of the first starts, of which the choice knows the mean only, and for the last wave.

    The choice expects that wave in smaller requests; this schedule has it whole.
    """
    types = (np.dtype("u1"),) * itemsize
    shape = pack(tiling, types, None, model, 10**9)
    ramp_s = model.concurrency / model.starts_per_s
    last_s = max(durations(tiling, shape, itemsize, model))
    best = schedule_s(tiling, shape, itemsize, model)
    sides = [n for n in (1, 2, 4, 8) if n <= tiling.shard]
    for rows in sides:
        for columns in (n for n in sides if n >= rows):
            if fits(columns * tiling.tile, rows * tiling.tile, types):
                assert best <= schedule_s(tiling, (rows, columns), itemsize, model) + ramp_s + last_s


@pytest.mark.parametrize(
    ("tiles", "shape"),
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 2)), (4, (2, 2)), (9, (2, 4)), (16, (4, 4)), (999, (4, 4))],
)
def test_a_number_of_tiles_is_an_upper_bound(tiles: int, shape: tuple[int, int]) -> None:
    assert pack(SCENE, (U2,) * 4, tiles, MODEL, 10**9) == shape


def test_one_tile_is_asked_for_where_even_that_is_too_much_for_the_memory() -> None:
    assert pack(SCENE, (U2,) * 4, None, MODEL, 1) == (1, 1)


def test_slow_answers_are_packed_less_than_slow_starts() -> None:
    """Latency asks for large requests, slow bytes with idle slots for small ones."""
    few = Tiling(2048, 2048, shard=8)
    eager = ServiceModel(base_s=5.0, per_mb_s=0.001, concurrency=4, starts_per_s=90)
    dripping = ServiceModel(base_s=0.0, per_mb_s=5.0, concurrency=64, starts_per_s=1000)
    assert pack(few, (U2,), None, eager, 10**9) > pack(few, (U2,), None, dripping, 10**9) == (1, 1)


def test_a_scene_is_packed_within_an_eighth_of_the_best_rectangle() -> None:
    """The shapes a shard allows, against all that the size limit allows, shards or not."""
    tiling = Tiling(10980, 10980, shard=shard_tiles(10980, 10980, 8))
    model = ServiceModel(base_s=0.25, per_mb_s=0.4, concurrency=40, starts_per_s=100)
    chosen = schedule_s(tiling, pack(tiling, (U2,) * 4, None, model, 2**30 // 4 // 40), 8, model)
    best = min(
        list_schedule(durations(Tiling(10980, 10980, shard=64), (rows, columns), 8, model), model)
        for rows in range(1, 9)
        for columns in range(rows, 9)
        if fits(columns * 256, rows * 256, (U2,) * 4)
    )
    assert chosen <= 1.125 * best


def test_computed_requests_stay_below_what_the_service_computes_at_once() -> None:
    """80 MiB in numbers of 8 bytes: a composite of uint16 would else be asked for in tiles of twice that."""
    tiling, types = Tiling(8192, 8192, shard=32), (np.dtype("<u2"),) * 4
    model = ServiceModel(concurrency=1)
    read = pack(tiling, types, None, model, 10**9)
    computed = pack(tiling, types, None, model, 10**9, depth=1)
    assert math.prod(read) * 256**2 * 4 > 10_485_760
    assert math.prod(computed) * 256**2 * 4 <= 10_485_760
    assert math.prod(computed) > 1


def test_bands_of_computed_requests_go_in_more_runs() -> None:
    grid = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 0, 0, -10, 0), 256, 256)
    bands = [Band(f"B{k}", np.dtype("u1"), grid) for k in range(400)]
    assert [len(run) for run in band_runs(bands, 256, 256)] == [384, 16]
    assert [len(run) for run in band_runs(bands, 256, 256, is_computed=True)] == [160, 160, 80]


@settings(max_examples=40)
@given(
    width=st.integers(1, 700), height=st.integers(1, 700), slices=st.integers(1, 20_000),
    types=st.lists(st.sampled_from(["u1", "<u2", "<f4", "<f8"]), min_size=1, max_size=9),
    most=st.none() | st.integers(1, 1_500), tiles=st.none() | st.integers(1, 20),
    shard=st.sampled_from([1, 2, 4]), held=st.integers(1, 40), model=models,
)  # fmt: skip
def test_stacks_keep_to_the_limits_of_the_service(
    width, height, slices, types, most, tiles, shard, held, model
) -> None:
    dtypes = tuple(map(np.dtype, types))
    tiling = Tiling(width, height, slices, tile=256, shard=shard, shard_slices=2048)
    stack = stack_of(tiling, dtypes, StackLimits(2**23, most, tiles, held), model)
    size, (rows, columns) = stack.slices, stack.shape
    assert 1 <= size <= 2048
    assert shard % rows == shard % columns == 0
    assert tiles is None or rows * columns <= tiles
    assert most is None or size <= most
    pixels = min(width, columns * 256) * min(height, rows * 256)
    if size * rows * columns > 1:
        assert size * len(dtypes) <= 1024
        assert pixels * size * len(dtypes) * held <= 10_485_760
        assert pixels * size * sum(one.itemsize + 1 for one in dtypes) <= 50_331_648
        assert pixels * size * sum(one.itemsize for one in dtypes) <= 2**23


def boxes(tiling: Tiling, stack: int, shape: tuple[int, int], itemsize: int) -> list[float]:
    """Seconds of each request of so many slices, the last of a shard with what is left of it."""
    plane = durations(replace(tiling, slices=1), shape, itemsize, replace(MODEL, base_s=0))
    found = []
    for first in range(0, tiling.slices, tiling.shard_slices):
        left = min(tiling.shard_slices, tiling.slices - first)
        found += [
            MODEL.base_s + seconds * min(stack, left - n) for n in range(0, left, stack) for seconds in plane
        ]
    return found


@pytest.mark.parametrize("side", [51, 300, 500, 1024, 4096])
@pytest.mark.parametrize("slices", [60, 365 * 5 // 16, 365])
def test_boxes_are_within_a_tenth_of_the_best_that_the_limits_allow(side: int, slices: int) -> None:
    """Five years of NDVI as float32, by month, by 16 days, by five days, in chunks of 16 slices."""
    types, max_bytes = (np.dtype("<f4"), np.dtype("u1")), 2**23
    tile, deep = chunk_shape(side, side, 4, slices, 16)
    shard, run = deep_shard(Tiling(side, side, slices, tile, shard_slices=deep, depth=deep), 4, 2**26)
    tiling = Tiling(side, side, slices, tile, shard, run, deep)
    chosen = stack_of(tiling, types, StackLimits(max_bytes), MODEL)
    best = min(
        list_schedule(boxes(tiling, stack, (rows, columns), 5), MODEL)
        for stack in (1, 2, 4, 8, 16, 32, 64, 128)
        for rows in (1, 2, 4, 8, 16)
        for columns in (rows, 2 * rows)
        if stack <= run and columns <= shard and fits(columns * tile, rows * tile, types * stack, 1)
        if columns * rows * tile**2 * 5 * stack <= max_bytes or (stack, rows, columns) == (1, 1, 1)
    )
    assert (
        list_schedule(boxes(tiling, chosen.slices, chosen.shape, 5), MODEL)
        <= (1.25 if side == 51 else 1.1) * best
    )


def test_forty_years_of_days_take_fewer_than_a_hundred_requests() -> None:
    tiling = Tiling(51, 51, 14_610, tile=51, shard_slices=2048, depth=64)
    types = np.dtype("<f4"), np.dtype("<f4"), np.dtype("u1")
    assert -(-14_610 // stack_of(tiling, types, StackLimits(2**23), MODEL).slices) < 100
