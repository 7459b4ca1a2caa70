"""Names of assets and addresses of hosts, as users write them and as the API takes them (docs/contract.md §1)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from downloader.arguments import shown
from downloader.errors import JobError
from downloader.model.image import LEGACY, PUBLIC

STANDARD: Final = "https://earthengine.googleapis.com"
"""Host with more caching: for metadata and computed pixels."""

HIGH_VOLUME: Final = "https://earthengine-highvolume.googleapis.com"
"""Host for many small automated requests, whose concurrency is counted apart from that of the standard host."""

NO_PROJECT: Final = "earthengine-legacy"
"""Placeholder in paths where no project is known: the service account's own one pays (docs/contract.md §2.1)."""

_PROJECT: Final = r"projects/(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
"""A Cloud project: an optional `domain.tld:`, then 6–30 characters (docs/contract.md §1.3, rule 1)."""

_NAME: Final = re.compile(rf"({_PROJECT}/assets/)(.+)", re.DOTALL)
_MAX_CHARACTERS: Final = 1024


def asset_name(asset: str) -> str:
    """Return the resource name of an asset, given its id or name, as the official client converts them.

    Raises:
        JobError: no asset can be called so: empty, white space or control characters, `.` and `..` as segments,
            empty segments, characters that mean something else in a URL.
    """
    if not isinstance(asset, str):
        raise JobError(f"asset: {shown(asset)}: write an id, such as COPERNICUS/S2")
    match = _NAME.fullmatch(asset)
    path, said = match.group(2) if match else asset, repr(asset[:80])
    if not path.strip():
        raise JobError(
            "an asset id is empty; write one such as COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"
        )
    if len(asset) > _MAX_CHARACTERS:
        raise JobError(f"asset id {said}… is {len(asset)} characters long, more than any asset's")
    bad = next((c for c in path if c.isspace() or not c.isprintable() or c in "?#%\\:*\"'<>|{}"), None)
    if bad is not None:
        raise JobError(f"asset id {said}: no asset's id holds {bad!r}")
    if any(segment in {"", ".", ".."} for segment in path.split("/")):
        raise JobError(
            f"asset id {said}: a segment between slashes is empty, '.' or '..'; write it as A/B/C, with no slash at either end"
        )
    if match:
        return asset
    return (LEGACY if path.split("/", 1)[0] in {"users", "projects"} else PUBLIC) + path


def base_url(endpoint: str) -> str:
    """Return the base URL in `service.endpoint`, without a trailing slash.

    Raises:
        JobError: it is no such URL, or holds credentials.
    """
    url = endpoint.rstrip("/")
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        raise JobError(_WANTED, key="service.endpoint") from None
    if parts.username is not None or parts.password is not None:
        raise JobError(
            "the URL holds a user name or password; credentials belong under auth", key="service.endpoint"
        )
    if wrong or parts.query or parts.fragment:
        raise JobError(f"{endpoint[:80]!r}: {_WANTED}", key="service.endpoint")
    return url


_WANTED: Final = "wanted auto, standard, high-volume, emulator or a URL such as http://127.0.0.1:8080"
