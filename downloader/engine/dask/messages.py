"""What a run and its workers tell each other: plain values, which travel between processes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from downloader.errors import DownloadError
from downloader.events import Event
from downloader.planning import Plan, ShardKey

if TYPE_CHECKING:
    from downloader.engine.connect import Access
    from downloader.flow.retry import RetryPolicy
    from downloader.mosaic.format.layout import GroupLayout
    from downloader.mosaic.record.ledger import LedgerEntry
    from downloader.mosaic.record.state import FailedTiles

    Message: TypeAlias = "Event | LedgerEntry | Done | Left"
    """What happened at a worker, in its order. The line of a commit comes before the `Done` of its shard."""


__all__ = [
    "BEAT_S",
    "SILENCE_S",
    "Assignment",
    "Done",
    "Grant",
    "Left",
    "Mail",
    "Mailbox",
    "Message",
    "Order",
    "Portion",
    "silence_s",
]

BEAT_S: Final = 0.25
"""Seconds between two looks of the run at each of its workers."""

SILENCE_S: Final = 15.0
"""A worker that hears nothing of its run for so long saves what it has and leaves: the run may be gone."""

_HIDDEN: Final = "DOWNLOADER_SILENCE_S"


def silence_s() -> float:
    """`SILENCE_S`; shorter where tests say so."""
    return float(os.environ.get(_HIDDEN, SILENCE_S))


@dataclass(frozen=True, slots=True)
class Grant:
    """A worker's part of the quota."""

    concurrency: int
    requests_per_second: float
    retries: int
    """Retries beyond a share of its calls."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """All that a worker needs before its first shard."""

    seat: str
    """Its right to write, by name; of one worker of one run."""
    version: str
    """Of this package, at the run: workers of another version are refused."""
    plan: Plan
    layouts: tuple[GroupLayout, ...]
    mosaic: str
    """Where the mosaic lies: a folder that every worker sees under this path, or a URL."""
    durable: bool
    """Whether objects are flushed."""
    access: Access
    policy: RetryPolicy
    checkpoint_s: float
    give_up_after_s: float
    memory: int | None
    """Bytes for pixels on their way; None for what `memory_limit` leaves where the worker runs."""
    memory_limit: int
    """Resident bytes of a process, where `memory` is None."""
    grant: Grant
    silence_s: float = SILENCE_S


@dataclass(frozen=True, slots=True)
class Portion:
    """What a worker shall fetch of one shard, and what is there of it."""

    key: ShardKey
    missing: Mapping[int, int]
    """Band index → bits of the tiles to fetch."""
    stored: tuple[int, ...] = ()
    """By band, bits of the tiles that are stored; empty for none at all."""
    failed: tuple[FailedTiles, ...] = ()
    """What failed in it before."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a run says at each of its looks."""

    grant: Grant
    heard: int
    """The number of the last event that the run has."""
    is_last: bool = False
    """Whether all shards are handed out, so that the end may be prepared."""
    stop: int = 0
    """0: go on. 1: start nothing more, finish what can finish. 2: save what is there."""
    reason: str = ""
    leave: bool = False
    """The run is over."""


@dataclass(frozen=True, slots=True)
class Done:
    """All of a shard that could be had is committed."""

    key: ShardKey


@dataclass(frozen=True, slots=True)
class Left:
    """The worker left, with nothing in its hands."""

    error: DownloadError | None = None
    """Why, where it did not leave because it was told to."""
    blank: Mapping[str, int] | None = None
    """Group → tiles, band by band, that came with nothing but nodata or zero."""


@dataclass(frozen=True, slots=True)
class Mail:
    """What a worker answers."""

    first: int
    """Number of the first event; they count from 1."""
    events: tuple[Message, ...]
    concurrency: int
    """Requests that it lets itself make at once: never more than it was last granted."""
    in_flight: int
    ceiling: int
    overspent: float
    """Retries beyond a share of its calls."""
    peak_memory: int
    """Largest resident size of its process, in bytes."""


_AT_ONCE: Final = 2_000
"""Events of one delivery: some hundred kilobytes."""


class Mailbox:
    """Messages of a worker that wait for its run; the worker's ledger as well. Safe to use from threads.

    Events are numbered and stay until they are known to have arrived, so that an answer which got lost costs nothing.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._events: deque[Message] = deque()
        self._first = 1

    def put(self, event: Message) -> None:
        """Keep one more."""
        with self._guard:
            self._events.append(event)

    def deliver(self, heard: int) -> tuple[int, tuple[Message, ...]]:
        """Forget what has arrived; the number of the first event that has not, and those that come next."""
        with self._guard:
            while self._events and self._first <= heard:
                self._events.popleft()
                self._first += 1
            count = min(len(self._events), _AT_ONCE)
            return self._first, tuple(self._events[number] for number in range(count))

    # As the ledger: the run writes the line, and a shard counts as stored once it did.

    def append(self, *entries: LedgerEntry) -> None:
        """Pass lines on to the run."""
        for entry in entries:
            self.put(entry)
