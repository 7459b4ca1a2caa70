"""Make one plain geometry of a user's region, and find the middle of a footprint."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np

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
    starts, widths = np.array(sorted(arcs)).T
    # The widest gap between the parts is where the footprint is not; it begins where that gap ends.
    reach = np.maximum.accumulate(starts + widths)
    gaps = np.roll(np.append(starts[1:], starts[0] + 360) - reach, 1)
    after = int(gaps.argmax())
    if gaps[after] <= 0:
        return 0.0
    return float((starts[after] + (360 - gaps[after]) / 2 + 180) % 360 - 180)


def _lines(given: object) -> Iterator[list[float]]:
    """Yield the longitudes of each ring, line or set of points of a footprint; nothing for what is unbounded or odd."""
    match given:
        case {"geometries": [*parts]}:
            pass
        case {"coordinates": inner}:
            parts = [inner]
        case [*parts]:
            own = _longitude(given)
            known = [own] if own is not None else [_longitude(part) for part in parts]
            line = [one for one in known if one is not None]
            if line and len(line) == len(known):
                yield line
                return
        case _:
            return
    for part in parts:
        yield from _lines(part)


def _longitude(given: object) -> float | None:
    """Return the longitude of a position; None for what is no number or too large to add up."""
    match given:
        case [int() | float() as first, *_] if not isinstance(first, bool) and abs(first) < _MOST:
            return float(first)
    return None


_MOST: Final = 1e300


def _unwound(line: list[float]) -> tuple[float, float]:
    """Return the least and greatest longitude along a line that takes the shorter way between neighbours."""
    steps = (after - before for before, after in pairwise(line))
    short = (step - math.copysign(360, step) if 180 < abs(step) < 360 else step for step in steps)
    at = list(accumulate(short, initial=line[0]))
    return min(at), max(at)
