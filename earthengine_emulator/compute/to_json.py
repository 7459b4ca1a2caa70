"""The answer of value.compute: any value of an expression as JSON (docs/contract.md §4.8)."""

from __future__ import annotations

import json
from typing import Any, Final, cast

import numpy as np
import shapely

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.geometry import Shape, in_degrees
from earthengine_emulator.catalogue.model import Band, Image, PixelType, display_id, plain, version_of
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.collections import Feature, property_of
from earthengine_emulator.compute.projections import Projection
from earthengine_emulator.compute.reducers import Collection

MOST_ELEMENTS: Final = 5_000
"""Of a collection, or a list, no more elements are written out."""


def value(result: object, most: int = MOST_ELEMENTS) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as JSON.

    Raises:
        ApiError: 400 for what has no JSON form, such as a function.
    """
    if isinstance(result, Image):
        return image(result)
    elements = result.images if isinstance(result, Collection) else result
    if isinstance(elements, (list, tuple)) and len(elements) > most:
        raise invalid_argument(f"Collection query aborted after accumulating over {most} elements.")
    if isinstance(result, Collection):
        return _collection(result)
    if isinstance(result, Feature):
        return _feature(result)
    if isinstance(result, Projection):
        return {"type": "Projection", "crs": result.crs, "transform": [plain(v) for v in result.affine]}
    if isinstance(result, Shape):
        return _shape(result)
    if isinstance(result, (list, tuple)):
        return [value(one, most) for one in result]
    if isinstance(result, dict):
        return {key: value(one, most) for key, one in result.items()}
    if isinstance(result, float):
        return plain(result) if np.isfinite(result) else str(result)
    if result is None or isinstance(result, (bool, int, str)):
        return result
    raise invalid_argument(f"A {type(result).__name__} has no value.")


def _collection(collection: Collection) -> dict[str, Any]:
    """Return a collection of images, or of features."""
    images = all(isinstance(one, Image) for one in collection.images)
    described: dict[str, Any] = (
        {"type": "ImageCollection", "bands": []} if images else {"type": "FeatureCollection"}
    )
    if collection.id:
        described["id"] = collection.id
    if collection.properties:
        described["properties"] = dict(collection.properties)
    described["features"] = [value(one) for one in collection.images]
    if not images:
        described["columns"] = {}
        for i, one in enumerate(described["features"]):
            one.setdefault("id", str(i))
    return described


def _feature(feature: Feature) -> dict[str, Any]:
    """Return a feature."""
    properties = {name: value(one) for name, one in feature.properties.items()}
    geometry = None if feature.geometry is None else _shape(feature.geometry)
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def image(one: Image) -> dict[str, Any]:
    """Return an image's legacy description."""
    described: dict[str, Any] = {"type": "Image", "bands": [_band(band) for band in one.bands]}
    if one.name:
        described["id"] = display_id(one.name)
        described["version"] = version_of(one)
    properties = dict(one.properties)
    for name in ("system:time_start", "system:time_end"):
        if (when := property_of(one, name)) is not None:
            properties[name] = plain(cast("float", when))
    if one.geometry is not None:
        properties["system:footprint"] = one.geometry
    described["properties"] = properties
    return described


def pixel_type(of: PixelType) -> dict[str, Any]:
    """Return a type's legacy description."""
    precision = {"INT": "int", "FLOAT": "float", "DOUBLE": "double"}[of.precision]
    kind: dict[str, Any] = {"type": "PixelType", "precision": precision}
    if of.range is not None:
        low, high = of.range
        kind |= {"min": plain(low), "max": plain(high)}
    return kind


def _band(band: Band) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": band.id,
        "data_type": pixel_type(band.type),
        "crs": band.lattice.crs,
        "crs_transform": [plain(v) for v in band.projection],
    }
    if band.lattice is not computed.DEGREE and not band.unbounded:
        described["dimensions"] = [band.lattice.width, band.lattice.height]
        if band.projection != band.lattice.affine:
            described["origin"] = list(band.origin)
    return described


def _shape(shape: Shape) -> dict[str, Any]:
    """Return a shape as GeoJSON."""
    found: dict[str, Any] = json.loads(shapely.to_geojson(in_degrees(shape).geometry))
    return found
