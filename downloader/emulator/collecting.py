# ruff: noqa: A002, A006, N803 - parameters are named as the API's arguments are
"""Image collections: filters, composites, reductions (contract §4.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

import numpy as np

from . import computed, errors
from .computed import Part, everywhere
from .expression import Function, Library
from .filters import parse_time
from .geometry import footprint, intersects
from .model import Band, Image
from .operand import as_double, as_shape, image, result_kind, retyped


@dataclass(frozen=True, slots=True)
class Collection:
    """An image collection within an expression."""

    images: tuple[Image, ...]


Filter = Callable[[Image], bool]

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "equals": lambda a, b: bool(a == b),
    "notEquals": lambda a, b: bool(a != b),
    "lessThan": lambda a, b: bool(a < b),
    "lessThanOrEquals": lambda a, b: bool(a <= b),
    "greaterThan": lambda a, b: bool(a > b),
    "greaterThanOrEquals": lambda a, b: bool(a >= b),
}


_REDUCTIONS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "median": (np.nanmedian, "float"),
    "mean": (np.nanmean, "float"),
    "min": (np.nanmin, "same"),
    "max": (np.nanmax, "same"),
    "sum": (np.nansum, "float"),
}


def _stack(collection: Collection) -> list[tuple[Band, list[Any]]]:
    """Each band of a collection's first image, with the planes of that name in all images."""
    if not collection.images:
        raise errors.invalid_argument("ImageCollection: the collection is empty.")
    result = []
    for band in collection.images[0].bands:
        planes = [
            computed.plane_of(one, i)
            for one in collection.images
            for i, other in enumerate(one.bands)
            if other.id == band.id
        ]
        result.append((replace(band, lattice=computed.DEGREE, missing=None), planes))
    return result


def mosaic(collection: Collection) -> Image:
    """ImageCollection.mosaic: of the valid pixels the last image's."""

    def apply(parts: Sequence[Part]) -> Part:
        values, seen = np.zeros_like(parts[0][0]), np.zeros(parts[0][0].shape, np.bool_)
        for part in parts:
            mine = everywhere(part)
            values, seen = np.where(mine, part[0], values), seen | mine
        return values, seen

    pairs = _stack(collection)
    planes = [computed.combine(planes, apply, computed.kind_of(band.type)) for band, planes in pairs]
    return computed.image_of([band for band, _ in pairs], planes)


def _reduction(operation: Callable[..., Any], rule: str) -> Function:
    def apply(parts: Sequence[Part]) -> Part:
        stack = np.stack([np.where(everywhere(part), as_double(part), np.nan) for part in parts])
        seen = ~np.isnan(stack).all(axis=0)
        # A pixel that no image has would make the reduction warn.
        values = operation(np.where(seen, stack, 0.0), axis=0)
        return values, seen

    def function(collection: Collection) -> Image:
        bands, planes = [], []
        for band, found in _stack(collection):
            kind = result_kind(rule, [computed.kind_of(band.type)])
            bands.append(retyped(band, kind))
            planes.append(computed.combine(found, apply, kind))
        return computed.image_of(bands, planes)

    return function


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
    "ImageCollection.mosaic": mosaic,
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
    **{f"reduce.{name}": _reduction(*how) for name, how in _REDUCTIONS.items()},
    **{f"Filter.{name}": _comparison(operation) for name, operation in _COMPARISONS.items()},
}
