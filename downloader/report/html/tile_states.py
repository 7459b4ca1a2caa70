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

_RANK: Final = np.array([3, 2, 0, 1, 4], np.uint8) + 1
"""State → rank, the worst highest; 0 is left for cells without tiles."""

_STATE: Final = np.array([EMPTY, 2, 3, 1, 0, 4], np.uint8)
"""Rank → state."""

_MOST_CELLS: Final = 128
"""Maximum number of cells along a side of a map."""

_MOST_RUNS: Final = 4096
"""Maximum number of cells of a map along the leading axis."""

_BLOCK: Final = 1024
"""Tiles along the side of a block that is read at once."""

_Block = tuple[tuple[int, int, int], NDArray[np.uint8]]
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


def state_map(shape: tuple[int, int, int], blocks: Iterable[_Block]) -> StateMap:
    """Return the states of (slices, rows, columns) tiles that `blocks` hold."""
    slices, rows, columns = shape
    side, run = doubled(max(rows, columns), _MOST_CELLS), doubled(slices, _MOST_RUNS)
    cells = np.zeros((-(-rows // side), -(-columns // side)), np.uint8)
    along, stored = np.zeros(-(-slices // run), np.uint8), np.zeros(-(-slices // run), np.int64)
    counts = np.zeros(len(STATES), np.int64)
    for (first, top, left), block in blocks:
        states = block[: slices - first, : rows - top, : columns - left]
        if not states.size:
            continue
        counts += [np.count_nonzero(states == state) for state in range(len(STATES))]
        ranks = _RANK.take(states, mode="clip")
        flat = ranks.max(axis=0)
        for axis, begin in ((0, top), (1, left)):
            flat = np.maximum.reduceat(flat, starts(begin, flat.shape[axis], side), axis=axis)
        r, c = top // side, left // side
        here = cells[r : r + flat.shape[0], c : c + flat.shape[1]]
        np.maximum(here, flat, out=here)
        at, runs = first // run, starts(first, len(ranks), run)
        worst = np.maximum.reduceat(ranks.max(axis=(1, 2)), runs)
        np.maximum(along[at : at + len(worst)], worst, out=along[at : at + len(worst)])
        stored[at : at + len(worst)] += np.add.reduceat(np.count_nonzero(states == 1, axis=(1, 2)), runs)
    return StateMap(side, _STATE[cells], run, _STATE[along], stored, tuple(counts.tolist()))


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
