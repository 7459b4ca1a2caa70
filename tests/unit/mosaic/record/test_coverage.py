"""Holes are never mistaken for data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.format.coverage import Coverage
from downloader.mosaic.format.hierarchy import ensure_hierarchy
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.record.coverage import read_coverage, write_coverage
from downloader.mosaic.record.state import FailedTiles, GroupState
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.storage.store import read_object
from downloader.planning import Plan, Tiling
from tests.mosaics import UTM, one_group


def written(path, plan: Plan, state: GroupState) -> np.ndarray:
    store = DiskStore(path, durable=False)
    names = {band.id: band.id for band in plan.groups[0].bands}
    layout = GroupLayout.make(plan.groups[0], names, MosaicSettings())
    ensure_hierarchy(store, (layout,), {})
    write_coverage(store, layout, state)
    cells = zarr.open_group(path, mode="r")["coverage/tiles"][:]
    read = read_coverage(lambda key: read_object(store, key), layout)
    assert read.dtype == cells.dtype
    assert np.array_equal(read, cells)
    return cells


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    shard=st.sampled_from([1, 2, 4, 8, 16]),
    slices=st.sampled_from([1, 3, 7]),
    depth=st.integers(1, 3),
    chunks=st.integers(1, 2),
)
def test_coverage_is_the_worst_over_the_bands(
    tmp_path_factory, seed, size, shard, slices, depth, chunks
) -> None:
    plan = one_group(
        window=Window(0, 0, *size),
        shard=shard,
        tile=8,
        slices=slices,
        depth=depth,
        shard_slices=depth * chunks,
    )
    tiling = plan.groups[0].tiling
    random = np.random.default_rng(seed)
    shape = (2, slices, tiling.tile_rows, tiling.tile_columns)
    stored, failed = random.random(shape) < 0.8, random.random(shape) < 0.2
    state = GroupState(plan.groups[0])
    for index in range(tiling.shards):
        where = tiling.shard_at(index)
        masks, failures = [0, 0], []
        for slot in range(tiling.slots):
            if not tiling.full_mask(*where) >> slot & 1:
                continue
            tile = tiling.tile_at(where, slot)
            for band in (0, 1):
                masks[band] |= int(stored[band][tile]) << slot
                if failed[band][tile]:
                    failures.append(FailedTiles(1 << slot, frozenset({("B2", "B3")[band]}), "c", "m"))
        state.update(index, dict(enumerate(masks)), tuple(failures))
    expected = np.where(stored.all(axis=0), Coverage.STORED, Coverage.MISSING)
    expected[(failed & ~stored).any(axis=0)] = Coverage.FAILED
    cells = written(tmp_path_factory.mktemp("m"), plan, state)
    assert (cells.reshape(expected.shape) == expected).all()
    assert state.counts().stored == (expected == Coverage.STORED).sum()
    assert state.counts().failed == (expected == Coverage.FAILED).sum()


@pytest.mark.parametrize("shard", [1, 8])
def test_coverage_of_more_than_one_chunk(tmp_path, shard) -> None:
    side = 1100 * 8
    lattice = PixelGrid(UTM.crs, UTM.transform, side, side)
    plan = one_group(["B"], lattice=lattice, window=Window(0, 0, side, side), shard=shard, tile=8)
    state = GroupState(plan.groups[0])
    for row, column in ((0, 0), (1023, 1023), (1024, 1023), (1099, 1099), (5, 1030)):
        slot = plan.groups[0].tiling.slot(0, row, column)
        index = plan.groups[0].tiling.shard_index(0, row // shard, column // shard)
        state.update(index, {0: state.stored(index)[0] | 1 << slot})
    cells = written(tmp_path, plan, state)
    assert cells.shape == (1100, 1100)
    assert list(zip(*(axis.tolist() for axis in np.nonzero(cells)), strict=True)) == [
        (0, 0), (5, 1030), (1023, 1023), (1024, 1023), (1099, 1099),
    ]  # fmt: skip


def test_a_lost_chunk_is_missing_and_a_damaged_one_is_refused(tmp_path) -> None:
    plan = one_group()
    state = GroupState(plan.groups[0])
    state.update(0, {0: 0b1111, 1: 0b1111})
    assert written(tmp_path, plan, state).sum() == 4
    layout = GroupLayout.make(plan.groups[0], {b.id: b.id for b in plan.groups[0].bands}, MosaicSettings())
    assert read_coverage(lambda _: None, layout).sum() == 0
    with pytest.raises(ValueError, match="checksum"):
        read_coverage(lambda _: b"x" * 100, layout)


def test_coverage_written_again_forgets_what_was(tmp_path) -> None:
    plan = one_group()
    state = GroupState(plan.groups[0])
    state.update(0, {0: 0b1111, 1: 0b1111})
    assert written(tmp_path, plan, state).sum() == 4
    state.update(0, {0: 0b0001})
    assert written(tmp_path, plan, state).sum() == 1


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    shard=st.sampled_from([1, 2, 4]),
)
def test_what_nobody_wants_is_told_apart_from_holes(tmp_path_factory, seed, size, shard) -> None:
    """Outside the region before outside the image, and what is stored all the same stays stored."""
    random = np.random.default_rng(seed)
    window = Window(0, 0, *size)
    plan = one_group(window=window, shard=shard, tile=8, slices=3)
    extents = [(random_window(random, window), random_window(random, window)), (), (window,)]
    inside = random.random((plan.groups[0].tiling.tile_rows, plan.groups[0].tiling.tile_columns)) < 0.7
    group = replace(plan.groups[0], extents=tuple(extents), region=Chosen(inside))
    tiling = group.tiling
    stored = random.random((3, *inside.shape)) < 0.5
    state = GroupState(group)
    for index in range(tiling.shards):
        where = tiling.shard_at(index)
        mask = sum(
            1 << slot
            for slot in range(tiling.slots)
            if tiling.full_mask(*where) >> slot & 1 and stored[tiling.tile_at(where, slot)]
        )
        state.update(index, {0: mask, 1: mask})
    expected = np.full(stored.shape, Coverage.MISSING)
    for slice_, extent in enumerate(extents):
        for row, column in np.ndindex(inside.shape):
            touched = any(one.clip(tiling.window(row, column)) for one in extent)
            if not touched:
                expected[slice_, row, column] = Coverage.OUTSIDE_IMAGE
            if not inside[row, column]:
                expected[slice_, row, column] = Coverage.OUTSIDE_REGION
    expected[stored] = Coverage.STORED
    cells = written(tmp_path_factory.mktemp("m"), replace(plan, groups=(group,)), state)
    assert (cells == expected).all()


@dataclass(frozen=True)
class Chosen:
    """A region of tiles."""

    tiles: np.ndarray

    def mask(self, tiling: Tiling, layer: int, row: int, column: int) -> int:
        slots = (tiling.tile_at((layer, row, column), slot) for slot in range(tiling.slots))
        full = tiling.full_mask(layer, row, column)
        return sum(1 << k for k, (_, r, c) in enumerate(slots) if full >> k & 1 and self.tiles[r, c])

    def count(self, tiling: Tiling) -> int:
        return int(self.tiles.sum())

    def inside(self, window: Window) -> None:
        return None


def random_window(random: np.random.Generator, within: Window) -> Window:
    column, row = int(random.integers(within.width)), int(random.integers(within.height))
    width, height = (
        int(random.integers(1, within.width - column + 1)),
        int(random.integers(1, within.height - row + 1)),
    )
    return Window(column, row, width, height)
