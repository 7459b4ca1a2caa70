"""Write and read the array `coverage`, the state of each tile by the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.coverage import Coverage, coverage_chunk
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.store import Store, put_all
from downloader.planning import Group, ShardKey, Tiling


def write_coverage(store: Store, layout: GroupLayout, state: GroupState) -> None:
    """Write the group's `coverage` chunk by chunk. Raises OSError."""
    objects = (layout.coverage_object(place, cells) for place, cells in coverage_chunks(layout.group, state))
    put_all(store, ((key, layout.codec.encode(chunk)) for key, chunk in objects))


def read_coverage(read: Callable[[str], bytes | None], layout: GroupLayout) -> NDArray[np.uint8]:
    """Return the group's `coverage`: (row, column) of tiles, behind the leading axes if there are any.

    Zarr does the same in a millisecond more, a tenth of what opening a mosaic takes.

    Args:
        read: returns an object's content, None where it does not exist.
        layout: the group.

    Raises:
        ValueError: a chunk is damaged.
    """
    shape, chunk = layout.coverage_shape
    cells = np.zeros(shape, np.uint8)
    for numbers in product(*(range(-(-length // step)) for length, step in zip(shape, chunk, strict=True))):
        data = read(layout.coverage_key(numbers))
        if data is not None:
            part = cells[
                tuple(slice(n * step, (n + 1) * step) for n, step in zip(numbers, chunk, strict=True))
            ]
            part[...] = layout.codec.decode(data, cells.dtype, chunk)[tuple(map(slice, part.shape))]
    return cells


def coverage_chunks(group: Group, state: GroupState) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """Yield the first cell and the cells of each chunk as `state` has them, along the leading axes, row and column.

    Cells beyond the group's edge are missing.
    """
    tiling = group.tiling
    if tiling.steps:
        yield from _of_steps(group, state)
        return
    depth, height, width = coverage_chunk(tiling)
    rows, columns, layers = height // tiling.shard, width // tiling.shard, depth // tiling.shard_slices
    failed: dict[int, list[int]] = {}
    for index in state.failed:
        failed.setdefault(tiling.shard_at(index)[0], []).append(index)
    for first in range(0, tiling.shard_layers, layers):
        for top in range(0, tiling.shard_rows, rows):
            for left in range(0, tiling.shard_columns, columns):
                cells = np.zeros((depth, height, width), np.uint8)
                for layer in range(first, min(first + layers, tiling.shard_layers)):
                    begin = (layer - first) * tiling.shard_slices
                    cells[begin : begin + tiling.shard_slices] = _block(
                        state, layer, (top, top + rows), (left, left + columns), failed.get(layer, ())
                    )
                yield (first * tiling.shard_slices, top * tiling.shard, left * tiling.shard), cells


def _of_steps(group: Group, state: GroupState) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """Yield chunks as `coverage_chunks` does, of samples that have steps: one tile each."""
    tiling = group.tiling
    samples, steps, *_ = coverage_chunk(tiling)
    of_shard = tiling.shard_leading[0]
    extents = [bool(cover) for cover in group.extents] or [True] * tiling.slices
    wanted = np.array(extents).reshape(tiling.leading)
    for first in range(0, tiling.leading[0], samples):
        for row in range(tiling.shard_rows):
            cells = np.zeros((samples, steps), np.uint8)
            here = wanted[first : first + samples, row * steps : (row + 1) * steps]
            cells[: here.shape[0], : here.shape[1]][~here] = Coverage.OUTSIDE_IMAGE
            for begin in range(0, min(samples, tiling.leading[0] - first), of_shard):
                index = tiling.shard_index((first + begin) // of_shard, row, 0)
                part = cells[begin : begin + of_shard].reshape(-1)
                part[_flags(state.complete(index), tiling)] = Coverage.STORED
                part[_flags(state.failed_mask(index), tiling)] = Coverage.FAILED
            yield (first, row * steps, 0, 0), cells[..., None, None]


def _flags(mask: int, tiling: Tiling) -> NDArray[np.bool_]:
    data = np.frombuffer(mask.to_bytes(-(-tiling.slots // 8), "little"), np.uint8)
    return np.unpackbits(data, count=tiling.slots, bitorder="little").astype(np.bool_)


def _block(
    state: GroupState, layer: int, rows: tuple[int, int], columns: tuple[int, int], failed: Iterable[int]
) -> NDArray[np.uint8]:
    """Return the cells of a rectangle of shards, (slice, row, column) in tiles; beyond the group's edge they are missing.

    `failed` are the numbers of the layer's shards in which tiles failed.
    """
    tiling = state.group.tiling
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    cells = np.zeros((height, width, tiling.slots), np.uint8)
    last, last_row = min(columns[1], tiling.shard_columns), min(rows[1], tiling.shard_rows)
    for row in range(rows[0], last_row):
        first = tiling.shard_index(layer, row, columns[0])
        masks = state.masks[first : first + last - columns[0]]
        together = np.bitwise_and.reduce(masks, axis=1)
        slots = np.unpackbits(together.view(np.uint8), axis=1, bitorder="little")[:, : tiling.slots]
        cells[row - rows[0], : slots.shape[0]] = slots * np.uint8(Coverage.STORED)
        if state.group.absent:
            # Bands that no image of a slice has are no hole: the others decide.
            for column in range(columns[0], last):
                whole = state.complete(tiling.shard_index(layer, row, column))
                cells[row - rows[0], column - columns[0], _flags(whole, tiling)] = Coverage.STORED
    for index in failed:
        _, row, column = tiling.shard_at(index)
        if rows[0] <= row < rows[1] and columns[0] <= column < columns[1]:
            here = cells[row - rows[0], column - columns[0]]
            here[_flags(state.failed_mask(index), tiling)] = Coverage.FAILED
    if not state.group.wants_all:
        for row in range(rows[0], last_row):
            for column in range(columns[0], last):
                _mark_unwanted(cells[row - rows[0], column - columns[0]], state.group, (layer, row, column))
    side, depth = tiling.shard, tiling.depth
    chunks = cells.reshape(height, width, tiling.shard_slices // depth, side, side, depth)
    blocks = chunks.transpose(2, 5, 0, 3, 1, 4)
    return np.ascontiguousarray(blocks.reshape(tiling.shard_slices, height * side, width * side))


def _mark_unwanted(cells: NDArray[np.uint8], group: Group, shard: tuple[int, int, int]) -> None:
    """Mark the missing tiles of a shard that are not wanted, by slot: outside the region, else outside the images."""
    tiling, full = group.tiling, group.tiling.full_mask(*shard)
    inside = full if group.region is None else full & group.region.mask(tiling, *shard)
    unwanted = inside & ~group.wanted_mask(ShardKey(group.name, *shard)) if group.extents else 0
    for mask, told in ((full & ~inside, Coverage.OUTSIDE_REGION), (unwanted, Coverage.OUTSIDE_IMAGE)):
        if mask:
            cells[_flags(mask, tiling) & (cells == Coverage.MISSING)] = told
