"""Maps of a plan as values: the images' footprints, the region, the tiles to fetch and those that are stored.

In a large plan a cell stands for a square of tiles, so that a map of 10⁹ tiles costs what one of 10⁴ costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.model.crs import transformer
from downloader.model.grid import PixelGrid
from downloader.model.image import Image
from downloader.mosaic.record.coverage import coverage_chunks
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.target import TargetState
from downloader.planning import Group, Plan, Tiling
from downloader.planning.polygon import Shape
from downloader.planning.samples import SampleList
from downloader.report.html.tile_maps import LegendEntry, Ring, TileMap
from downloader.report.html.tile_states import EMPTY, MOST_CELLS, doubled, tile_counts
from downloader.report.text import box

KINDS: Final = ("todo", "stored", "part", "failed", "outside_region", "outside_image", "ground")
"""Classes of cells, by number."""

TO_FETCH, STORED, PART, FAILED, OUTSIDE_REGION, OUTSIDE_IMAGE, GROUND = range(7)

_EXACT: Final = 250_000
"""Number of tiles up to which each is checked against the region; beyond it, cells are."""

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
"""Class → name in the legend."""

_MARK: Final = 3
"""Cells along the side of a sample's mark."""

_MARGIN: Final = 0.04
"""Margin around a map of places, as a share of its longer side."""

_OUTLINES: Final = ("footprint", "region")


def _map(
    title: str,
    cells: NDArray[np.uint8],
    size: tuple[float, float],
    counts: Mapping[int, int | None],
    note: str,
    rings: Mapping[str, Sequence[Ring]] | None = None,
) -> TileMap:
    """Return a map with its legend.

    Args:
        title: what it shows.
        cells: (rows, columns): numbers of `KINDS`, or `EMPTY`.
        size: (width, height) in cells.
        counts: number of `KINDS` → tiles, in the order of the legend; None where they are not counted apart.
        note: below the map.
        rings: class → outlines.
    """
    rings = {kind: found for kind, found in (rings or {}).items() if found}
    legend = [LegendEntry(KINDS[kind], WORDS[KINDS[kind]], count) for kind, count in counts.items()]
    legend += [LegendEntry(f"line {kind}", WORDS[kind]) for kind in rings if kind in _OUTLINES]
    return TileMap(title, KINDS, cells, *size, tuple(legend), note, rings)


def panels(plan: Plan, target: TargetState) -> list[TileMap]:
    """Return the maps of a plan: where its region lies in the images, then the tiles of each group."""
    if plan.samples is not None:
        return [_points(plan, plan.samples, target)]
    tiles = [_tiles(group, plan, target) for group in plan.groups]
    locator = _locator(plan)
    return tiles if locator is None else [locator, *tiles]


def _tiles(group: Group, plan: Plan, target: TargetState) -> TileMap:
    tiling, state = group.tiling, target.states.get(group.name)
    side = doubled(max(tiling.tile_rows, tiling.tile_columns), MOST_CELLS)
    cells = plan_cells(group, state, side)
    wanted = group.count_tiles()
    stored = target.stored.get(group.name, 0)
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
    return _map(
        f"Tiles of {group.name}" if group.name else "Tiles",
        cells,
        (tiling.width * scale, tiling.height * scale),
        {kind: count for kind, count in counts.items() if count or kind in there},
        note,
        {
            "footprint": [ring * scale for ring in footprints(plan, group) if _is_seen(ring, tiling)],
            "region": [ring * scale for ring in region_rings(group, 0.2 / scale)],
        },
    )


def _is_seen(ring: Ring, tiling: Tiling) -> bool:
    """Return whether an outline crosses the group and does not only run around it."""
    import shapely

    inside = shapely.box(1, 1, tiling.width - 1, tiling.height - 1)
    return bool(shapely.LineString(ring).intersects(inside))


def _locator(plan: Plan) -> TileMap | None:
    """Return the map of the region within the images; None if it fills them."""
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
    return _map(
        "Where the region lies",
        np.full((0, 0), EMPTY, np.uint8),
        (width, height),
        {GROUND: None},
        f"Against the {'image' if len(images) == 1 else 'images'}, in the pixels of {group.name or 'the mosaic'}.",
        {
            "ground": [(ring - low) * scale for ring in region_rings(group, longest / 500) or (own,)],
            "footprint": [(ring - low) * scale for ring in images],
        },
    )


def _points(plan: Plan, samples: SampleList, target: TargetState) -> TileMap:
    """Return the map of the samples, in longitude and latitude."""
    lon, lat = np.array([(sample.point.lon, sample.point.lat) for sample in samples.firsts]).T
    kinds = sample_kinds(plan, samples, target)
    squeeze = max(0.05, math.cos(math.radians(float(np.clip(np.mean(lat), -89, 89)))))
    x, y = lon * squeeze, -lat
    span = max(float(np.ptp(x)), float(np.ptp(y)), 1e-6)
    side = span / (MOST_CELLS - 8)
    columns = ((x - x.min()) / side).astype(int) + 4
    rows = ((y - y.min()) / side).astype(int) + 4
    height, width = int(rows.max()) + 5, int(columns.max()) + 5
    cells = np.full((height, width), EMPTY, np.uint8)
    for kind in (STORED, TO_FETCH, FAILED):  # the last one is seen where several fall into a cell
        chosen = kinds == kind
        for down, right in np.ndindex(_MARK, _MARK):
            cells[rows[chosen] + down - _MARK // 2, columns[chosen] + right - _MARK // 2] = kind
    return _map(
        "Samples",
        cells,
        (width, height),
        {kind: int((kinds == kind).sum()) for kind in (STORED, TO_FETCH, FAILED) if (kinds == kind).any()},
        f"By longitude and latitude: {box(lon.min(), lat.min(), lon.max(), lat.max())}.",
    )


def sample_kinds(plan: Plan, samples: SampleList, target: TargetState) -> NDArray[np.uint8]:
    """Return a number of `KINDS` for each sample: to fetch, stored, or failed; of its steps the worst."""
    steps = samples.steps
    kinds = np.array([FAILED if sample.problem else TO_FETCH for sample in samples.samples], np.uint8)
    state = target.states.get(plan.groups[0].name)
    if state is not None:
        of = kinds.reshape(-1, steps or 1)
        for place, block in coverage_chunks(state.group, state):
            cells = block.reshape(len(block), -1)
            here = of[place[0] :, place[1] if steps else 0 :][: len(cells), : cells.shape[1]]
            here[cells[: here.shape[0], : here.shape[1]] == STORED] = STORED
    if not steps:
        return kinds
    kinds[[not (one.image or one.problem) for one in samples.samples]] = STORED
    chips = kinds.reshape(-1, steps)
    worst = np.where((chips == TO_FETCH).any(axis=1), TO_FETCH, STORED)
    return np.where((chips == FAILED).any(axis=1), FAILED, worst).astype(np.uint8)


_PER_EDGE: Final = 16
"""Points of an edge that goes to another CRS."""

_MOST_IMAGES: Final = 200
"""Different footprints that are drawn; of more the first ones."""

_MOST_POINTS: Final = 4000
"""Points of a region's outline that are drawn."""


def footprints(plan: Plan, group: Group) -> list[Ring]:
    """Return the different outlines of the images, each (points, 2): columns and rows in pixels of the group."""
    names = {band.id for band in group.bands}
    images: Iterable[Image] = (plan.image,) if plan.listed is None else plan.listed.images
    grids = dict.fromkeys(
        band.grid
        for image in images
        for band in image.bands[:64]
        if band.id in names and band.is_bounded and not band.mask_of
    )
    rings = [_outline(grid, group) for grid in list(grids)[:_MOST_IMAGES]]
    return [ring for ring in rings if np.isfinite(ring).all()]


def _outline(grid: PixelGrid, group: Group) -> Ring:
    """Return the edge of a grid, in pixels of the group."""
    corners = np.array([(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height), (0, 0)], float)
    along = np.arange(4 * _PER_EDGE + 1) / _PER_EDGE
    x, y = places(grid, np.column_stack([np.interp(along, range(5), line) for line in corners.T]))
    if grid.crs != group.lattice.crs:
        x, y = transformer(grid.crs, group.lattice.crs).transform(x, y)
    return np.column_stack(group.lattice.transform.to_pixels(x, y)) - (group.window.column, group.window.row)


def places(grid: PixelGrid, points: Ring) -> NDArray[np.float64]:
    """Return x and y, (2, points), of columns and rows of a grid, in units of its CRS."""
    affine = np.reshape(grid.transform.to_gdal(), (2, 3))
    found: NDArray[np.float64] = affine[:, :1] + affine[:, 1:] @ points.T
    return found


def region_rings(group: Group, tolerance: float) -> list[NDArray[np.float64]]:
    """Return the outline of the region in pixels of the group, in rings; empty if the region is the whole group.

    Args:
        group: group of the plan.
        tolerance: pixels by which the outline may be simplified.
    """
    if not isinstance(group.region, Shape):
        return []
    import shapely

    outline = shapely.from_wkb(group.region.wkb)
    while True:
        drawn = outline.simplify(tolerance)
        if shapely.get_num_coordinates(drawn) <= _MOST_POINTS:
            return list(_rings(drawn))
        tolerance *= 2


def _rings(geometry: Any) -> Iterator[NDArray[np.float64]]:  # noqa: ANN401  # shapely's are loosely typed
    for part in getattr(geometry, "geoms", [geometry]):
        if hasattr(part, "geoms"):
            yield from _rings(part)
        elif part.geom_type == "Polygon":
            for ring in (part.exterior, *part.interiors):
                yield np.asarray(ring.coords)[:, :2]
        else:
            yield np.asarray(part.coords)[:, :2]


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
        counts, _ = tile_counts(shape, _blocks(whole, state), side, tiling.slices)
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


def _blocks(group: Group, state: GroupState | None) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """Yield the states of a group's tiles by the ledger, in blocks of the array `coverage`."""
    if state is not None:
        # The mosaic's own bands; without the region where the plan's is without, as 10⁶ shards are dear to ask.
        group = replace(state.group, region=group.region, extents=group.extents)
    known = GroupState(group)
    if state is not None:
        known.masks, known.failed = state.masks, state.failed
    yield from coverage_chunks(group, known)
