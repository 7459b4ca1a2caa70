"""The array `coverage`: what is stored of each tile, derived from the ledger and rebuilt whenever asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.layout import COVERAGE_CHUNK, Coverage, GroupLayout
from downloader.mosaic.state import GroupState, bits
from downloader.mosaic.store import Store

__all__ = ["coverage_chunks", "write_coverage"]


def write_coverage(store: Store, layout: GroupLayout, state: GroupState) -> None:
    """Write the group's `coverage` chunk by chunk. Raises OSError."""
    written = []
    for key, cells in coverage_chunks(layout, state):
        store.put(key, [layout.codec.encode(cells)])
        written.append(key)
    store.flush(written)


def coverage_chunks(layout: GroupLayout, state: GroupState) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(key, cells) of each chunk, as `state` has them; cells beyond the group's edge are missing."""
    tiling = layout.group.tiling
    # The chunk's sides are those of the array's metadata: whole shards, and no larger than the group.
    rows = min(COVERAGE_CHUNK // tiling.shard, tiling.shard_rows)
    columns = min(COVERAGE_CHUNK // tiling.shard, tiling.shard_columns)
    for layer in range(tiling.shard_layers):
        for top in range(0, tiling.shard_rows, rows):
            for left in range(0, tiling.shard_columns, columns):
                block = _block(state, layer, (top, top + rows), (left, left + columns))
                for depth in range(tiling.shard_slices):
                    slice_ = layer * tiling.shard_slices + depth
                    if slice_ >= tiling.slices:
                        break
                    place = f"{top // rows}/{left // columns}"
                    place = f"{slice_}/{place}" if layout.leading else place
                    yield f"{layout.prefix}coverage/c/{place}", block[depth]


def _block(
    state: GroupState, layer: int, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cells of a rectangle of shards, (slice, row, column) in tiles; beyond the group's edge they are missing."""
    tiling = state.group.tiling
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    cells = np.zeros((height, width, tiling.slots), np.uint8)
    last = min(columns[1], tiling.shard_columns)
    for row in range(rows[0], min(rows[1], tiling.shard_rows)):
        first = tiling.shard_index(layer, row, columns[0])
        masks = state.masks[first : first + last - columns[0]]
        together = np.bitwise_and.reduce(masks, axis=1)
        slots = np.unpackbits(together.view(np.uint8), axis=1, bitorder="little")[:, : tiling.slots]
        cells[row - rows[0], : slots.shape[0]] = slots * np.uint8(Coverage.STORED)
    for index in state.failed:
        failed_layer, row, column = tiling.shard_at(index)
        if failed_layer == layer and rows[0] <= row < rows[1] and columns[0] <= column < columns[1]:
            for slot in bits(state.failed_mask(index)):
                cells[row - rows[0], column - columns[0], slot] = Coverage.FAILED
    side = tiling.shard
    blocks = cells.reshape(height, width, tiling.shard_slices, side, side).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(blocks.reshape(tiling.shard_slices, height * side, width * side))
