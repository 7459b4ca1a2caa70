"""What a map of a plan shows: the image's footprint, the region, the tiles to come and those that are there.

Of many tiles a cell stands for a square of them, so that a map of 10⁹ costs what one of 10⁴ costs.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.grid import PixelGrid
from downloader.model.image import Image
from downloader.planning import Group, Plan, Tiling
from downloader.report.html.plan_map_cells import (
    FAILED,
    GROUND,
    KINDS,
    OUTSIDE_IMAGE,
    OUTSIDE_REGION,
    PART,
    STORED,
    TO_FETCH,
    plan_blocks,
    plan_cells,
)
from downloader.report.html.render import render
from downloader.report.html.svg import outlines
from downloader.report.html.tile_maps import Entry, TileMap
from downloader.report.html.tile_states import EMPTY, doubled
from downloader.report.plan_text import source_text
from downloader.report.text import box
from downloader.text import counted, duration, size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.mosaic.target import TargetState

__all__ = ["WORDS", "Panel", "footprints", "panels", "region_rings", "write_map"]

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


def panels(plan: Plan, target: TargetState) -> list[Panel]:
    """Return the maps of a plan: where its region lies in the images, then the tiles of each group."""
    if plan.samples is not None:
        return [_points(plan, target)]
    found = []
    locator = _locator(plan)
    if locator is not None:
        found.append(locator)
    found.extend(_tiles(group, plan, target) for group in plan.groups)
    return found


def _tiles(group: Group, plan: Plan, target: TargetState) -> Panel:
    tiling, state = group.tiling, target.states.get(group.name)
    side = doubled(max(tiling.tile_rows, tiling.tile_columns), _MOST_CELLS)
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
    return Panel(
        f"Tiles of {group.name}" if group.name else "Tiles",
        cells,
        tiling.width * scale,
        tiling.height * scale,
        tuple((kind, count) for kind, count in counts.items() if count or kind in there),
        note,
        tuple(ring * scale for ring in footprints(plan, group) if _is_seen(ring, tiling)),
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


def _points(plan: Plan, target: TargetState) -> Panel:
    """Return the samples' places, in longitude and latitude."""
    group = plan.groups[0]
    samples = () if plan.samples is None else plan.samples.samples
    lon = np.array([sample.point.lon for sample in samples])
    lat = np.array([sample.point.lat for sample in samples])
    kinds = np.array([FAILED if sample.problem else TO_FETCH for sample in samples], np.uint8)
    state = target.states.get(group.name)
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


_PER_EDGE: Final = 16
"""Points of an edge that goes to another CRS."""

_MOST_IMAGES: Final = 200
"""Different footprints that are drawn; of more the first ones."""

_MOST_POINTS: Final = 4000
"""Points of a region's outline that are drawn."""


def footprints(plan: Plan, group: Group) -> list[NDArray[np.float64]]:
    """Rings of (column, row) in pixels of the group's grid, one for each image with an outline of its own."""
    names = {band.id for band in group.bands}
    images: Iterable[Image] = (plan.image,) if plan.listed is None else plan.listed.images
    grids = dict.fromkeys(
        band.grid
        for image in images
        for band in image.bands[:64]
        if band.id in names and band.is_bounded and not band.mask_of
    )
    rings = []
    for grid in list(grids)[:_MOST_IMAGES]:
        ring = _on(group, grid)
        if np.isfinite(ring).all():
            rings.append(ring)
    return rings


def _on(group: Group, grid: PixelGrid) -> NDArray[np.float64]:
    """The edge of a grid, in pixels of the group's."""
    along = np.linspace(0, 1, _PER_EDGE + 1)[:-1]
    corners = np.array([(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height), (0, 0)], float)
    edges = [a + along[:, None] * (b - a) for a, b in itertools.pairwise(corners)]
    points = np.concatenate([*edges, corners[:1]])
    t = grid.transform
    x = t.translate_x + t.scale_x * points[:, 0] + t.shear_x * points[:, 1]
    y = t.translate_y + t.shear_y * points[:, 0] + t.scale_y * points[:, 1]
    if grid.crs != group.lattice.crs:
        import pyproj

        own = group.lattice.crs.to_pyproj()
        x, y = pyproj.Transformer.from_crs(grid.crs.to_pyproj(), own, always_xy=True).transform(x, y)
    u = group.lattice.transform
    determinant = u.scale_x * u.scale_y - u.shear_x * u.shear_y
    dx, dy = np.asarray(x) - u.translate_x, np.asarray(y) - u.translate_y
    columns = (dx * u.scale_y - dy * u.shear_x) / determinant - group.window.column
    rows = (dy * u.scale_x - dx * u.shear_y) / determinant - group.window.row
    return np.column_stack([columns, rows])


def region_rings(group: Group, tolerance: float) -> list[NDArray[np.float64]]:
    """Rings of the region in pixels of the group's grid; none where the region is all of it.

    Args:
        group: whose region.
        tolerance: pixels by which the outline may be simplified.
    """
    from downloader.planning.polygon import Shape

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


def write_map(plan: Plan, target: TargetState, output: str | os.PathLike[str]) -> str:
    """Write the map of a plan, and return one line on what it shows.

    Raises:
        JobError: the file's ending is neither `.png` nor `.html`, or it cannot be written.
    """
    file = Path(output)
    if file.suffix not in {".png", ".html"}:
        raise JobError(f"--map {file}: name a file that ends in .png or .html")
    shown = panels(plan, target)
    try:
        if file.suffix == ".html":
            file.write_text(_page(plan, target, shown) + "\n", encoding="utf-8")
        else:
            from downloader.report.html.raster import drawn

            drawn(headings(plan, target), shown).save(file, format="PNG")
    except OSError as error:
        raise JobError(f"--map {file}: cannot be written: {error.strerror or error}") from error
    return f"{file}: {', '.join(panel.title.lower() for panel in shown)}"


def headings(plan: Plan, target: TargetState) -> list[str]:
    """Return what is planned, what it costs and what is stored of it, a line each."""
    estimate = plan.estimate()
    stored = sum(target.stored.values())
    there = {
        "new": "nothing is there yet",
        "same": f"{counted(stored, 'tile')} are stored already",
        "extension": f"{counted(stored, 'tile')} are stored already, and this extends it",
        "refused": f"would be refused: {target.reason}",
    }[target.state]
    cost = (
        f"{counted(estimate.tiles, 'tile')} in {counted(estimate.requests, 'request')}, "
        f"{size(estimate.wire_bytes)} on the wire, about {duration(estimate.seconds)}"
    )
    return [source_text(plan), cost, f"{target.path}: {there}"]


def _page(plan: Plan, target: TargetState, shown: list[Panel]) -> str:
    title, *facts = headings(plan, target)
    return render("plan.html", title=title, facts=facts, maps=[_map(n, p) for n, p in enumerate(shown)])


def _map(number: int, panel: Panel) -> TileMap:
    paths = [(KINDS[kind], d) for kind, d in outlines(panel.cells).items() if kind < len(KINDS)]
    if panel.fills_region:
        paths.append(("ground", "".join(map(_path, panel.region))))
    lines = [(kind, "".join(map(_path, rings))) for kind, rings in _lines(panel) if rings]
    legend = [Entry(KINDS[kind], WORDS[KINDS[kind]], count) for kind, count in panel.counts]
    legend += [Entry(f"line {kind}", WORDS[kind]) for kind, _ in lines]
    counts = ", ".join(
        f"{WORDS[KINDS[kind]]}: {count:,}" for kind, count in panel.counts if count is not None
    )
    words = f"Map. {counts}. {panel.note}" if counts else f"Map. {panel.note}"
    return TileMap(
        f"m{number}", panel.title, words, panel.width, panel.height, tuple(paths), tuple(legend), panel.note,
        tuple(lines),
    )  # fmt: skip


def _lines(panel: Panel) -> list[tuple[str, tuple[NDArray[np.float64], ...]]]:
    return [("footprint", panel.footprint), ("region", () if panel.fills_region else panel.region)]


def _path(ring: NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in ring.tolist())
