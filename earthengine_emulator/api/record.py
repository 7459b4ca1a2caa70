"""One request as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

KEPT_BODY: Final = 4_096
"""Characters kept of a request's body."""


@dataclass(slots=True)
class Record:
    """One request."""

    number: int
    """Counting from 1 since the last reset."""
    at_s: float
    """Arrival, in seconds since the last reset."""
    method: str
    resource: str
    host: str
    """`standard` or `high-volume`."""
    project: str | None = None
    status: int | None = None
    """None while under way, and when the connection ended without an answer."""
    complete: bool = False
    """True: the whole, undamaged answer was handed to the socket."""
    ended_s: float | None = None
    """When it had been answered, or its connection was gone, in seconds since the last reset; None while under way."""
    fault: str | None = None
    """Name of the fault that struck it."""
    bands: tuple[str, ...] | None = None
    window: tuple[int, int, int, int] | None = None
    """Column, row, width, height in native pixels of the first band, when the grid lies on its lattice."""
    size: tuple[int, int] | None = None
    """Width and height of the grid asked."""
    bytes: int = 0
    """Body bytes sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """Request headers in lower case, without Authorization, Host and Content-Length."""
    query: dict[str, str] = field(default_factory=dict)
    """Query parameters, those left out that are credentials."""
    body: str | None = None
    """Request body, as far as `KEPT_BODY` characters; None without one, and of the token endpoint always."""

    def document(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
