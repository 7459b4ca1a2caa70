"""The lattices of tiles and shards, against oracles that count pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.model.grid import Window
from downloader.planning.requests import ShardKey, TileBlock, TileKey
from downloader.planning.tiling import Tiling

tilings = st.builds(
    lambda depth, chunks, **others: Tiling(depth=depth, shard_slices=depth * chunks, **others),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    slices=st.integers(1, 17),
    tile=st.integers(1, 9),
    shard=st.sampled_from([1, 2, 3, 4, 8]),
    chunks=st.integers(1, 4),
    depth=st.integers(1, 4),
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


@pytest.mark.parametrize("depth", [1, 3])
def test_chunks_are_in_zarrs_order_and_hold_their_slots_in_a_row(depth) -> None:
    """C order over (chunk of slices, row, column), as numpy has it."""
    t = Tiling(64, 64, slices=6, tile=8, shard=4, shard_slices=6, depth=depth)
    for s, r, c in np.ndindex(6, 4, 4):
        entry = np.ravel_multi_index((s // depth, r, c), (6 // depth, 4, 4))
        assert divmod(t.slot(s, r, c), depth) == (entry, s % depth)


@given(tilings, st.data())
def test_masks_name_what_they_say_slot_by_slot(t: Tiling, data: st.DataObject) -> None:
    """Of one slice, and of a window in it."""
    slice_ = data.draw(st.integers(0, t.slices - 1))
    row, column = data.draw(st.integers(0, t.shard_rows - 1)), data.draw(st.integers(0, t.shard_columns - 1))
    left, top = data.draw(st.integers(0, t.width - 1)), data.draw(st.integers(0, t.height - 1))
    window = Window(left, top, data.draw(st.integers(1, 80)), data.draw(st.integers(1, 80)))
    for slot in range(t.slots):
        s, r, c = t.tile_at((0, row, column), slot)
        own = s % t.shard_slices == slice_ % t.shard_slices
        assert bool(t.slice_mask(slice_) >> slot & 1) == own
        touched = (
            c * t.tile < window.column_end and left < (c + 1) * t.tile
            and r * t.tile < window.row_end and top < (r + 1) * t.tile
        )  # fmt: skip
        assert bool(t.windows_mask({slice_: [window]}, row, column) >> slot & 1) == (own and touched)


@given(tilings, st.data())
def test_cells_are_a_mask_laid_out_by_slice_row_and_column(t: Tiling, data: st.DataObject) -> None:
    mask = data.draw(st.integers(0, 2**t.slots - 1))
    cells = t.cells(mask)
    assert cells.shape == (t.shard_slices, t.shard, t.shard)
    for place in np.ndindex(cells.shape):
        assert cells[place] == bool(mask >> t.slot(*map(int, place)) & 1)
    assert t.mask(cells) == mask


def test_the_last_row_and_column_may_be_one_pixel_wide() -> None:
    t = Tiling(257, 513, shard=2)
    assert (t.tile_columns, t.tile_rows) == (2, 3)
    assert t.window(2, 1).shape == (1, 1)
    assert t.window(0, 0, 3, 2).shape == (513, 257)
    assert t.full_mask(0, 1, 0) == 0b0011
    assert t.full_mask(0, 0, 0) == 0b1111


@pytest.mark.parametrize("field", ["width", "height", "slices", "tile", "shard", "shard_slices", "depth"])
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


@given(tilings)
def test_shards_of_a_layer_come_by_their_size(t: Tiling) -> None:
    blocks = t.shard_blocks()
    places = [(row, column) for rows, columns in blocks for row in rows for column in columns]
    assert sorted(places) == [
        (row, column) for row in range(t.shard_rows) for column in range(t.shard_columns)
    ]
    side = t.shard_side
    sizes = [t.window(row * t.shard, column * t.shard, t.shard, t.shard).pixels for row, column in places]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes.count(side * side) == (t.width // side) * (t.height // side)
