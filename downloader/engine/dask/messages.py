"""Messages between a run and its workers: plain values, which travel between processes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from downloader.errors import DownloadError
from downloader.events import Event
from downloader.planning import Plan, ShardKey

if TYPE_CHECKING:
    from downloader.earthengine.client import Access
    from downloader.job.sections.service import Limits
    from downloader.mosaic.format.layout import GroupLayout
    from downloader.mosaic.record.ledger import LedgerEntry
    from downloader.mosaic.record.state import FailedTiles

    Message: TypeAlias = "Event | LedgerEntry | Done | Left"
    """What happened at a worker, in its instruction. The line of a commit comes before the `Done` of its shard."""


BEAT_S: Final = 0.25
"""Seconds between two looks of the run at each of its workers."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A worker's part of the quota."""

    concurrency: int
    requests_per_second: float
    retries: int
    """Retries beyond a share of its calls."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Settings of a worker, sent before its first shard."""

    name: str
    """Of one worker of one run, and of its lock."""
    version: str
    """Of this package, at the run: workers of another version are refused."""
    plan: Plan
    layouts: tuple[GroupLayout, ...]
    mosaic: str
    """Where the mosaic lies: a folder that every worker sees under this path, or a URL."""
    durable: bool
    """Whether objects are flushed."""
    checkpoint_s: float
    access: Access
    limits: Limits
    """Those of the whole job: where requests are limited, no worker halves them to end sooner."""
    memory: int | None
    """Bytes for pixels on their way; None for what `limits.memory` leaves where the worker runs."""
    grant: Grant
    silence_s: float
    """A worker that hears nothing of its run for so long saves what it has and leaves: the run may be gone."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The tiles of one shard that a worker is to fetch, and those that are stored."""

    key: ShardKey
    missing: Mapping[int, int]
    """Band index → bits of the tiles to fetch."""
    stored: tuple[int, ...] = ()
    """By band, bits of the tiles that are stored; empty for none at all."""
    failed: tuple[FailedTiles, ...] = ()
    """What failed in it before."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """Message of a run to a worker, at each of its looks."""

    grant: Grant
    heard: int
    """Number of the last message that the run has."""
    is_last: bool = False
    """Whether all shards are handed out, so that the end may be prepared."""
    stop: int = 0
    """0: go on. 1: start nothing more, finish what can finish. 2: save what is there."""
    reason: str = ""
    leave: bool = False
    """The run is over."""


@dataclass(frozen=True, slots=True)
class Done:
    """Message: all of a shard that could be fetched is committed."""

    key: ShardKey


@dataclass(frozen=True, slots=True)
class Left:
    """Last message of a worker: it holds no shards and has no requests under way."""

    error: DownloadError | None = None
    """Why, where it did not leave because it was told to."""
    blank: Mapping[str, int] | None = None
    """Group → tiles, band by band, that came with nothing but nodata or zero."""


@dataclass(frozen=True, slots=True)
class Mail:
    """Answer of a worker to an instruction."""

    first: int
    """Number of the first message; they count from 1."""
    messages: tuple[Message, ...]
    concurrency: int
    """Requests that it lets itself make at once: never more than it was last granted."""
    in_flight: int
    ceiling: int
    overspent: float
    """Retries beyond a share of its calls."""
    peak_memory: int
    """Largest resident size of its process, in bytes."""


_AT_ONCE: Final = 2_000
"""Messages of one delivery: some hundred kilobytes."""


class Mailbox:
    """Ordered queue of messages from a worker to its run; takes the place of the worker's ledger. Safe to use from threads.

    Messages are numbered and stay until they are known to have arrived, so that an answer which got lost costs nothing.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._messages: deque[Message] = deque()
        self._first = 1

    def put(self, message: Message) -> None:
        """Append a message."""
        with self._guard:
            self._messages.append(message)

    def deliver(self, heard: int) -> tuple[int, tuple[Message, ...]]:
        """Forget what has arrived; return the number of the first message that has not, and those that come next."""
        with self._guard:
            while self._messages and self._first <= heard:
                self._messages.popleft()
                self._first += 1
            count = min(len(self._messages), _AT_ONCE)
            return self._first, tuple(self._messages[number] for number in range(count))

    # As the ledger: the run writes the line, and a shard counts as stored once it did.

    def append(self, *entries: LedgerEntry) -> None:
        """Pass lines on to the run."""
        for entry in entries:
            self.put(entry)
