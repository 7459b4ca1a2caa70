# ruff: noqa: A002, A006, N803 - parameters are named as the API's arguments are
"""Image collections: filters, maps, order (docs/contract.md §4.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, cast

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.filters import parse_time
from earthengine_emulator.catalogue.geometry import Shape, footprint, intersects
from earthengine_emulator.catalogue.model import Image
from earthengine_emulator.compute.expression import Function, Library
from earthengine_emulator.compute.operand import as_shape, image
from earthengine_emulator.compute.reducers import Collection

Filter = Callable[[Any], bool]

INDEX: Final = "system:index"
"""Property by which a collection tells its elements apart."""

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "equals": lambda a, b: bool(a == b),
    "notEquals": lambda a, b: bool(a != b),
    "lessThan": lambda a, b: bool(a < b),
    "lessThanOrEquals": lambda a, b: bool(a <= b),
    "greaterThan": lambda a, b: bool(a > b),
    "greaterThanOrEquals": lambda a, b: bool(a >= b),
    "stringContains": lambda a, b: str(b) in str(a),
    "stringStartsWith": lambda a, b: str(a).startswith(str(b)),
    "stringEndsWith": lambda a, b: str(a).endswith(str(b)),
}


def milliseconds(value: object) -> float:
    """Return milliseconds since 1970 of a number, a text, or a time."""
    if isinstance(value, datetime):
        return value.timestamp() * 1000
    if isinstance(value, str):
        return parse_time(value).timestamp() * 1000
    return float(cast("float", value))


@dataclass(frozen=True, slots=True)
class Feature:
    """A geometry with properties."""

    geometry: Shape | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def property_of(one: Any, name: str) -> object:  # noqa: ANN401 - an image, a feature, a collection
    """Return a property as filters see it."""
    own: Mapping[str, Any] = one.properties or {}
    if isinstance(one, Image) and name not in own:
        when = {"system:time_start": one.start_time, "system:time_end": one.end_time}.get(name)
        return milliseconds(when) if when else None
    return own.get(name)


def _is_among(left: object, right: object) -> bool:
    """Return whether one side is a list that holds the other."""
    return left in right if isinstance(right, list) else isinstance(left, list) and right in left


def _comparison(operation: Callable[[Any, Any], bool], *, is_of_types: bool = True) -> Function:
    """Return a filter of two sides; with `is_of_types` texts meet only texts."""

    def function(
        leftField: str | None = None,
        rightValue: object = None,
        rightField: str | None = None,
        leftValue: object = None,
    ) -> Filter:
        def test(one: Any) -> bool:  # noqa: ANN401
            left = leftValue if leftField is None else property_of(one, leftField)
            right = rightValue if rightField is None else property_of(one, rightField)
            alike = not is_of_types or isinstance(left, str) == isinstance(right, str)
            return left is not None and right is not None and alike and operation(left, right)

        return test

    return function


_CALENDAR: Final[Mapping[str, Callable[[datetime], int]]] = {
    "day_of_year": lambda when: when.timetuple().tm_yday,
    "month": lambda when: when.month,
    "year": lambda when: when.year,
    "day_of_month": lambda when: when.day,
    "day_of_week": lambda when: when.isoweekday(),
    "hour": lambda when: when.hour,
}


def _calendar(start: int, end: int | None = None, field: str = "day_of_year") -> Filter:
    if field not in _CALENDAR:
        raise invalid_argument(f"Filter.calendarRange: Unknown field '{field}'.")
    last = start if end is None else end

    def test(one: Any) -> bool:  # noqa: ANN401
        own = property_of(one, "system:time_start")
        if not isinstance(own, (int, float)):
            return False
        part = _CALENDAR[field](datetime.fromtimestamp(own / 1000, UTC))
        return start <= part <= last if start <= last else part >= start or part <= last

    return test


def _between(field: str, minValue: object, maxValue: object) -> Filter:
    """Filter.rangeContains: both ends count."""
    low, high = (milliseconds(v) if isinstance(v, datetime) else v for v in (minValue, maxValue))

    def test(one: Any) -> bool:  # noqa: ANN401
        own: Any = property_of(one, field)
        if own is None or not isinstance(own, str) == isinstance(low, str) == isinstance(high, str):
            return False
        return bool(cast("Any", low) <= own <= cast("Any", high))

    return test


def _within(
    leftField: str | None = None,
    rightValue: object = None,
    rightField: str | None = None,
    leftValue: tuple[float, float] | None = None,
) -> Filter:
    if rightField is None or leftValue is None or leftField is not None or rightValue is not None:
        raise invalid_argument("Filter.dateRangeContains: needs leftValue, a DateRange, and rightField.")
    low, high = leftValue

    def test(one: Any) -> bool:  # noqa: ANN401
        own = property_of(one, rightField)
        return isinstance(own, (int, float)) and low <= own < high

    return test


def _meets(
    leftField: str | None = None, rightValue: object = None, maxError: object = None, **others: object
) -> Filter:
    del leftField, maxError, others
    shape = as_shape(rightValue.geometry if isinstance(rightValue, Feature) else rightValue)

    def test(one: Any) -> bool:  # noqa: ANN401
        return intersects(shape, footprint(one) if isinstance(one, Image) else one.geometry)

    return test


def date_range(start: object, end: object = None, timeZone: str | None = None) -> tuple[float, float]:
    """Return milliseconds from start to before end; without an end, the one millisecond."""
    del timeZone
    low = milliseconds(start)
    return low, low + 1 if end is None else milliseconds(end)


def _filtered(collection: Collection, filter: Filter) -> Collection:
    return replace(collection, images=tuple(one for one in collection.images if filter(one)))


def _mapped(collection: Collection, baseAlgorithm: Function, dropNulls: bool = False) -> Collection:
    """Collection.map: an element keeps the index of the one that it was made of."""
    pairs = [(one, baseAlgorithm(one)) for one in collection.images]
    kept = [
        _indexed(result if isinstance(result, Feature) else image(result), (one.properties or {}).get(INDEX))
        for one, result in pairs
        if result is not None or not dropNulls
    ]
    return replace(collection, images=tuple(kept))


def _indexed(element: Image | Feature, index: object) -> Image | Feature:
    """Return an element with an index, unless it has one already or there is none."""
    own = element.properties or {}
    if index is None or INDEX in own:
        return element
    return replace(element, properties={**own, INDEX: index})


def _from_images(images: list[Any]) -> Collection:
    """ImageCollection.fromImages: an image without an index gets its place as one."""
    return Collection(tuple(_indexed(image(one), str(place)) for place, one in enumerate(images)))


def _limited(
    collection: Collection,
    limit: int | None = None,
    key: str | None = None,
    ascending: bool = True,
) -> Collection:
    images = list(collection.images)
    if key is not None:
        images.sort(key=lambda one: cast("Any", property_of(one, key)), reverse=not ascending)
    return replace(collection, images=tuple(images if limit is None or limit < 0 else images[: int(limit)]))


LIBRARY: Final[Library] = {
    "ImageCollection.fromImages": _from_images,
    "Collection.first": lambda collection: collection.images[0] if collection.images else None,
    "Collection.size": lambda collection: len(collection.images),
    "Collection.filter": _filtered,
    "Collection.map": _mapped,
    "Collection.limit": _limited,
    "Filter.dateRangeContains": _within,
    "Filter.intersects": _meets,
    "Filter.inList": _comparison(_is_among, is_of_types=False),
    "Filter.listContains": _comparison(_is_among, is_of_types=False),
    "Filter.calendarRange": _calendar,
    "Filter.dayOfYear": lambda start, end: _calendar(start, end - 1) if start != end else lambda _: False,
    "Filter.rangeContains": _between,
    "Filter.notNull": lambda properties: lambda one: all(property_of(one, n) is not None for n in properties),
    "Filter.and": lambda filters: lambda one: all(test(one) for test in filters),
    "Filter.or": lambda filters: lambda one: any(test(one) for test in filters),
    "Filter.not": lambda filter: lambda one: not filter(one),
    **{f"Filter.{name}": _comparison(operation) for name, operation in _COMPARISONS.items()},
}
