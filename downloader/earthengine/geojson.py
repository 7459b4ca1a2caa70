"""GeoJSON at the edge of the API: a user's region made one plain geometry, and where a footprint lies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, TypeGuard

from downloader.errors import JobError
from downloader.planning.polygon import read_geojson


def plain_geometry(region: Mapping[str, Any], key: str = "region") -> dict[str, Any]:
    """Return one geometry, of nothing but `type` and `coordinates`, for a GeoJSON geometry, feature or collection.

    Args:
        region: longitudes and latitudes in degrees; heights are dropped.
        key: what messages call it.

    Raises:
        JobError: it is no GeoJSON, lies nowhere on Earth, or mixes points, lines and areas.
    """
    import shapely
    from shapely.geometry import mapping

    if not isinstance(region, Mapping):
        raise JobError("is no GeoJSON object", key=key)
    if region.get("type") == "LinearRing":  # Earth Engine's own for outlines
        region = {"type": "Polygon", "coordinates": [region.get("coordinates")]}
    geometry = shapely.force_2d(read_geojson(region, key))
    west, south, east, north = geometry.bounds
    if max(-south, north) > 90 or max(-west, east) > 360:
        swapped = max(-west, east) <= 90 and max(-south, north) <= 360
        hint = "they look swapped: longitude stands first" if swapped else "coordinates are in degrees"
        raise JobError(f"[{west:.10g}, {south:.10g}] is not a valid [longitude, latitude]; {hint}", key=key)
    if geometry.geom_type == "GeometryCollection":
        raise JobError("mixes kinds of geometries; give one kind, such as polygons only", key=key)
    document: dict[str, Any] = json.loads(json.dumps(mapping(geometry)))
    return document


def middle_longitude(geometry: object) -> float | None:
    """Return the middle of a footprint in degrees east, in [-180, 180); 0 if it goes all around, None if it is none.

    A footprint across the antimeridian is whole, however it is written: longitudes beyond 180, a jump of sign from one
    corner to the next, or a part on either side.
    """
    arcs = []
    for line in _lines(geometry):
        lowest, highest = _unwound(line)
        if highest - lowest >= 360:
            return 0.0
        arcs.append((lowest % 360, highest - lowest))
    if not arcs:
        return None
    arcs.sort()
    # The widest gap between the parts is where the footprint is not; it begins where that gap ends.
    reach, gap, begin = arcs[0][0] + arcs[0][1], -1.0, arcs[0][0]
    for start, width in arcs[1:]:
        if start - reach > gap:
            gap, begin = start - reach, start
        reach = max(reach, start + width)
    last = arcs[0][0] + 360 - reach
    if last >= gap:
        gap, begin = last, arcs[0][0]
    if gap <= 0:
        return 0.0
    return (begin + (360 - gap) / 2 + 180) % 360 - 180


def _lines(geometry: object) -> Iterator[list[float]]:
    """Yield the longitudes of each ring, line or set of points of a footprint; nothing for what is unbounded or odd."""
    if not isinstance(geometry, Mapping):
        return
    parts = geometry.get("geometries")
    if isinstance(parts, list):
        for part in parts:
            yield from _lines(part)
        return
    yield from _longitudes(geometry.get("coordinates"))


def _longitudes(given: object) -> Iterator[list[float]]:
    if not isinstance(given, list) or not given:
        return
    if _is_position(given):
        yield [float(given[0])]
    elif all(_is_position(part) for part in given):
        yield [float(part[0]) for part in given]
    else:
        for part in given:
            yield from _longitudes(part)


def _is_position(given: object) -> bool:
    return isinstance(given, list) and bool(given) and _is_number(given[0])


def _is_number(given: object) -> TypeGuard[float]:
    """Return whether it is a number with which sums can be made; whole numbers have no end in JSON."""
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < _MOST


_MOST: Final = 1e300


def _unwound(line: list[float]) -> tuple[float, float]:
    """Return the least and greatest longitude along a line that takes the shorter way between neighbours."""
    at = lowest = highest = line[0]
    for before, after in pairwise(line):
        step = after - before
        if 180 < abs(step) < 360:
            step -= math.copysign(360, step)
        at += step
        lowest, highest = min(lowest, at), max(highest, at)
    return lowest, highest
