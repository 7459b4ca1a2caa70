"""A request that brought no whole answer."""

from __future__ import annotations

from typing import Literal

__all__ = ["WireError", "WireKind"]

WireKind = Literal[
    "connect", "dns", "tls", "proxy", "reset", "short body", "first byte", "idle", "slow", "large", "encoding",
    "protocol", "url",
]  # fmt: skip


class WireError(Exception):
    """A request that brought no whole answer."""

    def __init__(self, kind: WireKind, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.unanswered = unanswered
        """The connection ended before a byte of the answer: what an idle one looks like that the server had closed."""
