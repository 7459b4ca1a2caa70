# ruff: noqa: A002, A006, N803, PLW0108 - parameters are named as the API's arguments are
"""Properties of images, features and collections, and plain values (docs/contract.md §4.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.model import Image, display_id, version_of
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.collections import Feature, property_of
from earthengine_emulator.compute.expression import Function, Library
from earthengine_emulator.compute.operand import as_shape
from earthengine_emulator.compute.reducers import Collection, Reducer

Element = Image | Feature | Collection


def feature(
    geometry: object = None, metadata: Mapping[str, Any] | None = None, geometryKey: object = None
) -> Feature:
    """Return a feature: Feature."""
    del geometryKey
    return Feature(None if geometry is None else as_shape(geometry), dict(metadata or {}))


def properties_of(one: object) -> dict[str, Any]:
    """Return the properties of an element, those included that only functions see."""
    if isinstance(one, Image):
        own = dict(one.properties)
        for name in ("system:time_start", "system:time_end"):
            if (value := property_of(one, name)) is not None:
                own[name] = value
        return own
    if isinstance(one, (Feature, Collection)):
        return dict(one.properties or {})
    raise invalid_argument(f"Element: {type(one).__name__} has no properties.")


def _get(object: Any, property: str) -> object:  # noqa: ANN401
    if property == "system:id" and isinstance(object, Image):
        return display_id(object.name) if object.name else None
    if property == "system:version" and isinstance(object, Image):
        return version_of(object) if object.name else None
    if property == "system:id" and isinstance(object, Collection):
        return object.id or None
    return properties_of(object).get(property)


def _set_all(object: Any, properties: Mapping[str, Any]) -> Element:  # noqa: ANN401
    merged = {**(object.properties or {}), **properties}
    return cast("Element", replace(object, properties={k: v for k, v in merged.items() if v is not None}))


def _copy_properties(
    destination: Any = None,  # noqa: ANN401
    source: object = None,
    properties: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Element:
    own = properties_of(source)
    names = [n for n in own if not n.startswith("system:")] if properties is None else properties
    return _set_all(destination, {n: own[n] for n in names if n in own and n not in (exclude or ())})


def _to_dictionary(element: object, properties: Sequence[str] | None = None) -> dict[str, Any]:
    own = properties_of(element)
    return own if properties is None else {name: own[name] for name in properties}


# ---------------------------------------------------------------- collections as tables


def _column(collection: Collection, property: str) -> list[Any]:
    values = [_get(one, property) for one in collection.images]
    return [value for value in values if value is not None]


def _reduce_columns(
    collection: Collection, reducer: Reducer, selectors: Sequence[str], weightSelectors: object = None
) -> dict[str, Any]:
    """Collection.reduceColumns to lists: elements that lack one of the columns do not count."""
    del weightSelectors
    if reducer.name != "toList":
        raise invalid_argument(f"Collection.reduceColumns: Reducer '{reducer.name}' is not supported here.")
    rows = [[_get(one, name) for name in selectors] for one in collection.images]
    rows = [row for row in rows if None not in row]
    columns: list[list[Any]] = [[row[i] for row in rows] for i in range(len(selectors))]
    if reducer.repeated:
        return {"list": columns}
    return {"list": columns[0] if len(selectors) == 1 else rows}


def _to_list(collection: Collection, count: int, offset: int = 0) -> list[Any]:
    return list(collection.images[int(offset) : int(offset) + int(count)])


def _iterate(collection: Collection, function: Function, first: object = None) -> object:
    result = first
    for one in collection.images:
        result = function(one, result)
    return result


def _merged(collection1: Collection, collection2: Collection) -> Collection:
    """ImageCollection.merge: indices are prefixed with 1_ and 2_."""
    images = []
    for number, collection in enumerate((collection1, collection2), 1):
        for position, one in enumerate(collection.images):
            index = one.properties.get("system:index", str(position))
            images.append(replace(one, properties={**one.properties, "system:index": f"{number}_{index}"}))
    return Collection(tuple(images))


def _to_bands(collection: Collection) -> Image:
    """ImageCollection.toBands: all bands of all images, named INDEX_BAND."""
    bands, planes = [], []
    for number, one in enumerate(collection.images):
        index = one.properties.get("system:index", str(number))
        for i, band in enumerate(one.bands):
            bands.append(replace(band, id=f"{index}_{band.id}"))
            planes.append(computed.plane_of(one, i))
    return computed.image_of(bands, planes)


# ---------------------------------------------------------------- plain values


def _dictionary_get(dictionary: Mapping[str, Any], key: str, defaultValue: object = None) -> object:
    if key not in dictionary and defaultValue is None:
        raise invalid_argument(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary.get(key, defaultValue)


LIBRARY: Final[Library] = {
    "Feature": feature,
    "Element.get": _get,
    "Element.set": lambda object, key, value=None: _set_all(object, {key: value}),
    "Element.copyProperties": _copy_properties,
    "Image.copyProperties": _copy_properties,
    "Element.toDictionary": _to_dictionary,
    "Collection.reduceColumns": _reduce_columns,
    "Collection.toList": _to_list,
    "Collection.iterate": _iterate,
    "Collection": lambda features: Collection(tuple(features)),
    "ImageCollection.merge": _merged,
    "ImageCollection.toBands": _to_bands,
    "List.slice": lambda list, start, end=None, step=None: list[start:end:step],
    "Dictionary.get": _dictionary_get,
    "AggregateFeatureCollection.array": lambda collection, property: _column(collection, property),
    "Number.add": lambda left, right: left + right,
    "Number.divide": lambda left, right: left / right if right else 0,
}  # fmt: skip
