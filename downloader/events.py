"""What became of one request: a value, not an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from downloader.errors import FetchProblem
from downloader.planning.requests import Request

__all__ = ["Failed", "Level", "Notice", "Outcome", "Split", "Stored"]


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


Level = Literal["debug", "info", "warning", "error"]


class Notice(str):
    """The text itself; with the name of its event, how grave it is, and its figures.

    Wherever a text is taken a notice is as good: displays print it, reports keep it.
    """

    __slots__ = ("event", "fields", "level")

    event: str
    """A short stable name, such as `quota` or `split`."""
    level: Level
    fields: Mapping[str, Any]
    """Figures and names as plain values; never a secret."""

    def __new__(cls, text: str, event: str = "notice", level: Level = "info", **fields: Any) -> Self:
        """A notice of `text`; `fields` are plain values."""
        self = super().__new__(cls, text)
        self.event, self.level, self.fields = event, level, fields
        return self

    @classmethod
    def of(cls, text: str) -> Notice:
        """`text` as a notice; one that is one already stays it."""
        return text if isinstance(text, Notice) else cls(text)
