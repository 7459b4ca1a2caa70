"""Events of a run, as programs and people are told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from downloader.errors import FetchProblem
from downloader.planning.plan import Estimate
from downloader.planning.requests import Request
from downloader.planning.strip import Strip

Level = Literal["info", "warning", "error"]

RunState = Literal["complete", "incomplete", "stopped", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Started:
    """The first request may start now."""

    estimate: Estimate
    """Of the whole job."""
    tiles_done: int
    """Tiles of the estimate that earlier runs stored."""
    strip: Strip | None = None
    """Where they lie; None where the job is too large to tell."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Work besides fetching, such as asking the catalogue or reading a mosaic; displays show it until the next one."""

    text: str
    """A participle and its object; empty where it is over."""
    done: int = 0
    """Steps done."""
    total: int = 0
    """Steps in all; 0 where nobody knows."""
    is_brief: bool = False
    """Whether it seldom takes more than a moment, and is worth no line of a log."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The pixels of a request are encoded, and are or will be part of a committed shard."""

    request: Request
    wire_bytes: int
    """Bytes of pixels received."""
    seconds: float
    """From the first start to the last byte, without the waits for the limiter."""
    attempts: int = 1
    """Calls made, retries included."""
    eecu_s: float = 0.0
    """EECU-seconds that computing it is expected to have cost; 0 where stored pixels were read."""
    wasted_eecu_s: float = 0.0
    """The same of calls that brought nothing, and that the service may have computed all the same."""


@dataclass(frozen=True, slots=True)
class Split:
    """A request was replaced by its halves: the service refused it, or earlier ones of its size, as too large."""

    request: Request
    problem: FetchProblem
    parts: tuple[Request, ...]
    attempts: int = 1
    """Calls made, retries included; 0 where it was split before it was asked for."""
    wasted_eecu_s: float = 0.0
    """See `Stored`."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The pixels of a request could not be fetched; that is recorded, and the next run tries them again."""

    request: Request
    problem: FetchProblem
    attempts: int = 1
    """Calls made, retries included; 0 where it was not asked for."""
    wasted_eecu_s: float = 0.0
    """See `Stored`."""


@dataclass(frozen=True, slots=True)
class Retried:
    """A call brought no pixels and will be made again."""

    request: Request
    problem: FetchProblem
    attempt: int
    """Number of the call that failed, from 1."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that is worth knowing, once."""

    text: str
    name: str = "notice"
    """A short stable name, such as `quota` or `outage`."""
    level: Level = "info"
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Figures and names as plain values; never a secret."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Flow:
    """The number of requests under way changed."""

    in_flight: int
    """Requests under way."""
    ceiling: int
    """Requests that may be under way at the moment."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over; no event follows."""

    state: RunState
    message: str = ""
    """Why it is not complete; empty where it is."""


Outcome: TypeAlias = Stored | Split | Failed
"""What became of one request."""

Event: TypeAlias = Phase | Started | Outcome | Retried | Notice | Flow | Ended
