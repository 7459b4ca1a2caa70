# ruff: noqa: A002, A006, N803, PLW0108 - parameters are named as the API's arguments are
"""Properties of images, features and collections; lists, dictionaries, numbers, strings and dates (docs/contract.md §4.7)."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import numpy as np

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.geometry import Shape, footprint, from_geojson
from earthengine_emulator.catalogue.model import Image, display_id, version_of
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.collections import Feature, milliseconds, property_of
from earthengine_emulator.compute.expression import Function, Library
from earthengine_emulator.compute.operand import as_shape
from earthengine_emulator.compute.operand import image as as_image
from earthengine_emulator.compute.reducers import Collection, Reducer
from earthengine_emulator.pixels import grids

Element = Image | Feature | Collection


def feature(
    geometry: object = None, metadata: Mapping[str, Any] | None = None, geometryKey: object = None
) -> Feature:
    """Feature."""
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


def _geometry(feature: object, **options: object) -> Shape:
    del options
    if isinstance(feature, Collection):
        shape = Shape()
        for one in feature.images:
            part = _geometry(one)
            shape.areas += part.areas
            shape.lines += part.lines
            shape.points += part.points
        return shape
    found = footprint(feature) if isinstance(feature, Image) else cast("Feature", feature).geometry
    if found is None:
        raise invalid_argument("The element has no geometry.")
    return found


def _bounds(geometry: object, **options: object) -> Shape:
    del options
    west, south, east, north = grids.shape_box(as_shape(geometry), "EPSG:4326")
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return from_geojson({"type": "Polygon", "coordinates": [ring]})


# ---------------------------------------------------------------- collections as tables


def _column(collection: Collection, property: str) -> list[Any]:
    values = [_get(one, property) for one in collection.images]
    return [value for value in values if value is not None]


_STATISTICS: Final[Mapping[str, Callable[[list[Any]], Any]]] = {
    "count": len,
    "first": lambda values: values[0] if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "sum": lambda values: math.fsum(values),
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
}


def _aggregate(how: Callable[[list[Any]], Any]) -> Function:
    return lambda collection, property: how(_column(collection, property))


def _reduce_columns(
    collection: Collection, reducer: Reducer, selectors: Sequence[str], weightSelectors: object = None
) -> dict[str, Any]:
    """Collection.reduceColumns: elements that lack one of the columns do not count."""
    del weightSelectors
    rows = [[_get(one, name) for name in selectors] for one in collection.images]
    rows = [row for row in rows if None not in row]
    columns: list[list[Any]] = [[row[i] for row in rows] for i in range(len(selectors))]
    if reducer.name == "toList":
        if reducer.repeated:
            return {"list": columns}
        return {"list": columns[0] if len(selectors) == 1 else rows}
    if reducer.name == "minMax":
        return {"min": min(columns[0], default=None), "max": max(columns[0], default=None)}
    if reducer.name not in _STATISTICS:
        raise invalid_argument(f"Collection.reduceColumns: Reducer '{reducer.name}' is not supported here.")
    results = [_STATISTICS[reducer.name](column) for column in columns]
    return {reducer.name: results if reducer.repeated else results[0]}


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


# ---------------------------------------------------------------- dates


_UNITS_MS: Final = {
    "second": 1e3,
    "minute": 60e3,
    "hour": 3600e3,
    "day": 86_400e3,
    "week": 7 * 86_400e3,
    "month": 365.25 / 12 * 86_400e3,
    "year": 365.25 * 86_400e3,
}
"""Milliseconds of a unit; differences in months and years are in mean ones."""
_JODA: Final = {
    "y": "%Y",
    "Y": "%Y",
    "M": "%m",
    "d": "%d",
    "D": "%j",
    "H": "%H",
    "m": "%M",
    "s": "%S",
}
"""Letters of a date pattern; how often they stand beside themselves does not matter here."""


def _date(value: object, timeZone: str | None = None) -> datetime:
    del timeZone
    return datetime.fromtimestamp(milliseconds(value) / 1000, UTC)


def _unit(name: str) -> str:
    unit = name.removesuffix("s")
    if unit not in _UNITS_MS:
        raise invalid_argument(f"Date: Unknown unit '{name}'.")
    return unit


def _advance(date: object, delta: float, unit: str, timeZone: str | None = None) -> datetime:
    del timeZone
    start, name = _date(date), _unit(unit)
    if name not in ("month", "year"):
        return start + timedelta(milliseconds=delta * _UNITS_MS[name])
    months = start.year * 12 + start.month - 1 + round(delta * (12 if name == "year" else 1))
    year, month = divmod(months, 12)
    for day in range(start.day, 27, -1):
        try:
            return start.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return start.replace(year=year, month=month + 1)


def _format(date: object, format: str | None = None, timeZone: str | None = None) -> str:
    del timeZone
    when = _date(date)
    if format is None:
        return when.strftime("%Y-%m-%dT%H:%M:%S")
    parts = re.findall(r"'([^']*)'|(([A-Za-z])\3*)|([^A-Za-z']+)", format)
    return "".join(
        quoted or other or when.strftime(_JODA.get(letter, run)) for quoted, run, letter, other in parts
    )


def _date_part(date: object, unit: str, timeZone: str | None = None) -> int:
    del timeZone
    return int(getattr(_date(date), unit))


def _from_ymd(year: int, month: int, day: int, timeZone: str | None = None) -> datetime:
    del timeZone
    return datetime(int(year), int(month), int(day), tzinfo=UTC)


# ---------------------------------------------------------------- plain values


def _mapped(list: Sequence[Any], baseAlgorithm: Function, dropNulls: bool = False) -> list[Any]:
    results = [baseAlgorithm(one) for one in list]
    return [one for one in results if one is not None or not dropNulls]


def _sequence(
    start: float, end: float | None = None, step: float = 1, count: int | None = None
) -> list[float]:
    if count is not None:
        return [float(v) for v in np.linspace(start, start if end is None else end, int(count))]
    if end is None or step == 0:
        raise invalid_argument("List.sequence: needs an end or a count, and a step that is not 0.")
    return [start + i * step for i in range(max(0, math.floor((end - start) / step + 1e-9) + 1))]


def _dictionary_get(dictionary: Mapping[str, Any], key: str, defaultValue: object = None) -> object:
    if key not in dictionary and defaultValue is None:
        raise invalid_argument(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary.get(key, defaultValue)


_NUMBERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": lambda a, b: a / b if b else 0,
}


def _number(operation: Callable[[Any, Any], Any]) -> Function:
    return lambda left, right: operation(left, right)


LIBRARY: Final[Library] = {
    "Feature": feature,
    "Element.get": _get,
    "Element.getNumber": _get,
    "Element.getString": _get,
    "Element.propertyNames": lambda element: sorted(properties_of(element)),
    "Element.set": lambda object, key, value=None: _set_all(object, {key: value}),
    "Element.setMulti": lambda object, properties: _set_all(object, properties),
    "Element.copyProperties": _copy_properties,
    "Image.copyProperties": _copy_properties,
    "Element.toDictionary": _to_dictionary,
    "Image.id": lambda element: element.properties.get("system:index"),
    "Image.date": lambda image: _date(property_of(as_image(image), "system:time_start")),
    "Image.geometry": _geometry,
    "Collection.reduceColumns": _reduce_columns,
    "Collection.toList": _to_list,
    "Collection.iterate": _iterate,
    "Collection": lambda features: Collection(tuple(features)),
    "ImageCollection.merge": _merged,
    "ImageCollection.toBands": _to_bands,
    "Geometry.bounds": _bounds,
    "Date": _date,
    "Date.millis": lambda date: int(_date(date).timestamp() * 1000),
    "Date.format": _format,
    "Date.advance": _advance,
    "Date.difference": lambda date, start, unit: (milliseconds(date) - milliseconds(start)) / _UNITS_MS[_unit(unit)],
    "Date.get": _date_part,
    "Date.fromYMD": _from_ymd,
    "List.get": lambda list, index: list[int(index)],
    "List.size": lambda list: len(list),
    "List.map": _mapped,
    "List.slice": lambda list, start, end=None, step=None: list[start:end:step],
    "List.sequence": _sequence,
    "Dictionary.get": _dictionary_get,
    "String": lambda input: str(input),
    "String.cat": lambda string1, string2: f"{string1}{string2}",
    "If": lambda condition=None, trueCase=None, falseCase=None: trueCase if condition else falseCase,
    **{f"AggregateFeatureCollection.{name}": _aggregate(how) for name, how in _STATISTICS.items()},
    "AggregateFeatureCollection.count_distinct": _aggregate(lambda values: len(set(values))),
    "AggregateFeatureCollection.array": lambda collection, property: _column(collection, property),
    **{f"Number.{name}": _number(how) for name, how in _NUMBERS.items()},
}  # fmt: skip
