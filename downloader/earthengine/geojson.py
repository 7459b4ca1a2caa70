"""GeoJSON at the edge of the API: a user's region made one plain geometry, and where a footprint lies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, TypeGuard

from downloader.errors import JobError
from downloader.text import cut

_DEPTHS: Final = {
    "Point": 0, "MultiPoint": 1, "LineString": 1, "LinearRing": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3,
}  # fmt: skip
"""How deep a type's positions lie in its coordinates."""

_MANY: Final = {"Point": "MultiPoint", "LineString": "MultiLineString", "Polygon": "MultiPolygon"}


def plain_geometry(region: Mapping[str, Any], what: str = "region") -> dict[str, Any]:
    """One geometry, of nothing but `type` and `coordinates`, of a GeoJSON geometry, feature or collection.

    Args:
        region: longitudes and latitudes in degrees; heights are dropped.
        what: what messages call it.

    Raises:
        JobError: it is no GeoJSON, lies nowhere on Earth, or mixes points, lines and areas.
    """
    parts = list(_geometries(region, what))
    if not parts:
        raise JobError(f"{what}: holds no geometry")
    if len(parts) == 1:
        return parts[0]
    kinds = {part["type"].removeprefix("Multi") for part in parts}
    if len(kinds) > 1:
        raise JobError(
            f"{what}: mixes {' and '.join(sorted(kinds))}; give geometries of one kind, such as polygons only"
        )
    coordinates: list[Any] = []
    for part in parts:
        coordinates += part["coordinates"] if part["type"].startswith("Multi") else [part["coordinates"]]
    return {"type": _MANY[kinds.pop()], "coordinates": coordinates}


def middle_longitude(geometry: object) -> float | None:
    """Degrees east, in [-180, 180), of the middle of a footprint; 0 where it goes all around, None where it is none.

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


def _geometries(region: object, what: str) -> Iterator[dict[str, Any]]:
    if not isinstance(region, Mapping):
        raise JobError(f"{what}: is no GeoJSON object")
    kind = region.get("type")
    if kind == "Feature":
        if region.get("geometry") is not None:
            yield from _geometries(region["geometry"], what)
    elif kind in {"FeatureCollection", "GeometryCollection"}:
        members = region.get("features" if kind == "FeatureCollection" else "geometries")
        for member in members if isinstance(members, list) else []:
            yield from _geometries(member, what)
    elif kind in _DEPTHS:
        coordinates = _coordinates(region.get("coordinates"), _DEPTHS[kind], what)
        if kind == "LinearRing":
            kind, coordinates = "Polygon", [coordinates]
        if kind in {"Polygon", "MultiPolygon"}:
            _close(
                coordinates if kind == "Polygon" else [ring for area in coordinates for ring in area], what
            )
        yield {"type": kind, "coordinates": coordinates}
    else:
        raise JobError(
            f"{what}: {str(kind)[:40]!r} is no type of GeoJSON; write a geometry such as "
            '{"type": "Point", "coordinates": [-122.085, 37.422]}, longitude first'
        )


def _coordinates(given: object, depth: int, what: str) -> list[Any]:
    if not isinstance(given, list | tuple) or not given:
        raise JobError(f"{what}: coordinates are missing or not nested as their type asks")
    return [_coordinates(part, depth - 1, what) for part in given] if depth else _position(given, what)


def _position(given: list[object] | tuple[object, ...], what: str) -> list[float]:
    numbers = [x for x in given[:2] if _is_number(x)]
    if len(numbers) < 2:
        raise JobError(f"{what}: {cut(list(given), 60)} is no position; write [longitude, latitude]")
    longitude, latitude = numbers
    if abs(latitude) > 90 or abs(longitude) > 360:
        swapped = abs(longitude) <= 90 and abs(latitude) <= 360
        hint = "they look swapped" if swapped else "coordinates are in degrees"
        raise JobError(
            f"{what}: [{longitude:.10g}, {latitude:.10g}] is not a valid [longitude, latitude]; {hint}"
        )
    return [longitude, latitude]


def _close(rings: list[list[Any]], what: str) -> None:
    """End each ring where it began."""
    for ring in rings:
        if ring[0] != ring[-1]:
            ring.append(list(ring[0]))
        if len(ring) < 4:
            raise JobError(f"{what}: a polygon needs three corners at least")


def _lines(geometry: object) -> Iterator[list[float]]:
    """The longitudes of each ring, line or set of points of a footprint; of what is unbounded or odd, none."""
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
    """Least and greatest longitude along a line that takes the shorter way between neighbours."""
    at = lowest = highest = line[0]
    for before, after in pairwise(line):
        step = after - before
        if 180 < abs(step) < 360:
            step -= math.copysign(360, step)
        at += step
        lowest, highest = min(lowest, at), max(highest, at)
    return lowest, highest
