# ruff: noqa: A002, A006, N803 - parameters are named as the API's arguments are
"""Image collections: filters, maps, order (contract §4.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

from .expression import Function, Library
from .filters import parse_time
from .geometry import footprint, intersects
from .model import Image
from .operand import as_shape, image
from .reducing import Collection

Filter = Callable[[Image], bool]

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "equals": lambda a, b: bool(a == b),
    "notEquals": lambda a, b: bool(a != b),
    "lessThan": lambda a, b: bool(a < b),
    "lessThanOrEquals": lambda a, b: bool(a <= b),
    "greaterThan": lambda a, b: bool(a > b),
    "greaterThanOrEquals": lambda a, b: bool(a >= b),
}


def milliseconds(value: object) -> float:
    """Milliseconds since 1970 of a number, a text, or a time."""
    if isinstance(value, datetime):
        return value.timestamp() * 1000
    if isinstance(value, str):
        return parse_time(value).timestamp() * 1000
    return float(cast("float", value))


def property_of(one: Image, name: str) -> object:
    """A property as filters see it."""
    if name == "system:time_start" and name not in one.properties and one.start_time:
        return milliseconds(one.start_time)
    return one.properties.get(name)


def _comparison(operation: Callable[[Any, Any], bool]) -> Function:
    def function(leftField: str, rightValue: object) -> Filter:
        def test(one: Image) -> bool:
            own = property_of(one, leftField)
            alike = isinstance(own, str) == isinstance(rightValue, str)
            return own is not None and alike and operation(own, rightValue)

        return test

    return function


def _within(leftValue: tuple[float, float], rightField: str) -> Filter:
    low, high = leftValue

    def test(one: Image) -> bool:
        own = property_of(one, rightField)
        return isinstance(own, (int, float)) and low <= own < high

    return test


def _meets(leftField: str, rightValue: object) -> Filter:
    del leftField
    shape = as_shape(rightValue)
    return lambda one: intersects(shape, footprint(one))


def date_range(start: object, end: object = None, timeZone: str | None = None) -> tuple[float, float]:
    """Milliseconds from start to before end; without an end, the one millisecond."""
    del timeZone
    low = milliseconds(start)
    return low, low + 1 if end is None else milliseconds(end)


def _filtered(collection: Collection, filter: Filter) -> Collection:
    return Collection(tuple(one for one in collection.images if filter(one)))


def _mapped(collection: Collection, baseAlgorithm: Function, dropNulls: bool = False) -> Collection:
    results = [baseAlgorithm(one) for one in collection.images]
    return Collection(tuple(image(r) for r in results if r is not None or not dropNulls))


def _limited(
    collection: Collection,
    limit: int = -1,
    key: str | None = None,
    ascending: bool = True,
) -> Collection:
    images = list(collection.images)
    if key is not None:
        images.sort(key=lambda one: cast("Any", property_of(one, key)), reverse=not ascending)
    return Collection(tuple(images if limit < 0 else images[:limit]))


_PLAIN: Final[Library] = {
    "ImageCollection.fromImages": lambda images: Collection(tuple(image(one) for one in images)),
    "Collection.first": lambda collection: collection.images[0] if collection.images else None,
    "Collection.size": lambda collection: len(collection.images),
    "Collection.filter": lambda collection, filter: Collection(
        tuple(i for i in collection.images if filter(i))
    ),
    "Collection.map": _mapped,
    "Collection.limit": _limited,
    "Filter.dateRangeContains": _within,
    "Filter.intersects": _meets,
    "Filter.and": lambda filters: lambda one: all(test(one) for test in filters),
    "Filter.or": lambda filters: lambda one: any(test(one) for test in filters),
    "Filter.not": lambda filter: lambda one: not filter(one),
}


LIBRARY: Final[Library] = {
    **_PLAIN,
    **{f"Filter.{name}": _comparison(operation) for name, operation in _COMPARISONS.items()},
}
