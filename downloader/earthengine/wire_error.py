"""The error of a request that brought no whole answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.errors import Cause


class WireError(Exception):
    """A request that brought no whole answer."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause
