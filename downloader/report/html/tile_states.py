"""States of any number of tiles on a lattice of few cells: a cell shows the worst of its tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.coverage import Coverage

STATES: Final = tuple(state.name.lower() for state in Coverage)
"""Names of the values of `coverage`, as in its `flag_meanings`."""

EMPTY: Final = 255
"""A cell in which there is no tile."""

_WORST_FIRST: Final = np.array(
    [Coverage.FAILED, Coverage.MISSING, Coverage.STORED, Coverage.OUTSIDE_IMAGE, Coverage.OUTSIDE_REGION],
    np.uint8,
)

MOST_CELLS: Final = 128
"""Maximum number of cells along a side of a map."""

_MOST_RUNS: Final = 4096
"""Maximum number of cells of a map along the leading axis."""

_BLOCK: Final = 1024
"""Tiles along the side of a block that is read at once."""

_Block = tuple[tuple[int, ...], NDArray[np.uint8]]
"""((slice, row, column) of the first tile, states (slices, rows, columns))."""


@dataclass(frozen=True, slots=True)
class StateMap:
    """Tiles of a group by state."""

    side: int
    """Tiles along a cell's side."""
    cells: NDArray[np.uint8]
    """(rows, columns): a state, or `EMPTY`; the worst over the slices."""
    run: int
    """Slices that an element of `along` stands for."""
    along: NDArray[np.uint8]
    """(slices,): a state; the worst over the tiles of each slice."""
    stored: NDArray[np.int64]
    """(slices,): tiles stored."""
    counts: tuple[int, ...]
    """Tiles in each of `STATES`."""


def coverage_blocks(coverage: Any) -> Iterator[_Block]:  # noqa: ANN401  # zarr's arrays are loosely typed
    """Yield the array `coverage` of a group block by block."""
    *lead, rows, columns = coverage.shape
    depth = max(1, coverage.chunks[0]) if lead else 1
    for first in range(0, lead[0] if lead else 1, depth):
        for top in range(0, rows, _BLOCK):
            for left in range(0, columns, _BLOCK):
                place = (slice(top, top + _BLOCK), slice(left, left + _BLOCK))
                block = coverage[(slice(first, first + depth), *place)] if lead else coverage[place][None]
                yield (first, top, left), np.asarray(block, np.uint8)


def tile_counts(
    shape: tuple[int, int, int], blocks: Iterable[_Block], side: int, run: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the tiles in each of `STATES`.

    Args:
        shape: (slices, rows, columns) of tiles; what blocks hold beyond it counts for nothing.
        blocks: the states.
        side: tiles along a cell's side.
        run: slices that are counted together.

    Returns:
        (states, rows, columns) of cells, over all slices, and (states, runs), over the area.
    """
    slices, rows, columns = shape
    cells = np.zeros((len(STATES), -(-rows // side), -(-columns // side)), np.int64)
    along = np.zeros((len(STATES), -(-slices // run)), np.int64)
    for (first, top, left), block in blocks:
        states = block[: slices - first, : rows - top, : columns - left]
        if not states.size:
            continue
        each = np.stack([states == state for state in range(len(STATES))])
        runs = np.add.reduceat(each.sum(axis=(2, 3)), starts(first, len(states), run), axis=1)
        along[:, first // run :][:, : runs.shape[1]] += runs
        flat = each.sum(axis=1)
        for axis, begin in ((1, top), (2, left)):
            flat = np.add.reduceat(flat, starts(begin, flat.shape[axis], side), axis=axis)
        cells[:, top // side :, left // side :][:, : flat.shape[1], : flat.shape[2]] += flat
    return cells, along


def state_map(shape: tuple[int, int, int], blocks: Iterable[_Block]) -> StateMap:
    """Return the states of (slices, rows, columns) tiles that `blocks` hold."""
    side, run = doubled(max(shape[1:]), MOST_CELLS), doubled(shape[0], _MOST_RUNS)
    cells, along = tile_counts(shape, blocks, side, run)
    counts = tuple(along.sum(axis=1).tolist())
    return StateMap(side, _worst(cells), run, _worst(along), along[Coverage.STORED], counts)


def _worst(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the worst state of each cell, `EMPTY` where there is no tile."""
    there = counts[_WORST_FIRST] > 0
    return np.where(there.any(axis=0), _WORST_FIRST[there.argmax(axis=0)], np.uint8(EMPTY))


def fold(line: NDArray[Any], empty: Any) -> NDArray[Any]:  # noqa: ANN401  # of the line's own type
    """Fold a line into rows, as square as possible, padded with `empty`."""
    columns = max(1, int(np.ceil(np.sqrt(len(line)))))
    if len(line) <= 24:
        columns = max(1, len(line))
    rows = -(-len(line) // columns) if len(line) else 0
    folded = np.full(rows * columns, empty, line.dtype)
    folded[: len(line)] = line
    return folded.reshape(rows, columns)


def doubled(length: int, most: int) -> int:
    """Return the smallest power of two that divides a length into at most `most` parts."""
    return 1 << max(0, -(-length // most) - 1).bit_length()


def starts(begin: int, length: int, step: int) -> NDArray[np.intp]:
    """Return the first index of each cell within a stretch that begins at `begin`, for `reduceat`."""
    return np.maximum(np.arange(begin // step * step, begin + length, step) - begin, 0)
