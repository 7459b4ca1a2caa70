"""Maps of a plan as GeoJSON in longitude and latitude, for a GIS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from downloader.model.crs import LONLAT, Crs, transformer
from downloader.mosaic.target import TargetState
from downloader.planning import Group, Plan
from downloader.planning.samples import Point, SampleList
from downloader.report.html.tile_maps import Ring, TileMap, rectangles
from downloader.report.plan_map import KINDS, WORDS, footprints, places, region_rings, sample_kinds

_TOLERANCE: Final = 0.5
"""Pixels by which the region's outline may be simplified."""

_EDGE: Final = np.array(
    [(0, 0), (0.25, 0), (0.5, 0), (0.75, 0), (1, 0), (1, 0.25), (1, 0.5), (1, 0.75), (1, 1)], float
)
_SQUARE: Final = np.concatenate([_EDGE, 1 - _EDGE[1:]])
"""Outline of a unit square, with points between its corners, since its sides bend in longitude and latitude."""


def plan_geojson(plan: Plan, target: TargetState, shown: Sequence[TileMap]) -> str:
    """Return a feature collection: tiles by state, the region and the images of each group, or the samples.

    Each feature has `kind` (`tiles`, `region`, `image` or `sample`), `group`, and of tiles and samples `state`.
    """
    found = _samples(plan, plan.samples, target) if plan.samples is not None else _groups(plan, shown)
    return json.dumps({"type": "FeatureCollection", "features": list(found)}, separators=(",", ":"))


def _groups(plan: Plan, shown: Sequence[TileMap]) -> Iterator[dict[str, Any]]:
    for group, panel in zip(plan.groups, shown[-len(plan.groups) :], strict=True):
        counts = {entry.kind: entry.count for entry in panel.legend}
        limits = np.array([group.window.width, group.window.height])
        scale = limits / (panel.width, panel.height)
        for kind, state in enumerate(KINDS):
            cells = [
                [np.minimum((_SQUARE * (columns, rows) + (column, row)) * scale, limits)]
                for row, column, rows, columns in rectangles(panel.cells, kind)
            ]
            if cells:
                properties = {"state": state, "meaning": WORDS[state], "tiles": counts.get(state)}
                yield _feature("tiles", group, "MultiPolygon", cells, **properties)
        if rings := region_rings(group, _TOLERANCE):
            yield _feature("region", group, "MultiLineString", rings)
        for ring in footprints(plan, group):
            yield _feature("image", group, "Polygon", [ring])


def _samples(plan: Plan, samples: SampleList, target: TargetState) -> Iterator[dict[str, Any]]:
    for number, kind in enumerate(sample_kinds(plan, samples, target).tolist()):
        steps = samples.of_point(number)
        problem = next((one.problem for one in steps if one.problem), "")
        yield {
            "type": "Feature",
            "properties": {
                "kind": "sample", "id": steps[0].point.id, "state": KINDS[kind], "problem": problem,
            },
            "geometry": _place(steps[0].point, samples.crs),
        }  # fmt: skip


def _place(point: Point, crs: Crs) -> dict[str, Any]:
    """Return a sample's point, or its field, as GeoJSON."""
    if not point.shape:
        return {"type": "Point", "coordinates": [point.lon, point.lat]}
    import shapely

    move = transformer(crs, LONLAT).transform
    field = shapely.transform(shapely.from_wkb(point.shape), move, interleaved=False)
    found: dict[str, Any] = json.loads(shapely.to_geojson(field))
    return found


def _feature(kind: str, group: Group, shape: str, coordinates: Any, **properties: Any) -> dict[str, Any]:  # noqa: ANN401  # nested lists of rings
    def lonlat(part: Any) -> Any:  # noqa: ANN401  # as above
        return [lonlat(one) for one in part] if isinstance(part, list) else _lonlat(group, part)

    return {
        "type": "Feature",
        "properties": {"kind": kind, "group": group.name, **properties},
        "geometry": {"type": shape, "coordinates": lonlat(coordinates)},
    }


def _lonlat(group: Group, ring: Ring) -> list[list[float]]:
    """Return (columns, rows) of the group as rounded [longitude, latitude]; points without any are left out."""
    move = transformer(group.grid.crs, LONLAT)
    points = np.column_stack(move.transform(*places(group.grid, ring)))
    found: list[list[float]] = points[np.isfinite(points).all(axis=1)].round(7).tolist()
    return found
