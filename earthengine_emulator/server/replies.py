"""What a method answers with, before it becomes bytes on a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from earthengine_emulator.server.errors import ApiError

JSON = "application/json; charset=UTF-8"


class Stream(Protocol):
    """A body that is made while it is sent."""

    length: int
    """Bytes in all."""
    blocking: bool
    """Whether making a slab takes long enough to be done in a thread."""

    def slabs(self) -> Iterator[bytes | memoryview]:
        """The body's parts, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page of a listing stands, for the faults of listings."""

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


def document(body: Mapping[str, Any] | list[Any], status: int = 200) -> Reply:
    """A JSON answer, in the service's two-space layout."""
    return Reply(status, json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n")


def failure(error: ApiError) -> Reply:
    """The answer an error makes."""
    return document(error.document(), error.code)
