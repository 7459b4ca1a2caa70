"""What a map of a plan shows: the image's footprint, the region, the tiles to come and those that are there.

Of many tiles a cell stands for a square of them, so that a map of 10⁹ costs what one of 10⁴ costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from downloader.page.cells import EMPTY, doubled, starts
from downloader.page.footprints import footprints, region_rings
from downloader.page.places import box
from downloader.planning import Group, Plan, Tiling

if TYPE_CHECKING:
    from downloader.mosaic.state import GroupState
    from downloader.prospect import Prospect

__all__ = ["KINDS", "WORDS", "Panel", "panels"]

KINDS: Final = ("todo", "stored", "part", "failed", "outside_region", "outside_image", "ground")
"""Classes of cells, by number."""

WORDS: Final = {
    "todo": "to be fetched",
    "stored": "stored already",
    "part": "stored in part",
    "failed": "failed before, tried again",
    "outside_region": "outside the region",
    "outside_image": "outside the image",
    "ground": "the region",
    "footprint": "edge of an image",
    "region": "edge of the region",
}
"""Class → what it is called."""

TODO, STORED, PART, FAILED, OUTSIDE_REGION, OUTSIDE_IMAGE, GROUND = range(7)

_MOST_CELLS: Final = 128
"""Cells along a side of a map at most."""

_EXACT: Final = 250_000
"""Tiles up to which each is asked whether the region touches it; beyond, only cells are."""

_MARK: Final = 3
"""Cells along the side of a sample's mark."""

_MARGIN: Final = 0.04
"""Of the longer side of what is drawn, around a map of places."""

_Ring = NDArray[np.float64]
"""(points, 2): columns and rows, in cells."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One map."""

    title: str
    cells: NDArray[np.uint8]
    """(rows, columns): numbers of `KINDS`, or `EMPTY`."""
    width: float
    """In cells; a last cell may be cut."""
    height: float
    counts: tuple[tuple[int, int | None], ...]
    """(class, tiles) in the order of the legend; None where they are not counted apart."""
    note: str = ""
    footprint: tuple[_Ring, ...] = ()
    """Outlines of images."""
    region: tuple[_Ring, ...] = ()
    """Outline of the region."""
    fills_region: bool = False
    """Whether the region is an area to be coloured, and there are no cells."""


def panels(prospect: Prospect) -> list[Panel]:
    """The maps of a plan: where its region lies in the images, then the tiles of each group."""
    plan = prospect.plan
    if plan.samples is not None:
        return [_points(prospect)]
    found = []
    locator = _locator(plan)
    if locator is not None:
        found.append(locator)
    states = prospect.standing.states
    found.extend(_tiles(group, prospect, states.get(group.name)) for group in plan.groups)
    return found


def _tiles(group: Group, prospect: Prospect, state: GroupState | None) -> Panel:
    tiling = group.tiling
    side = doubled(max(tiling.tile_rows, tiling.tile_columns), _MOST_CELLS)
    exact = tiling.tiles <= _EXACT
    cells = _counted(group, state, side) if exact else _coarse(group, state, side)
    wanted = group.count_tiles()
    stored = prospect.standing.stored.get(group.name, 0)
    if stored >= wanted:
        cells[(cells == PART) | (cells == TODO)] = STORED
    there = set(np.unique(cells).tolist())
    failed = 0 if state is None else state.counts().failed
    counts: dict[int, int | None] = {
        STORED: stored,
        TODO: wanted - stored - failed,
        PART: None,
        FAILED: failed,
    }
    outside = tiling.tiles - wanted
    kinds = [kind for kind in (OUTSIDE_REGION, OUTSIDE_IMAGE) if kind in there]
    counts |= dict.fromkeys(kinds, outside if len(kinds) == 1 else None)
    note = "" if side == 1 else f"A cell stands for {side:,} × {side:,} tiles."
    if group.axis:
        note = f"{note} All {tiling.slices:,} slices are counted together.".strip()
    scale = 1 / (tiling.tile * side)
    return Panel(
        f"Tiles of {group.name}" if group.name else "Tiles",
        cells,
        tiling.width * scale,
        tiling.height * scale,
        tuple((kind, count) for kind, count in counts.items() if count or kind in there),
        note,
        tuple(ring * scale for ring in footprints(prospect.plan, group) if _is_seen(ring, tiling)),
        tuple(ring * scale for ring in region_rings(group, 0.2 / scale)),
    )


def _is_seen(ring: _Ring, tiling: Tiling) -> bool:
    """Whether an outline crosses the group, and not only runs around it."""
    import shapely

    inside = shapely.box(1, 1, tiling.width - 1, tiling.height - 1)
    return bool(shapely.LineString(ring).intersects(inside))


def _counted(group: Group, state: GroupState | None, side: int) -> NDArray[np.uint8]:
    """Cells by the states of each of their tiles."""
    tiling = group.tiling
    shape = (5, -(-tiling.tile_rows // side), -(-tiling.tile_columns // side))
    sums = np.zeros(shape, np.int64)
    for (first, top, left), block in _blocks(group, state):
        part = block[: tiling.slices - first, : tiling.tile_rows - top, : tiling.tile_columns - left]
        if part.size:
            _add(sums, np.stack([(part == kind).sum(axis=0) for kind in range(5)]), top, left, side)
    missing, stored, no_region, no_image, failed = sums
    wanted = missing + stored + failed
    cells = np.full(shape[1:], PART, np.uint8)
    cells[stored == 0] = TODO
    cells[(stored < wanted) & (missing == 0) & (failed > 0)] = FAILED
    cells[(stored == wanted) & (wanted > 0)] = STORED
    cells[wanted == 0] = OUTSIDE_IMAGE
    cells[(wanted == 0) & (no_region >= no_image)] = OUTSIDE_REGION
    return cells


def _coarse(group: Group, state: GroupState | None, side: int) -> NDArray[np.uint8]:
    """Cells by whether region and images touch them, and by how many of their tiles are stored."""
    tiling = group.tiling
    rows, columns = -(-tiling.tile_rows // side), -(-tiling.tile_columns // side)
    cells = np.full((rows, columns), TODO, np.uint8)
    whole = Tiling(tiling.width, tiling.height, tile=tiling.tile * side, shard=max(rows, columns))
    if group.extents:
        covered = np.zeros((rows, columns), np.bool_)
        for extent in dict.fromkeys(group.extents):
            if extent is not None:
                w = extent.aligned(whole.tile)
                left, top = max(0, w.column // whole.tile), max(0, w.row // whole.tile)
                covered[top : max(0, w.row_end // whole.tile), left : max(0, w.column_end // whole.tile)] = (
                    True
                )
        cells[~covered] = OUTSIDE_IMAGE
    if group.region is not None:
        mask = group.region.mask(whole, 0, 0, 0)
        bits = np.frombuffer(mask.to_bytes(-(-(whole.shard**2) // 8), "little"), np.uint8)
        touched = np.unpackbits(bits, bitorder="little")[: whole.shard**2].reshape(whole.shard, whole.shard)
        cells[touched[:rows, :columns] == 0] = OUTSIDE_REGION
    if state is None or not state.counts().stored:
        return cells
    sums = np.zeros((1, rows, columns), np.int64)
    total = np.zeros((1, rows, columns), np.int64)
    for (first, top, left), block in _blocks(replace(group, region=None, extents=()), state):
        part = block[: tiling.slices - first, : tiling.tile_rows - top, : tiling.tile_columns - left]
        if part.size:
            _add(sums, (part == 1).sum(axis=0)[None], top, left, side)
            _add(total, np.full((1, *part.shape[1:]), len(part)), top, left, side)
    wanted = (cells != OUTSIDE_REGION) & (cells != OUTSIDE_IMAGE)
    cells[wanted & (sums[0] > 0)] = PART
    cells[wanted & (sums[0] >= total[0])] = STORED
    return cells


def _add(sums: NDArray[np.int64], block: NDArray[np.int64], top: int, left: int, side: int) -> None:
    for axis, begin in ((1, top), (2, left)):
        block = np.add.reduceat(block, starts(begin, block.shape[axis], side), axis=axis)
    r, c = top // side, left // side
    sums[:, r : r + block.shape[1], c : c + block.shape[2]] += block


def _blocks(
    group: Group, state: GroupState | None
) -> Iterator[tuple[tuple[int, int, int], NDArray[np.uint8]]]:
    """The states of a group's tiles as the ledger has them, in blocks as of the array `coverage`."""
    from downloader.mosaic.coverage import coverage_chunks
    from downloader.mosaic.layout import GroupLayout, coverage_chunk
    from downloader.mosaic.state import GroupState

    if state is not None:
        # The mosaic's own bands; without the region where the plan's is without, as 10⁶ shards are dear to ask.
        group = replace(state.group, region=group.region, extents=group.extents)
    known = GroupState(group)
    if state is not None:
        known.masks, known.failed = state.masks, state.failed
    depth, height, width = coverage_chunk(group.tiling)
    for key, cells in coverage_chunks(GroupLayout(group, (), (), "sharded", "none"), known):
        *lead, row, column = (int(part) for part in key.rpartition("/c/")[2].split("/"))
        place = ((lead[0] if lead else 0) * depth, row * height, column * width)
        yield place, cells if lead else cells[None]


def _locator(plan: Plan) -> Panel | None:
    """Where the region lies in the images; None where it is all of them."""
    group = plan.groups[0]
    window = group.window
    images = footprints(plan, group)
    if not images:
        return None
    own = np.array(
        [(0, 0), (window.width, 0), (window.width, window.height), (0, window.height), (0, 0)], float
    )
    around = np.concatenate([*images, own])
    low, high = around.min(axis=0), around.max(axis=0)
    seen = (own.max(axis=0) - own.min(axis=0)).prod() / max((high - low).prod(), 1)
    if seen > 0.9:
        return None
    longest = float((high - low).max())
    low -= _MARGIN * longest
    scale = 100 / (longest * (1 + 2 * _MARGIN))
    width, height = ((high - low + _MARGIN * longest) * scale).tolist()
    many = len(images) > 1
    return Panel(
        "Where the region lies",
        np.full((0, 0), EMPTY, np.uint8),
        width,
        height,
        ((GROUND, None),),
        f"Against the {'images' if many else 'image'}, in the pixels of {group.name or 'the mosaic'}.",
        tuple((ring - low) * scale for ring in images),
        tuple((ring - low) * scale for ring in region_rings(group, longest / 500) or (own,)),
        fills_region=True,
    )


def _points(prospect: Prospect) -> Panel:
    """Samples, in longitude and latitude."""
    plan = prospect.plan
    group = plan.groups[0]
    samples = () if plan.samples is None else plan.samples.samples
    lon = np.array([sample.point.lon for sample in samples])
    lat = np.array([sample.point.lat for sample in samples])
    kinds = np.array([FAILED if sample.problem else TODO for sample in samples], np.uint8)
    state = prospect.standing.states.get(group.name)
    if state is not None:
        for (first, _, _), block in _blocks(group, state):
            column = block[:, 0, 0][: len(kinds) - first]
            kinds[first : first + len(column)][column == 1] = STORED
    squeeze = max(0.05, math.cos(math.radians(float(np.clip(np.mean(lat), -89, 89)))))
    x, y = lon * squeeze, -lat
    span = max(float(np.ptp(x)), float(np.ptp(y)), 1e-6)
    side = span / (_MOST_CELLS - 8)
    columns = ((x - x.min()) / side).astype(int) + 4
    rows = ((y - y.min()) / side).astype(int) + 4
    height, width = int(rows.max()) + 5, int(columns.max()) + 5
    cells = np.full((height, width), EMPTY, np.uint8)
    for kind in (STORED, TODO, FAILED):  # the last one is seen where several fall into a cell
        chosen = kinds == kind
        for down, right in np.ndindex(_MARK, _MARK):
            cells[rows[chosen] + down - _MARK // 2, columns[chosen] + right - _MARK // 2] = kind
    found = tuple(
        (kind, int((kinds == kind).sum())) for kind in (STORED, TODO, FAILED) if (kinds == kind).any()
    )
    return Panel(
        "Samples",
        cells,
        width,
        height,
        found,
        f"By longitude and latitude: {box(lon.min(), lat.min(), lon.max(), lat.max())}.",
    )
