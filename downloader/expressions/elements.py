"""Elements of a user's image collection: their list, the choice of one, and the images that they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from downloader.model.expression import call, constant, document_of

INDEX: Final = "system:index"
"""Property by which a collection tells its elements apart."""

TIME: Final = "system:time_start"
"""Property that an element's place in time is told by, in milliseconds since 1970."""

_KEY: Final = "source.expression"

_MADE: Final = ("ImageCollection.load", "ImageCollection.fromImages", "ImageCollection.merge")
"""Functions that give an image collection."""

_KEPT: Final = ("Collection.filter", "Collection.limit", "Collection.map", "Collection.distinct")
"""Functions that give a collection of the kind that they are given; elements keep their indices."""


def is_collection(node: Mapping[str, Any]) -> bool:
    """Return whether a graph is known to give an image collection; of others only the service can tell what they give."""
    return _made_by(node)[0] in _MADE


def origin_of(node: Mapping[str, Any]) -> str:
    """Return the id of the collection whose images a graph's elements are made of, one each and of the same index.

    Empty where the graph does not say so: collections that are merged, or made of images.
    """
    name, arguments = _made_by(node)
    id_ = arguments.get("id", {}).get("constantValue", "")
    return id_ if name == "ImageCollection.load" and isinstance(id_, str) else ""


def fingerprint(node: Mapping[str, Any]) -> str:
    """Return a fingerprint of what a collection computes: 16 hexadecimal digits.

    Periods that its elements are filtered by do not count, so that a later end gives more elements of the same collection.
    """
    return hashlib.sha256(document_of(_of_all_times(node), _KEY).encode()).hexdigest()[:16]


def element(collection: Mapping[str, Any], index: str) -> dict[str, Any]:
    """Return a node of the image of a collection that has this index."""
    chosen = call("Filter.equals", leftField=constant(INDEX), rightValue=constant(index))
    return call("Collection.first", collection=_filtered(collection, chosen))


def page(collection: Mapping[str, Any], first: int, count: int) -> str:
    """Return canonical JSON of a list of `count` elements of a collection from index `first` on. Raises JobError if it is too long."""
    listed = call(
        "Collection.toList", collection=dict(collection), count=constant(count), offset=constant(first)
    )
    return document_of(listed, _KEY)


def within(
    collection: Mapping[str, Any], start_us: int | None, end_us: int | None, region: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a node of the elements of a collection that begin in a period, and whose footprints meet a region.

    Args:
        collection: graph of the collection.
        start_us: first microsecond since 1970; None with `end_us` for all times.
        end_us: first microsecond that is not taken.
        region: GeoJSON in longitude and latitude, a polygon or several; None for everywhere.
    """
    found = dict(collection)
    if region is not None:
        kind = call(
            f"GeometryConstructors.{region['type']}",
            coordinates=constant(region["coordinates"]),
            evenOdd=constant(True),
            geodesic=constant(False),
        )
        meets = call(
            "Filter.intersects", leftField=constant(".all"), rightValue=call("Feature", geometry=kind)
        )
        found = _filtered(found, meets)
    if start_us is not None and end_us is not None:
        # The service counts milliseconds; a time that lies between two of them is after the first.
        span = call("DateRange", start=constant(-(-start_us // 1000)), end=constant(-(-end_us // 1000)))
        found = _filtered(found, call("Filter.dateRangeContains", leftValue=span, rightField=constant(TIME)))
    return found


def _filtered(collection: Mapping[str, Any], condition: dict[str, Any]) -> dict[str, Any]:
    return call("Collection.filter", collection=dict(collection), filter=condition)


def _call_of(node: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return name and arguments of the function that a node calls; an empty name where it calls none by name."""
    called = node.get("functionInvocationValue", {})
    return called.get("functionName", ""), called.get("arguments", {})


def _made_by(node: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return name and arguments of the call that makes the collection which further calls filter or map."""
    name, arguments = _call_of(node)
    while name in _KEPT:
        name, arguments = _call_of(arguments.get("collection", {}))
    return name, arguments


def _of_all_times(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a collection's graph without the periods that its elements are filtered by."""
    name, arguments = _call_of(node)
    if name not in _KEPT or "collection" not in arguments:
        return node
    inner = _of_all_times(arguments["collection"])
    if name == "Collection.filter" and _is_period(arguments.get("filter", {})):
        return inner
    return call(name, **{**arguments, "collection": inner})


def _is_period(condition: Mapping[str, Any]) -> bool:
    name, arguments = _call_of(condition)
    return name == "Filter.dateRangeContains" and arguments.get("rightField") == constant(TIME)
