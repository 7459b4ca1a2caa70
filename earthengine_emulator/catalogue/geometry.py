"""Shapes in longitude and latitude, as far as listings need them: reading, and whether two meet.

Edges are straight in longitude and latitude, as the filter's own test is (docs/contract.md §3.6).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.model import Image

DEGREES: Final = "EPSG:4326"
Point = tuple[float, float]
Line = tuple[Point, ...]


class Shape:
    """Points, lines, and areas with their holes; in longitude and latitude unless another CRS is given."""

    def __init__(self, system: str = DEGREES) -> None:
        self.system = system
        self.points: list[Point] = []
        self.lines: list[Line] = []
        self.areas: list[tuple[Line, ...]] = []
        """Each area's rings, the outer one first."""

    def vertices(self) -> Iterator[Point]:
        """Yield a point on every part, all of which lie on the shape."""
        yield from self.points
        for line in self.lines:
            yield from line
        for area in self.areas:
            for ring in area:
                yield from ring

    def edges(self) -> Iterator[tuple[Point, Point]]:
        """Yield the segments of lines and rings."""
        for line in [*self.lines, *(ring for area in self.areas for ring in area)]:
            yield from pairwise(line)

    def covers(self, point: Point) -> bool:
        """Return whether a point lies in one of the areas, or on its border."""
        return any(
            _in_ring(point, area[0]) and not any(_in_ring(point, hole, border=False) for hole in area[1:])
            for area in self.areas
        )


def intersects(one: Shape, other: Shape | None) -> bool:
    """Return whether two shapes share a point; nothing meets what has no shape."""
    if other is None:
        return False
    one, other = in_degrees(one), in_degrees(other)
    if any(other.covers(p) for p in one.vertices()) or any(one.covers(p) for p in other.vertices()):
        return True
    edges = list(other.edges())
    if any(_crosses(a, b) for a in one.edges() for b in edges):
        return True
    marks = set(other.points)
    return any(p in marks for p in one.points)


def moved(shape: Shape, system: str, affine: tuple[float, ...]) -> Shape:
    """Return a shape whose coordinates are pixels of a projection, as one in the units of its CRS."""
    a, b, c, d, e, f = affine
    return _mapped(shape, system, lambda x, y: (c + a * x + b * y, f + d * x + e * y))


def in_degrees(shape: Shape) -> Shape:
    """Return a shape in longitude and latitude, its edges followed by more points."""
    if shape.system == DEGREES:
        return shape
    dense = Shape(shape.system)
    dense.points = shape.points
    dense.lines = [_densified(line) for line in shape.lines]
    dense.areas = [tuple(_densified(ring) for ring in area) for area in shape.areas]
    return _mapped(dense, DEGREES, lambda x, y: crs.convert(shape.system, DEGREES, x, y))


def _densified(line: Line) -> Line:
    steps = np.linspace(0, 1, 21)[:-1].tolist()
    points = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in pairwise(line) for t in steps]
    return (*points, line[-1])


def _mapped(
    shape: Shape, system: str, function: Callable[[crs.Points, crs.Points], tuple[crs.Points, crs.Points]]
) -> Shape:
    def line(points: Iterable[Point]) -> Line:
        x, y = np.array(list(points), np.float64).T
        return tuple(zip(*(v.tolist() for v in function(x, y)), strict=True))

    result = Shape(system)
    result.points = list(line(shape.points)) if shape.points else []
    result.lines = [line(one) for one in shape.lines]
    result.areas = [tuple(line(ring) for ring in area) for area in shape.areas]
    return result


def _side(a: Point, b: Point, p: Point) -> float:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _on(a: Point, b: Point, p: Point) -> bool:
    """Return whether p lies on the segment."""
    within = min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])
    return within and _side(a, b, p) == 0


def _crosses(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    (a, b), (c, d) = one, other
    if _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0:
        return True
    return _on(a, b, c) or _on(a, b, d) or _on(c, d, a) or _on(c, d, b)


def _in_ring(point: Point, ring: Line, *, border: bool = True) -> bool:
    x, y = point
    inside = False
    for a, b in pairwise(ring):
        if _on(a, b, point):
            return border
        if (a[1] > y) != (b[1] > y) and x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]:
            inside = not inside
    return inside


# ---------------------------------------------------------------- reading


def parse(text: str) -> Shape:
    """Return a shape from GeoJSON, from its single-quoted form, or from WKT.

    Raises:
        ApiError: 400 when it is none of them.
    """
    text = text.strip()
    try:
        if text.startswith("{"):
            document = ast.literal_eval(text) if "'" in text and '"' not in text else json.loads(text)
            return from_geojson(document)
        return from_geojson(_wkt(text))
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, RecursionError, MemoryError):
        raise invalid_argument(f"Invalid geometry: '{text[:80]}'.") from None


def from_geojson(document: Mapping[str, Any]) -> Shape:
    """Return a shape from a GeoJSON geometry, feature or collection of either."""
    shape = Shape()
    _add(shape, document)
    if not any(True for _ in shape.vertices()):
        raise ValueError("an empty geometry")
    return shape


def _add(shape: Shape, document: Mapping[str, Any]) -> None:
    kind = document["type"]
    if kind == "Feature":
        _add(shape, document["geometry"])
    elif kind in ("FeatureCollection", "GeometryCollection"):
        for part in document["features" if kind == "FeatureCollection" else "geometries"]:
            _add(shape, part)
    else:
        _add_plain(shape, kind, document["coordinates"])


def _add_plain(shape: Shape, kind: str, coordinates: Any) -> None:  # noqa: ANN401 - nested lists of four depths
    if kind == "Point":
        shape.points.append(_point(coordinates))
    elif kind == "LineString":
        shape.lines.append(tuple(map(_point, coordinates)))
    elif kind in ("Polygon", "LinearRing"):
        rings = [coordinates] if kind == "LinearRing" else coordinates
        shape.areas.append(tuple(_closed(tuple(map(_point, ring))) for ring in rings))
    elif kind in ("MultiPoint", "MultiLineString", "MultiPolygon"):
        for part in coordinates:
            _add_plain(shape, kind.removeprefix("Multi"), part)
    else:
        raise ValueError(kind)


def _point(given: Any) -> Point:  # noqa: ANN401
    return float(given[0]), float(given[1])


def _closed(ring: Line) -> Line:
    return ring if ring[0] == ring[-1] else (*ring, ring[0])


_WKT: Final = re.compile(r"^(?:SRID=\d+;)?\s*([A-Za-z]+)\s*(?:Z|M|ZM)?\s*(\(.*\))\s*$", re.DOTALL)
_WKT_NAMES: Final = {
    name.upper(): name
    for name in ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
}


def _wkt(text: str) -> dict[str, Any]:
    """GeoJSON of a WKT geometry: brackets become lists, and so do the numbers between commas."""
    match = _WKT.match(text)
    if match is None:
        raise ValueError(text)
    kind = _WKT_NAMES[match[1].upper()]
    inner = re.sub(r"[-+.\deE]+(?:\s+[-+.\deE]+)+", lambda m: f"[{','.join(m[0].split())}]", match[2])
    coordinates = json.loads(inner.replace("(", "[").replace(")", "]"))
    if kind == "Point":
        coordinates = coordinates[0]
    elif kind == "MultiPoint":
        coordinates = [p[0] if isinstance(p[0], list) else p for p in coordinates]
    return {"type": kind, "coordinates": coordinates}


@lru_cache(maxsize=4096)
def _outline(lattice_crs: str, width: int, height: int, affine: tuple[float, ...]) -> Shape | None:
    """Return a lattice's border in longitude and latitude, with points along its edges."""
    a, b, c, d, e, f = affine
    t = np.linspace(0, 1, 9)[:-1]
    zero, one = np.zeros_like(t), np.ones_like(t)
    column = np.concatenate([t, one, 1 - t, zero]) * width
    row = np.concatenate([zero, t, one, 1 - t]) * height
    x, y = crs.convert(lattice_crs, "EPSG:4326", c + a * column + b * row, f + d * column + e * row)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    shape = Shape()
    shape.areas.append((_closed(tuple(zip(x.tolist(), y.tolist(), strict=True))),))
    return shape


def footprint(image: Image) -> Shape | None:
    """Return an image's footprint: its geometry, or else the outline of its first band."""
    if image.geometry is not None:
        return from_geojson(image.geometry)
    if not image.bands:
        return None
    lattice = image.bands[0].lattice
    return _outline(lattice.crs, lattice.width, lattice.height, lattice.affine)
