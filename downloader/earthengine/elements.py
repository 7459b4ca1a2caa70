"""List the elements of a user's image collection, page after page, by `value:compute` (docs/contract.md §4.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downloader.earthengine.documents import as_list, as_mapping, computed_band
from downloader.earthengine.geojson import middle_longitude
from downloader.earthengine.listing import MOST_IMAGES
from downloader.earthengine.names import NO_PROJECT, asset_name
from downloader.errors import Action, DownloadError, JobError, TileError
from downloader.expressions.elements import INDEX, TIME, page, within
from downloader.model.expression import graph_of, parsed
from downloader.model.image import Image
from downloader.model.time import timestamp
from downloader.text import cut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from downloader.earthengine.client import EarthEngine
    from downloader.earthengine.query import Query
    from downloader.model.image_order import OrderKey

_KEY: Final = "source.expression"

_LONGEST_INDEX: Final = 1_000
"""Characters of an index; the service's own have a few dozen."""

_PAGE: Final = 500
"""Elements of a page; the service writes out 5,000 at most, and each comes with all that is known of its bands."""


async def list_elements(client: EarthEngine, query: Query, keep: Collection[str] | None) -> list[Image]:
    """Return the elements of a user's collection that meet a query; each has its index as id.

    Args:
        client: the service.
        query: expression, conditions, number and order.
        keep: properties to keep; None keeps all.

    Raises:
        JobError: the service refuses it, an element is no image, has no index or one that another has; or there are too many.
        AuthenticationError: these credentials may not compute.
        StoppedError: the service did not answer for too long.
    """
    order = query.order
    collection = within(graph_of(query.expression), query.start_us, query.end_us, query.region)
    found: list[tuple[OrderKey, Image]] = []
    seen: set[str] = set()
    async for entry in _entries(client, collection, None if order.name else query.limit):
        image = _image(entry, keep, seen)
        found.append((order.key_of(replace(image, properties=entry["properties"])), image))
        if len(found) > MOST_IMAGES:
            raise JobError(
                f"computes more than {MOST_IMAGES:,} images; take a shorter period or a smaller region",
                key=_KEY,
            )
    if order.name and found and all(key[0] is None for key, _ in found):
        raise JobError(f"no image of the collection has a property {order.name!r}", key="source.order_by")
    return order.sorted(found, query.limit)


async def _entries(
    client: EarthEngine, collection: Mapping[str, Any], limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the service's descriptions of the elements, in its order; no more than `limit`."""
    first, size = 0, _PAGE
    while limit is None or first < limit:
        count = size if limit is None else min(size, limit - first)
        try:
            entries = await _page(client, page(collection, first, count))
        except DownloadError as error:
            is_too_much = (
                isinstance(error.__cause__, TileError) and error.__cause__.problem.action is Action.SPLIT
            )
            if not is_too_much or size == 1:
                raise
            size //= 2
            continue
        for entry in entries:
            yield entry
        if len(entries) < count:
            return
        first += count


async def _page(client: EarthEngine, expression: str) -> list[dict[str, Any]]:
    path = f"projects/{client.project or NO_PROJECT}/value:compute"
    body = {"expression": parsed(expression)}
    answer = await client.call("POST", path, body=body, subject="the list of the expression's images")
    entries = answer.get("result")
    if not isinstance(entries, list):
        raise JobError(f"computes a collection whose list is {cut(entries)}", key=_KEY)
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else type(entry).__name__
        if kind != "Image":
            raise JobError(
                f"computes a collection of {cut(kind)}, and only images have pixels; give what ee.ImageCollection.serialize() "
                "returns of a collection whose map returns images",
                key=_KEY,
            )
    return entries


def _image(entry: dict[str, Any], keep: Collection[str] | None, seen: set[str]) -> Image:
    """Return an element as an image; its index is added to those seen."""
    properties = entry["properties"] = as_mapping(entry.get("properties"))
    index = properties.get(INDEX)
    if not isinstance(index, str) or not 0 < len(index) <= _LONGEST_INDEX:
        raise JobError(f"computes an image without {INDEX}, by which slices are told apart", key=_KEY)
    if index in seen:
        raise JobError(
            f"computes two images whose {INDEX} is {cut(index)}, and a slice is the image of its index; give each its own, "
            "as by image.set('system:index', …) in the map",
            key=_KEY,
        )
    seen.add(index)
    asset, version = str(entry.get("id") or ""), entry.get("version")
    return Image(
        # One of a collection that is loaded as it is, or only masked, still is that asset's.
        name=asset_name(asset) if asset.endswith(f"/{index}") else index,
        id=index,
        bands=tuple(map(computed_band, as_list(entry.get("bands")))),
        update_time=_time(version) if isinstance(version, int) and version > 0 else "",
        start_time=_time(properties.get(TIME), 1000),
        end_time=_time(properties.get("system:time_end"), 1000),
        properties={
            name: properties[name] for name in (properties if keep is None else keep) if name in properties
        },
        longitude=middle_longitude(properties.get("system:footprint")),
    )


def _time(value: object, us: int = 1) -> str:
    """Return a time since 1970, in units of so many microseconds, as RFC 3339 text; empty where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return timestamp(round(value * us))
    except (OverflowError, ValueError):
        return ""
