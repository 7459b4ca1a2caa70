# ruff: noqa: A002 - parameters are named as the API's arguments are
"""The functions of expressions that the emulator knows (docs/contract.md §4.7)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.catalogue import Catalogue, asset_name, check_readable
from earthengine_emulator.catalogue.geometry import DEGREES, Shape, from_geojson, moved
from earthengine_emulator.catalogue.model import Container, Image, display_id, version_of
from earthengine_emulator.compute import (
    arithmetic,
    collections,
    parse_expression,
    pixelwise,
    projections,
    reducers,
    regions,
    values,
)
from earthengine_emulator.compute import (
    images as imagery,
)
from earthengine_emulator.compute.expression import Function, Library
from earthengine_emulator.compute.reducers import Collection
from earthengine_emulator.pixels.pyramid import Pyramids


def _shape(kind: str, coordinates: object, system: object = None) -> Shape:
    """Return a geometry, in longitude and latitude or in the units of a projection."""
    shape = from_geojson({"type": kind, "coordinates": coordinates})
    if system is None or system == DEGREES:
        return shape
    projection = projections.make(system)
    return moved(shape, projection.crs, projection.affine)


def _polygon(coordinates: list[Any], crs: object = None, **others: object) -> Shape:
    del others
    rings = coordinates if isinstance(coordinates[0][0], list) else [coordinates]
    return _shape("Polygon", rings, crs)


def _rectangle(coordinates: list[Any], crs: object = None, **others: object) -> Shape:
    del others
    west, south, east, north = (float(v) for v in np.ravel(coordinates))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return _shape("Polygon", [ring], crs)


def _of_kind(kind: str) -> Function:
    def construct(coordinates: object, crs: object = None, **others: object) -> Shape:
        del others
        return _shape(kind, coordinates, crs)

    return construct


def library(catalogue: Catalogue, pyramids: Pyramids | None = None) -> Library:
    """Return all functions, over one catalogue."""

    def load(id: str, version: int | None = -1) -> Image:
        found = catalogue.get(_visible(asset_name(id)))
        if not isinstance(found, Image):
            raise errors.image_not_found(id)
        if version not in (None, -1, version_of(found)):
            raise errors.version_not_found("Image.load", "Image", id, version)
        return found

    def load_collection(id: str, version: int | None = -1) -> Collection:
        name = _visible(asset_name(id))
        found = catalogue.get(name)
        if not isinstance(found, Container) or found.type != "IMAGE_COLLECTION":
            raise errors.collection_not_found(id)
        if version not in (None, -1, version_of(found)):
            raise errors.version_not_found("ImageCollection.load", "ImageCollection", id, version)
        entries = [catalogue.get(child) for child in catalogue.children(name)]
        images = [entry for entry in entries if isinstance(entry, Image)]
        images.sort(key=lambda one: (one.start_time or "", one.name))
        return Collection(tuple(images), display_id(name), dict(found.properties))

    return {
        "Image.load": load,
        "ImageCollection.load": load_collection,
        "Image.reduceRegion": regions.reduce_region(pyramids or Pyramids()),
        **arithmetic.LIBRARY,
        **imagery.LIBRARY,
        **pixelwise.LIBRARY,
        **projections.LIBRARY,
        **parse_expression.LIBRARY,
        **reducers.LIBRARY,
        **collections.LIBRARY,
        **values.LIBRARY,
        **_OTHERS,
    }


def _visible(name: str) -> str:
    """Return a name, or one that no asset has, when the caller may not see the asset."""
    try:
        check_readable(name)
    except errors.ApiError:
        return ""
    return name


_OTHERS: Final[Library] = {
    "DateRange": collections.date_range,
    "GeometryConstructors.Point": _of_kind("Point"),
    "GeometryConstructors.Polygon": _polygon,
    "GeometryConstructors.MultiPolygon": _of_kind("MultiPolygon"),
    "GeometryConstructors.Rectangle": _rectangle,
}
