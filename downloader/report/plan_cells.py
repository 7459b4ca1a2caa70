"""The state of a plan's tiles on a lattice of few cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.record.coverage import coverage_chunks
from downloader.mosaic.record.state import GroupState
from downloader.planning import Group, Tiling
from downloader.report.html.tile_states import tile_counts

KINDS: Final = ("todo", "stored", "part", "failed", "outside_region", "outside_image", "ground")
"""Classes of cells, by number."""

TO_FETCH, STORED, PART, FAILED, OUTSIDE_REGION, OUTSIDE_IMAGE, GROUND = range(7)

_EXACT: Final = 250_000
"""Number of tiles up to which each is checked against the region; beyond it, cells are."""


def plan_cells(group: Group, state: GroupState | None, side: int) -> NDArray[np.uint8]:
    """Return numbers of `KINDS`, (rows, columns), of cells of `side` × `side` tiles over all slices.

    Up to 250,000 tiles, each is asked whether the region touches it; of more, only the cells are.

    Args:
        group: group of the plan.
        state: what the mosaic has of it; None if there is no mosaic.
        side: tiles along a cell's side.
    """
    tiling = group.tiling
    shape = (tiling.slices, tiling.tile_rows, tiling.tile_columns)
    is_exact = tiling.tiles <= _EXACT
    if is_exact or (state is not None and state.counts().stored):
        whole = group if is_exact else replace(group, region=None, extents=())
        counts, _ = tile_counts(shape, plan_blocks(whole, state), side, tiling.slices)
    else:
        counts = np.zeros((5, -(-shape[1] // side), -(-shape[2] // side)), np.int64)
        counts[0] = 1
    missing, stored, no_region, no_image, failed = counts
    wanted = missing + stored + failed
    cells = np.full(wanted.shape, PART, np.uint8)
    cells[stored == 0] = TO_FETCH
    cells[(stored < wanted) & (missing == 0) & (failed > 0)] = FAILED
    cells[(stored == wanted) & (wanted > 0)] = STORED
    cells[wanted == 0] = OUTSIDE_IMAGE
    cells[(wanted == 0) & (no_region >= no_image)] = OUTSIDE_REGION
    if not is_exact:
        _cut(cells, group, side)
    return cells


def _cut(cells: NDArray[np.uint8], group: Group, side: int) -> None:
    """Mark the cells that no image and those that no part of the region touches."""
    tiling, (rows, columns) = group.tiling, cells.shape
    whole = Tiling(tiling.width, tiling.height, tile=tiling.tile * side, shard=max(rows, columns))
    if group.extents:
        covered = np.zeros((rows, columns), np.bool_)
        for window in dict.fromkeys(window for cover in group.extents for window in cover):
            w = window.aligned(whole.tile)
            left, top = max(0, w.column // whole.tile), max(0, w.row // whole.tile)
            covered[top : max(0, w.row_end // whole.tile), left : max(0, w.column_end // whole.tile)] = True
        cells[~covered] = OUTSIDE_IMAGE
    if group.region is not None:
        touched = whole.cells(group.region.mask(whole, 0, 0, 0))[0]
        cells[~touched[:rows, :columns]] = OUTSIDE_REGION


def plan_blocks(
    group: Group, state: GroupState | None
) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """Yield the states of a group's tiles by the ledger, in blocks of the array `coverage`."""
    if state is not None:
        # The mosaic's own bands; without the region where the plan's is without, as 10⁶ shards are dear to ask.
        group = replace(state.group, region=group.region, extents=group.extents)
    known = GroupState(group)
    if state is not None:
        known.masks, known.failed = state.masks, state.failed
    yield from coverage_chunks(group, known)
