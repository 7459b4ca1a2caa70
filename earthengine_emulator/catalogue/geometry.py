"""Shapes in longitude and latitude, or in another CRS: reading, and whether two meet.

Edges are straight in longitude and latitude, as the filter's own test is (docs/contract.md §3.6).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import shapely
import shapely.affinity
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.model import Image

DEGREES: Final = "EPSG:4326"
_PIECES: Final = 20
"""Pieces of a shape's longest edge by which its edges are followed into another CRS."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A geometry and its CRS."""

    geometry: BaseGeometry
    system: str = DEGREES

    def dense(self) -> BaseGeometry:
        """Return the geometry with more points along its edges, for another CRS, in which they are bent."""
        west, south, east, north = self.geometry.bounds
        piece = max(east - west, north - south) / _PIECES
        return shapely.segmentize(self.geometry, piece) if piece > 0 else self.geometry


def intersects(one: Shape, other: Shape | None) -> bool:
    """Return whether two shapes share a point; nothing meets what has no shape."""
    return other is not None and bool(in_degrees(one).geometry.intersects(in_degrees(other).geometry))


def moved(shape: Shape, system: str, affine: tuple[float, ...]) -> Shape:
    """Return a shape whose coordinates are pixels of a projection, as one in the units of its CRS."""
    a, b, c, d, e, f = affine
    return Shape(shapely.affinity.affine_transform(shape.geometry, [a, b, d, e, c, f]), system)


def in_degrees(shape: Shape) -> Shape:
    """Return a shape in longitude and latitude, its edges followed by more points."""
    if shape.system == DEGREES:
        return shape
    return Shape(
        shapely.transform(
            shape.dense(), lambda at: np.column_stack(crs.convert(shape.system, DEGREES, at[:, 0], at[:, 1]))
        )
    )


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
        found = shapely.from_wkt(re.sub(r"^SRID=\d+;", "", text))
        if not found.is_empty:
            return Shape(found)
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, RecursionError, MemoryError):
        pass
    except shapely.errors.ShapelyError:
        pass
    raise invalid_argument(f"Invalid geometry: '{text[:80]}'.")


def from_geojson(document: Mapping[str, Any]) -> Shape:
    """Return a shape from a GeoJSON geometry, feature or collection of either. Raises ValueError, and what wrong JSON does."""
    kind = document["type"]
    if kind == "Feature":
        return from_geojson(document["geometry"])
    if kind in ("FeatureCollection", "GeometryCollection"):
        parts = document["features" if kind == "FeatureCollection" else "geometries"]
        found = shapely.GeometryCollection([from_geojson(part).geometry for part in parts])
    else:
        try:
            found = shapely.geometry.shape(document)
        except shapely.errors.ShapelyError as error:
            raise ValueError(str(error)) from error
    if found.is_empty:
        raise ValueError("an empty geometry")
    return Shape(shapely.Polygon(found) if kind == "LinearRing" else found)


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
    return Shape(shapely.Polygon(np.column_stack([x, y])))


def footprint(image: Image) -> Shape | None:
    """Return an image's footprint: its geometry, or else the outline of its first band."""
    if image.geometry is not None:
        return from_geojson(image.geometry)
    if not image.bands:
        return None
    lattice = image.bands[0].lattice
    return _outline(lattice.crs, lattice.width, lattice.height, lattice.affine)
