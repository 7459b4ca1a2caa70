"""The grid of a request, from any combination of its parts, and the box of a region (docs/contract.md §4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.geometry import Shape, from_geojson
from earthengine_emulator.catalogue.model import Lattice

Affine = tuple[float, float, float, float, float, float]
Box = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y."""

_EDGE_POINTS = 21
"""Points per edge by which a curved edge is followed into another CRS."""


def resolve(grid: Mapping[str, Any], region: Mapping[str, Any] | None, native: Lattice) -> Lattice:
    """Return the full grid of a request.

    Args:
        grid: `grid` of the body, checked; may be empty.
        region: GeoJSON geometry in longitude and latitude.
        native: lattice of the first requested band, from which absent parts are taken.
    """
    system = grid.get("crsCode") or grid.get("crsWkt") or native.crs
    if "crsCode" in grid and "crsWkt" in grid:
        raise invalid_argument("Only one of 'crs_code' and 'crs_wkt' may be given.")
    if system != native.crs:
        crs.parse(system)  # refuses what is no CRS; the native one needs no look, nor pyproj's start-up time
    affine = _affine(grid["affineTransform"]) if grid.get("affineTransform") else None
    size = _dimensions(grid["dimensions"]) if "dimensions" in grid else None
    if affine is not None and size is not None:
        return Lattice(system, *size, affine)
    if size is not None:
        box = region_box(region, system) if region is not None else bounds(native, system)
        return stretched(system, box, size)
    if region is not None:
        return snapped(system, region_box(region, system), affine or _native_affine(native, system))
    if affine is not None:
        return snapped(system, bounds(native, system), affine)
    if crs.same(system, native.crs):
        return native
    return snapped(system, bounds(native, system), _native_affine(native, system))


def _affine(given: Mapping[str, float]) -> Affine:
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    values = tuple(given.get(name, 0.0) for name in names)
    a, b, c, d, e, f = values
    if not all(map(math.isfinite, values)) or a * e - b * d == 0:
        raise invalid_argument("The affine transform of the pixel grid is not invertible.")
    return a, b, c, d, e, f


def _dimensions(given: Mapping[str, int]) -> tuple[int, int]:
    width, height = given.get("width", 0), given.get("height", 0)
    if width <= 0 or height <= 0:
        raise invalid_argument(f"Pixel grid dimensions ({width}x{height}) must be positive.")
    return width, height


def stretched(system: str, box: Box, size: tuple[int, int]) -> Lattice:
    """Return a north-up grid that covers the box with exactly `size` pixels."""
    x0, y0, x1, y1 = box
    width, height = size
    if not (x1 > x0 and y1 > y0):
        raise invalid_argument("The region of the request is empty.")
    return Lattice(system, width, height, ((x1 - x0) / width, 0.0, x0, 0.0, (y0 - y1) / height, y1))


def snapped(system: str, box: Box, affine: Affine) -> Lattice:
    """Return the lattice of `affine`, cut to the pixels that cover the box."""
    a, b, c, d, e, f = affine
    det = a * e - b * d
    columns, rows = [], []
    for x in (box[0], box[2]):
        for y in (box[1], box[3]):
            columns.append((e * (x - c) - b * (y - f)) / det)
            rows.append((a * (y - f) - d * (x - c)) / det)
    # A box edge that falls on a pixel edge up to rounding takes no further pixel.
    first_column, last_column = math.floor(min(columns) + 1e-6), math.ceil(max(columns) - 1e-6)
    first_row, last_row = math.floor(min(rows) + 1e-6), math.ceil(max(rows) - 1e-6)
    width, height = max(1, last_column - first_column), max(1, last_row - first_row)
    x = c + a * first_column + b * first_row
    y = f + d * first_column + e * first_row
    return Lattice(system, width, height, (a, b, x, d, e, y))


def _native_affine(native: Lattice, system: str) -> Affine:
    """Return the native scale, as an affine in `system`: the native one itself, or a north-up one of equal pixel size."""
    if crs.same(system, native.crs):
        return native.affine
    x0, y0, x1, y1 = bounds(native, system)
    scale_x, scale_y = (x1 - x0) / native.width, (y1 - y0) / native.height
    return scale_x, 0.0, x0, 0.0, -scale_y, y1


def bounds(lattice: Lattice, system: str) -> Box:
    """Return the bounding box of a lattice's outline in `system`."""
    a, b, c, d, e, f = lattice.affine
    t = np.linspace(0.0, 1.0, _EDGE_POINTS)
    zero, one = np.zeros_like(t), np.ones_like(t)
    column = np.concatenate([t, one, t, zero]) * lattice.width
    row = np.concatenate([zero, t, one, t]) * lattice.height
    return _box(*crs.convert(lattice.crs, system, c + a * column + b * row, f + d * column + e * row))


def region_box(region: Mapping[str, Any], system: str) -> Box:
    """Return the bounding box, in `system`, of a GeoJSON geometry whose edges are straight in longitude and latitude."""
    try:
        shape = from_geojson(region)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise invalid_argument("Invalid GeoJSON geometry in 'region'.") from None
    return shape_box(shape, system)


def shape_box(shape: Shape, system: str) -> Box:
    """Return the bounding box of a shape in `system`; its edges are straight in its own CRS."""
    x, y = shapely.get_coordinates(shape.dense()).T
    return _box(*crs.convert(shape.system, system, x, y))


def _box(x: crs.Points, y: crs.Points) -> Box:
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        raise invalid_argument("The region of the request has no place in the requested CRS.")
    return float(x[finite].min()), float(y[finite].min()), float(x[finite].max()), float(y[finite].max())
