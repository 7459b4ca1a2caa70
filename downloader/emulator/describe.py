"""What value.compute answers: any value of an expression as JSON (contract §4.8)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import numpy as np

from . import computed
from .errors import invalid_argument
from .geometry import Shape
from .model import Band, Image, display_id, plain
from .reducing import Collection

MOST_ELEMENTS: Final = 5_000
"""Of a collection no more elements are written out."""


def value(result: object) -> Any:  # noqa: ANN401 - any JSON value
    """A value as JSON.

    Raises:
        ApiError: 400 for what has no JSON form, such as a function.
    """
    if isinstance(result, Image):
        return image(result)
    if isinstance(result, Collection):
        if len(result.images) > MOST_ELEMENTS:
            raise invalid_argument(
                f"Collection query aborted after accumulating over {MOST_ELEMENTS} elements."
            )
        return {"type": "ImageCollection", "bands": [], "features": [image(one) for one in result.images]}
    if isinstance(result, datetime):
        return {"type": "Date", "value": int(result.timestamp() * 1000)}
    if isinstance(result, Shape):
        return _shape(result)
    if isinstance(result, (list, tuple)):
        return [value(one) for one in result]
    if isinstance(result, dict):
        return {key: value(one) for key, one in result.items()}
    if isinstance(result, float):
        return plain(result) if np.isfinite(result) else str(result)
    if result is None or isinstance(result, (bool, int, str)):
        return result
    raise invalid_argument(f"A {type(result).__name__} has no value.")


def image(one: Image) -> dict[str, Any]:
    """An image's legacy description."""
    described: dict[str, Any] = {"type": "Image", "bands": [_band(band) for band in one.bands]}
    if one.name:
        described["id"] = display_id(one.name)
        described["version"] = int(datetime.fromisoformat(one.update_time).timestamp() * 1e6)
    properties = dict(one.properties)
    if one.geometry is not None:
        properties["system:footprint"] = one.geometry
    described["properties"] = properties
    return described


def _band(band: Band) -> dict[str, Any]:
    precision = {"INT": "int", "FLOAT": "float", "DOUBLE": "double"}[band.type.precision]
    kind: dict[str, Any] = {"type": "PixelType", "precision": precision}
    if band.type.range is not None:
        low, high = band.type.range
        kind |= {"min": plain(low), "max": plain(high)}
    a, b, c, d, e, f = band.lattice.affine
    described: dict[str, Any] = {
        "id": band.id,
        "data_type": kind,
        "crs": band.lattice.crs,
        "crs_transform": [plain(v) for v in (a, b, c, d, e, f)],
    }
    if band.lattice is not computed.DEGREE:
        described["dimensions"] = [band.lattice.width, band.lattice.height]
    return described


def _shape(shape: Shape) -> dict[str, Any]:
    """A shape as GeoJSON."""
    parts: list[dict[str, Any]] = [{"type": "Point", "coordinates": list(p)} for p in shape.points]
    parts += [{"type": "LineString", "coordinates": [list(p) for p in line]} for line in shape.lines]
    parts += [
        {"type": "Polygon", "coordinates": [[list(p) for p in ring] for ring in area]} for area in shape.areas
    ]
    return parts[0] if len(parts) == 1 else {"type": "GeometryCollection", "geometries": parts}
