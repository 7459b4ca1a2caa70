"""Bits in memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.model.grid import Window
from downloader.mosaic.record.state import Counts, FailedTiles, GroupState, combine
from downloader.planning import ShardKey, TileKey
from downloader.planning.tiling import bits
from tests.mosaics import one_group


def state(shard: int = 2, **options) -> GroupState:
    return GroupState(one_group(shard=shard, **options).groups[0])


def test_a_new_group_misses_every_tile_inside_it() -> None:
    s = state()
    assert s.missing(ShardKey("", 0, 0, 0)) == {0: 0b1111, 1: 0b1111}
    assert s.missing(ShardKey("", 0, 1, 1)) == {0: 0b1, 1: 0b1}
    assert s.counts() == Counts(9, 0, 0)
    assert s.counts().missing == 9


def test_a_tile_counts_when_all_its_bands_are_stored() -> None:
    s = state()
    s.update(0, {0: 0b1111})
    assert s.counts().stored == 0
    s.update(0, {1: 0b0101})
    assert s.counts().stored == 2
    assert s.missing(ShardKey("", 0, 0, 0)) == {1: 0b1010}
    s.update(0, {1: 0b1111})
    assert s.missing(ShardKey("", 0, 0, 0)) == {}


def test_failed_tiles_count_until_they_are_stored() -> None:
    s = state()
    failed = (FailedTiles(0b0011, frozenset({"B2", "B3"}), "400", "no"),)
    s.update(0, {0: 0b0001}, failed)
    assert s.counts() == Counts(9, 0, 2)
    assert list(s.failures()) == [
        (TileKey("", 0, 0, 0), ("B3",), "400", "no"),
        (TileKey("", 0, 0, 1), ("B2", "B3"), "400", "no"),
    ]
    s.update(0, {0: 0b1111, 1: 0b1111}, ())
    assert s.counts() == Counts(9, 4, 0)
    assert list(s.failures()) == []


def test_shards_of_more_than_64_tiles_keep_all_their_bits() -> None:
    s = state(shard=16, window=Window(0, 0, 4096, 4096), tile=256)
    mask = 1 << 255 | 1 << 64 | 1
    s.update(0, {0: mask, 1: mask})
    assert s.stored(0) == [mask, mask]
    assert s.counts().stored == 3


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 2**24 - 1), st.integers(0, 2**24 - 1)),
        max_size=12,
    ),
    depth=st.integers(1, 3),
    chunks=st.integers(1, 2),
)
def test_counts_kept_up_to_date_are_counts_counted_anew(steps, depth, chunks) -> None:
    s = state(slices=depth * chunks, depth=depth, shard_slices=depth * chunks)
    slots = 4 * depth * chunks
    for index, band, stored, failed in steps:
        stored, failed = stored % 2**slots, failed % 2**slots  # noqa: PLW2901
        s.update(
            index,
            {band: stored},
            (FailedTiles(failed, frozenset({("B2", "B3")[band]}), "c", "m"),) if failed else (),
        )
    kept = s.counts()
    s.recount()
    assert s.counts() == kept
    assert kept.failed == len({key for key, *_ in s.failures() if inside(s, key)})


def inside(s: GroupState, key: TileKey) -> bool:
    return key.row < s.group.tiling.tile_rows and key.column < s.group.tiling.tile_columns


def test_the_last_cause_of_a_tile_counts() -> None:
    old = (FailedTiles(0b111, frozenset({"B2", "B3"}), "500", "old"),)
    new = (FailedTiles(0b010, frozenset({"B2"}), "400", "new"),)
    assert set(combine(old, new, {"B2": 0b001, "B3": 0})) == {
        FailedTiles(0b011, frozenset({"B3"}), "500", "old"),
        FailedTiles(0b100, frozenset({"B2", "B3"}), "500", "old"),
        FailedTiles(0b010, frozenset({"B2"}), "400", "new"),
    }


@given(st.integers(0, 2**70))
def test_bits_are_the_numbers_of_the_bits(mask) -> None:
    assert sum(1 << n for n in bits(mask)) == mask
