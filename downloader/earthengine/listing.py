"""List the images of a collection, page after page, by v1's `listAssets`, as the official client does.

The service promises nothing of the order of a listing, so images are sorted here: by time, then by id. Pages are
followed lazily, by their token alone: a page may be short, or empty, and not be the last (docs/contract.md §3.4).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from downloader.earthengine.documents import as_mapping, check_kind
from downloader.earthengine.names import asset_name
from downloader.errors import JobError, StoppedError
from downloader.model.image import asset_id
from downloader.model.image_order import OrderKey
from downloader.model.time import instant_us

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from downloader.earthengine.client import EarthEngine
    from downloader.earthengine.query import Query


T = TypeVar("T")

MOST_IMAGES: Final = 100_000
"""Images of the longest listing: of more, period or region are too large, or the service never ends."""

_PAGE: Final = 500
"""Images on a page, which the client reads whole even with 300 bands each."""

_BARREN: Final = 100
"""Pages in a row that bring nothing new, after which a listing is taken for endless."""

_COUNTED: Final = 1_000
"""Children up to which a folder or collection is counted."""
_PAGES_COUNTED: Final = 10
"""Most pages that counting takes."""


class Listing:
    """The listings of the service's catalogue."""

    def __init__(self, client: EarthEngine) -> None:
        self._client = client

    async def select(self, query: Query, convert: Callable[[dict[str, Any]], T]) -> list[T]:
        """Return the images of a collection that meet `query`, each as `convert` makes it of the service's document.

        Args:
            query: collection, conditions, number and order. Images without the property that orders come last.
            convert: called once for each document as it arrives, so that large ones need not be kept.

        Returns:
            In order; those that the order's property does not tell apart by time, then by id.

        Raises:
            JobError: there is no such collection, it is something else, the service refuses the query, no image has
                the property that orders, or more than `MOST_IMAGES` match.
            AuthenticationError: it may not be read.
            StoppedError: the service did not answer for too long, or its pages make no sense.
        """
        collection, limit, order = query.collection, query.limit, query.order
        name = asset_name(collection)
        document = await self._client.call("GET", name, subject=collection)
        check_kind(document, "IMAGE_COLLECTION", collection)
        found: list[tuple[OrderKey, T]] = []
        sifted = query.filter is not None and query.filter.lists
        size = _PAGE if limit is None or order.name or sifted else min(limit, _PAGE)
        async with aclosing(self._matching(name, query, size)) as matching:
            async for document, time_us in matching:
                shown = str(document.get("id") or asset_id(str(document.get("name"))))
                key = order.key(document, as_mapping(document.get("properties")), time_us, shown)
                found.append((key, convert(document)))
                if limit is not None and not order.name and len(found) == limit:
                    break
                if len(found) > MOST_IMAGES:
                    raise JobError(
                        f"{collection}: more than {MOST_IMAGES:,} images match; take a shorter period, a smaller "
                        "region or a stricter filter"
                    )
        if order.name and found and all(key[0] is None for key, _ in found):
            raise JobError(f"order_by: no image of {collection} has a property {order.name!r}")
        return order.sorted(found, limit)

    async def count(self, parent: str) -> tuple[int, bool]:
        """Return how many assets lie directly in a folder or collection, and whether there are more than were counted.

        Raises:
            DownloadError: as `select`.
        """
        params = {"view": "BASIC", "pageSize": str(_COUNTED)}
        count, token = 0, None
        # A page may hold less than was asked for, even nothing, and still go on.
        for _ in range(_PAGES_COUNTED):
            entries, token = await self._page(parent, asset_name(parent), params, token)
            count += len(entries)
            if token is None or count >= _COUNTED:
                break
        return count, token is not None

    async def _matching(
        self, name: str, query: Query, size: int
    ) -> AsyncGenerator[tuple[dict[str, Any], int | None], None]:
        """Yield documents of images in the period, each once, with its time; in the service's order."""
        seen: set[str] = set()
        collection, barren = query.collection, 0
        condition, met, lists = query.filter, 0, set[str]()
        params = {**query.parameters(), "pageSize": str(size)}
        async with aclosing(self._pages(collection, name, params)) as pages:
            async for entries in pages:
                barren = 0 if any(_name(entry, collection) not in seen for entry in entries) else barren + 1
                if barren == _BARREN:
                    raise StoppedError(
                        f"{collection}: {_BARREN} pages of the listing in a row brought nothing new; the service "
                        "does not come to an end"
                    )
                for entry in entries:
                    own = _name(entry, collection)
                    if own in seen or str(entry.get("type") or "IMAGE") != "IMAGE":
                        continue
                    seen.add(own)
                    document = await self._whole(entry, own, query)
                    time_us = instant_us(str(document.get("startTime") or ""))
                    if not query.holds(time_us):
                        continue
                    met += 1
                    if condition is not None and condition.lists:
                        properties = document.get("properties") or {}
                        lists |= {name for name in condition.lists if isinstance(properties.get(name), list)}
                        if not condition.holds(document):
                            continue
                    yield document, time_us
        unlisted = condition.lists - lists if condition is not None and met else ()
        if unlisted:
            raise JobError(
                f"filter: in no image of {collection} is {min(unlisted)} a list; values of a property stand in parentheses, "
                "such as MGRS_TILE IN (10SEG, 10SFG)"
            )

    async def _whole(self, entry: dict[str, Any], name: str, query: Query) -> dict[str, Any]:
        """Return the entry, or the asset's own document where the entry lacks what an image needs."""
        needed = ("name", "bands", "updateTime", *(("startTime",) if query.is_timed else ()))
        if all(entry.get(key) for key in needed):
            return entry
        return await self._client.call("GET", name, subject=asset_id(name))

    async def _pages(
        self, collection: str, name: str, params: Mapping[str, str]
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Yield the entries of each page."""
        token, tokens = None, set[str]()
        while True:
            entries, token = await self._page(collection, name, params, token)
            yield entries
            if token is None:
                return
            # An empty page may well say "go on from here" once more; `_BARREN` bounds that.
            if token in tokens and entries:
                raise StoppedError(
                    f"{collection}: the service gave a page token that it had given before, so its listing has no "
                    "end; try again later"
                )
            tokens.add(token)

    async def _page(
        self, collection: str, name: str, params: Mapping[str, str], token: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return the entries of a page, and the token of the next one."""
        paged = dict(params) if token is None else {**params, "pageToken": token}
        page = await self._client.call(
            "GET", f"{name}:listAssets", params=paged, subject=f"{collection}: its list"
        )
        entries, following = page.get("assets", []), page.get("nextPageToken") or None
        wrong = "" if isinstance(following, str | None) else "page token is no text"
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            wrong = "list is not a list of images"
        if wrong:
            raise StoppedError(f"{collection}: the service's {wrong}; is service.endpoint Earth Engine's?")
        return entries, following


def _name(entry: Mapping[str, Any], collection: str) -> str:
    """Return the entry's resource name, from its name or its id. Raises StoppedError where it has neither."""
    name, identifier = entry.get("name"), entry.get("id")
    if isinstance(name, str) and name:
        return name
    if isinstance(identifier, str) and identifier:
        return asset_name(identifier)
    raise StoppedError(f"{collection}: the service lists an image without a name; try again later")
