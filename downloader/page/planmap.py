"""What a map of a plan shows: the image's footprint, the region, the tiles to come and those that are there.

Of many tiles a cell stands for a square of them, so that a map of 10⁹ costs what one of 10⁴ costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from downloader.page.cells import EMPTY, doubled
from downloader.page.footprints import footprints, region_rings
from downloader.page.places import box
from downloader.page.plancells import (
    FAILED,
    GROUND,
    OUTSIDE_IMAGE,
    OUTSIDE_REGION,
    PART,
    STORED,
    TO_FETCH,
    plan_blocks,
    plan_cells,
)
from downloader.planning import Group, Plan, Tiling

if TYPE_CHECKING:
    from downloader.mosaic.state import GroupState
    from downloader.prospect import Prospect

__all__ = ["WORDS", "Panel", "panels"]

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

_MOST_CELLS: Final = 128
"""Cells along a side of a map at most."""

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
    cells = plan_cells(group, state, side)
    wanted = group.count_tiles()
    stored = prospect.standing.stored.get(group.name, 0)
    if stored >= wanted:
        cells[(cells == PART) | (cells == TO_FETCH)] = STORED
    there = set(np.unique(cells).tolist())
    failed = 0 if state is None else state.counts().failed
    counts: dict[int, int | None] = {
        STORED: stored,
        TO_FETCH: max(0, wanted - stored - failed),
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
    kinds = np.array([FAILED if sample.problem else TO_FETCH for sample in samples], np.uint8)
    state = prospect.standing.states.get(group.name)
    if state is not None:
        for (first, _, _), block in plan_blocks(group, state):
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
    for kind in (STORED, TO_FETCH, FAILED):  # the last one is seen where several fall into a cell
        chosen = kinds == kind
        for down, right in np.ndindex(_MARK, _MARK):
            cells[rows[chosen] + down - _MARK // 2, columns[chosen] + right - _MARK // 2] = kind
    found = tuple(
        (kind, int((kinds == kind).sum())) for kind in (STORED, TO_FETCH, FAILED) if (kinds == kind).any()
    )
    return Panel(
        "Samples",
        cells,
        width,
        height,
        found,
        f"By longitude and latitude: {box(lon.min(), lat.min(), lon.max(), lat.max())}.",
    )
