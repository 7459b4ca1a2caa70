"""Replies of methods, before they become bytes on a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from earthengine_emulator.api.errors import ApiError

JSON = "application/json; charset=UTF-8"


class Stream(Protocol):
    """A body that is made while it is sent."""

    length: int
    """Bytes in all."""
    blocking: bool
    """True: making a slab takes long enough to be done in a thread."""

    def slabs(self) -> Iterator[bytes | memoryview]:
        """Return the body's parts, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """A page's place in its listing, for the faults of listings."""

    key: str
    """Field of the entries."""
    asked: str | None
    """The page token of the request."""
    here: str
    """A token for this page again."""
    after_one: str | None
    """A token that goes on after this page's first entry; None when nothing follows it."""


@dataclass(slots=True)
class Reply:
    """Status, body and headers."""

    status: int
    body: bytes | Stream
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    page: Page | None = None

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length


def document(body: Mapping[str, Any] | list[Any], status: int = 200, *, is_long: bool = False) -> Reply:
    """Return a JSON answer, in the service's two-space layout; a long one in a line, which is written many times as fast."""
    return Reply(status, json.dumps(body, indent=None if is_long else 2, ensure_ascii=False).encode() + b"\n")


def failure(error: ApiError) -> Reply:
    """Return the answer an error makes."""
    return document(error.document(), error.code)
