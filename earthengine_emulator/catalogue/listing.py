"""listAssets and listImages: filter, order, pages (docs/contract.md §3.4, §3.5)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from earthengine_emulator.api import errors
from earthengine_emulator.api.replies import Page, Reply, document
from earthengine_emulator.api.settings import Settings
from earthengine_emulator.catalogue import filters, geometry
from earthengine_emulator.catalogue.catalogue import Catalogue, check_readable
from earthengine_emulator.catalogue.model import Asset, Container, Image

VIEWS: Final = ("FULL", "BASIC")
_SAME: Final = ("filter", "view", "startTime", "endTime", "region")
"""Parameters that must not change from page to page."""
_LONG: Final = 20
"""Entries of a page beyond which its layout is not the service's."""
_KEPT: Final = 8
"""Listings that are kept."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Answers listings of one catalogue."""

    catalogue: Catalogue
    settings: Settings
    secret: bytes = secrets.token_bytes(16)
    """Signs page tokens, so that a forged one is known."""
    _found: dict[tuple[str | None, ...], list[Any]] = field(default_factory=dict, repr=False)
    """What was asked for → the images, of the last few listings: each page of them would sift a collection anew."""

    def assets(self, parent: str, query: Mapping[str, str]) -> Reply:
        """Return the answer of listAssets; filters matter for image collections only."""
        entries = self._entries(parent)
        if self._is_collection(parent):
            entries = _filtered(entries, query.get("filter"))
        return self._page(parent, "assets", entries, query)

    def images(self, parent: str, query: Mapping[str, str]) -> Reply:
        """Return the answer of listImages: listAssets with times and a region of their own."""
        asked = (parent, *(query.get(name) for name in _SAME))
        if asked not in self._found:
            while len(self._found) >= _KEPT:
                del self._found[next(iter(self._found))]
            self._found[asked] = self._images(parent, query)
        return self._page(parent, "images", self._found[asked], query)

    def forget(self) -> None:
        """Forget what was listed: switches or assets changed."""
        self._found.clear()

    def _images(self, parent: str, query: Mapping[str, str]) -> list[Any]:
        """Return all images that a listing has, over all of its pages."""
        entries = [entry for entry in self._entries(parent) if isinstance(entry, Image)]
        entries = _filtered(entries, query.get("filter"))
        if query.get("startTime"):
            start = filters.parse_time(query["startTime"])
            entries = [e for e in entries if e.start_time and filters.parse_time(e.start_time) >= start]
        if query.get("endTime"):
            end = filters.parse_time(query["endTime"])
            entries = [
                e for e in entries if (t := e.end_time or e.start_time) and filters.parse_time(t) < end
            ]
        if query.get("region"):
            shape = geometry.parse(query["region"])
            entries = [e for e in entries if geometry.intersects(shape, geometry.footprint(e))]
        return entries

    def _is_collection(self, parent: str) -> bool:
        asset = self.catalogue.get(parent)
        return asset is not None and asset.type == "IMAGE_COLLECTION"

    def _entries(self, parent: str) -> list[Any]:
        """Return the assets directly under a container or root, images by time and then by name."""
        parts = parent.rstrip("/").split("/")
        if len(parts) <= 3:
            root = f"projects/{parts[1]}/assets"
            check_readable(f"{root}/")
            return [self.catalogue.get(name) for name in self.catalogue.children(root)]
        check_readable(parent)
        asset = self.catalogue.get(parent)
        if asset is None:
            raise errors.asset_not_found(parent)
        if not isinstance(asset, Container):
            raise errors.invalid_argument(f"Asset '{parent}' is not a folder or an image collection.")
        found = [self.catalogue.get(name) for name in self.catalogue.children(parent)]
        if asset.type == "IMAGE_COLLECTION":
            found.sort(key=lambda e: e.name if e else "", reverse=self.settings.equal_times == "descending")
            found.sort(key=lambda e: (e.start_time or "") if isinstance(e, Image) else "")
        return found

    def _page(self, parent: str, key: str, entries: Sequence[Asset], query: Mapping[str, str]) -> Reply:
        """Return one page of the entries."""
        view = query.get("view") or "FULL"
        if view not in VIEWS:
            raise errors.invalid_value("view", "google.earthengine.v1.EarthEngineAssetView", f'"{view}"')
        identity = hashlib.sha256(
            json.dumps([parent, key, [query.get(name) for name in _SAME]]).encode()
        ).hexdigest()
        token = query.get("pageToken")
        first = self._offset(token, identity) if token else 0
        size = self._size(query.get("pageSize"), view)
        if self.settings.short_pages:
            size = 0 if not token else max(1, (size + 1) // 2)
        shown = entries[first : first + size]
        body: dict[str, Any] = {}
        if shown:
            body[key] = [_basic(e) if view == "BASIC" else e.document() for e in shown]
        if first + len(shown) < len(entries):
            body["nextPageToken"] = self._token(first + len(shown), identity)
        reply = document(body, is_long=len(shown) > _LONG)
        after_one = self._token(first + 1, identity) if first + 1 < len(entries) else None
        reply.page = Page(key, token, self._token(first, identity), after_one)
        return reply

    def _size(self, asked: str | None, view: str) -> int:
        """Return the number of entries that a page may hold."""
        cap = self.settings.limit_page_full if view == "FULL" else self.settings.limit_page_basic
        try:
            size = int(asked) if asked else 0
        except ValueError:
            raise errors.invalid_value("page_size", "TYPE_INT32", f'"{asked}"') from None
        if size < 0:
            raise errors.invalid_argument("Page size must not be negative.")
        if size > cap and self.settings.over_large_page == "refuse":
            raise errors.invalid_argument(f"Page size ({size}) must be less than or equal to {cap}.")
        return min(size, cap) if size else cap

    def _token(self, offset: int, identity: str) -> str:
        body = f"{offset}.{identity[:16]}".encode()
        sign = hmac.digest(self.secret, body, "sha256")[:12]
        return base64.urlsafe_b64encode(sign + body).decode()

    def _offset(self, token: str, identity: str) -> int:
        """Return the position that a page token stands for; 400 for a token of another listing, or a forged one."""
        try:
            raw = base64.urlsafe_b64decode(token)
        except (binascii.Error, ValueError):
            raw = b""
        sign, body = raw[:12], raw[12:]
        if not hmac.compare_digest(sign, hmac.digest(self.secret, body, "sha256")[:12]):
            raise errors.invalid_argument("Invalid page token.")
        offset, _, owner = body.decode().partition(".")
        if owner != identity[:16]:
            raise errors.invalid_argument("The page token belongs to a list with other parameters.")
        return int(offset)


def _filtered(entries: Sequence[Any], text: str | None) -> list[Any]:
    """Return the images that a filter keeps; other entries are dropped."""
    if not text or not text.strip():
        return list(entries)
    test = filters.parse(text)
    return [entry for entry in entries if isinstance(entry, Image) and test(entry)]


def _basic(asset: Asset) -> dict[str, str]:
    full = asset.document()
    return {name: full[name] for name in ("type", "name", "id")}
