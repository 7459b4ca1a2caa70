"""What became of one request: a value, not an exception."""

from __future__ import annotations

from dataclasses import dataclass

from downloader.errors import FetchProblem
from downloader.planning.request import Request

__all__ = ["Failed", "Outcome", "Split", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """The pixels are encoded and will be, or are, part of a committed shard."""

    request: Request
    wire_bytes: int
    """Bytes of pixels received."""
    seconds: float
    """From the first start to the last byte, waits for the limiter left out."""
    attempts: int = 1
    """Calls made, retries included."""


@dataclass(frozen=True, slots=True)
class Split:
    """The service found it too much; its parts were queued."""

    request: Request
    problem: FetchProblem
    parts: tuple[Request, ...]
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Failed:
    """These pixels could not be had; recorded, and tried again by a rerun."""

    request: Request
    problem: FetchProblem
    attempts: int = 1


Outcome = Stored | Split | Failed
