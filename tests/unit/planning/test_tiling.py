"""The lattices of tiles and shards, against oracles that count pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.planning.requests import ShardKey, TileBlock, TileKey
from downloader.planning.tiling import Tiling

tilings = st.builds(
    Tiling,
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    slices=st.integers(1, 7),
    tile=st.integers(1, 9),
    shard=st.sampled_from([1, 2, 3, 4, 8]),
    shard_slices=st.integers(1, 4),
)


@given(tilings)
def test_tiles_cover_every_pixel_exactly_once(t: Tiling) -> None:
    hits = np.zeros((t.height, t.width), dtype=int)
    for row in range(t.tile_rows):
        for column in range(t.tile_columns):
            window = t.window(row, column)
            assert max(window.shape) <= t.tile
            hits[window.slices] += 1
    assert (hits == 1).all()


@given(tilings)
def test_every_tile_is_in_exactly_one_shard(t: Tiling) -> None:
    """Shards' full masks name each tile of the group once, and nothing else."""
    seen: list[tuple[int, int, int]] = []
    for index in range(t.shards):
        shard = t.shard_at(index)
        assert t.shard_index(*shard) == index
        mask = t.full_mask(*shard)
        assert 0 < mask < 1 << t.slots
        for slot in range(t.slots):
            if mask >> slot & 1:
                tile = t.tile_at(shard, slot)
                assert t.slot(*tile) == slot
                assert (tile[0] // t.shard_slices, tile[1] // t.shard, tile[2] // t.shard) == shard
                seen.append(tile)
    everything = {
        (s, r, c) for s in range(t.slices) for r in range(t.tile_rows) for c in range(t.tile_columns)
    }
    assert len(seen) == t.tiles
    assert set(seen) == everything


@given(tilings, st.data())
def test_windows_of_several_tiles_are_the_sum_of_their_tiles(t: Tiling, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, t.tile_rows - 1))
    column = data.draw(st.integers(0, t.tile_columns - 1))
    rows = data.draw(st.integers(1, t.tile_rows - row))
    columns = data.draw(st.integers(1, t.tile_columns - column))
    block = TileBlock(0, row, column, rows, columns)
    window = t.window(row, column, rows, columns)
    parts = [t.window(r, c) for r, c in block]
    assert len(parts) == block.tiles
    assert all(window.contains(part) for part in parts)
    assert sum(part.pixels for part in parts) == window.pixels


def test_slots_are_in_zarrs_order() -> None:
    """C order over (slice, row, column), as numpy has it."""
    t = Tiling(64, 64, slices=2, tile=8, shard=4, shard_slices=2)
    for s, r, c in np.ndindex(2, 4, 4):
        assert t.slot(s, r, c) == np.ravel_multi_index((s, r, c), (2, 4, 4))


def test_the_last_row_and_column_may_be_one_pixel_wide() -> None:
    t = Tiling(257, 513, shard=2)
    assert (t.tile_columns, t.tile_rows) == (2, 3)
    assert t.window(2, 1).shape == (1, 1)
    assert t.window(0, 0, 3, 2).shape == (513, 257)
    assert t.full_mask(0, 1, 0) == 0b0011
    assert t.full_mask(0, 0, 0) == 0b1111


@pytest.mark.parametrize("field", ["width", "height", "slices", "tile", "shard", "shard_slices"])
def test_lengths_below_one_are_refused(field: str) -> None:
    with pytest.raises(JobError, match="at least 1"):
        Tiling(**{"width": 10, "height": 10, field: 0})


def test_keys_sort_in_reading_order_and_read_well() -> None:
    assert sorted([TileKey("", 1, 0, 0), TileKey("", 0, 1, 0), TileKey("", 0, 0, 9)]) == [
        TileKey("", 0, 0, 9),
        TileKey("", 0, 1, 0),
        TileKey("", 1, 0, 0),
    ]
    assert str(TileKey("10m", 0, 3, 7)) == "tile 10m 0/3/7"
    assert str(ShardKey("", 0, 3, 7)) == "shard / 0/3/7"
