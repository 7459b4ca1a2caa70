"""Counting what happens, and telling several watchers of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from downloader.errors import FetchProblem
from downloader.events import Failed, Outcome, Split, Stored
from downloader.planning import Estimate, Request
from downloader.protocols import Patient, Progress
from downloader.text import counted, duration, rate, size

__all__ = ["Fanout", "Regular", "Silent", "Tally", "announcement", "summary"]


class Silent:
    """Watches nothing; the base of those that watch something."""

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""

    def notice(self, text: str) -> None:
        """See `Progress`."""

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@dataclass(slots=True)
class Tally(Silent):
    """Counts what happens: the source of reports and of the displays."""

    tiles_total: int = 0
    tiles_before: int = 0
    """Stored by earlier runs."""
    tiles_stored: float = 0
    """Stored by this run; a tile whose bands came in several requests counts by the share of its bands."""
    tiles_failed: float = 0
    requests: int = 0
    """Calls made, retries included."""
    splits: int = 0
    wire_bytes: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    """Cause → how many calls were made again for it."""
    notices: list[str] = field(default_factory=list)
    in_flight: int = 0
    ceiling: int = 0
    started: float = field(default_factory=time.monotonic)

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        self.tiles_total, self.tiles_before = estimate.tiles, tiles_done
        self.started = time.monotonic()

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self.requests += outcome.attempts
        match outcome:
            case Stored():
                self.tiles_stored += outcome.request.tiles_worth
                self.wire_bytes += outcome.wire_bytes
            case Failed():
                self.tiles_failed += outcome.request.tiles_worth
            case Split():
                self.splits += 1

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:  # noqa: ARG002
        """See `Progress`."""
        self.retries[problem.cause] += 1

    def notice(self, text: str) -> None:
        """See `Progress`."""
        self.notices.append(text)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        self.in_flight, self.ceiling = in_flight, ceiling

    @property
    def seconds(self) -> float:
        """Since the start."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def tiles_now(self) -> int:
        """Tiles that need nothing more from this run, failed ones included."""
        return min(round(self.tiles_before + self.tiles_stored + self.tiles_failed), self.tiles_total)


class Fanout(Silent):
    """Tells each of several watchers the same."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.start(estimate, tiles_done)

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.outcome(outcome)

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.retried(request, problem, attempt)

    def notice(self, text: str) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.notice(text)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.flow(in_flight, ceiling)

    async def room(self) -> None:
        """See `Patient`: all of them keep up."""
        for watcher in self._watchers:
            if isinstance(watcher, Patient):
                await watcher.room()

    def __enter__(self) -> Self:
        for watcher in self._watchers:
            watcher.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watcher in reversed(self._watchers):
            watcher.__exit__(kind, error, trace)


def announcement(estimate: Estimate, tiles_done: int) -> str:
    """Return one line for the start of a run: what is to be fetched, and what is stored already."""
    left = estimate.tiles - tiles_done
    if left <= 0:
        return f"{counted(estimate.tiles, 'tile')}: all are stored already"
    share = left / estimate.tiles
    cost = (
        f"in {counted(math.ceil(share * estimate.requests), 'request')}, {size(share * estimate.wire_bytes)}, "
        f"about {duration(share * estimate.seconds)}"
    )
    if not tiles_done:
        return f"{counted(left, 'tile')} {cost}"
    return f"{left:,} of {counted(estimate.tiles, 'tile')} left to fetch {cost}"


def summary(tally: Tally) -> str:
    """One line: how far, how fast, how much trouble."""
    left = tally.tiles_total - tally.tiles_now
    done = tally.tiles_stored + tally.tiles_failed
    eta = f", about {duration(left * tally.seconds / done)} left" if done and left > 0 else ""
    retries = f", {counted(tally.retries.total(), 'retry', 'retries')}" if tally.retries else ""
    failed = f", {tally.tiles_failed:,.0f} failed" if tally.tiles_failed else ""
    return (
        f"{tally.tiles_now:,}/{tally.tiles_total:,} tiles, {rate(tally.wire_bytes, tally.seconds)}, "
        f"{tally.in_flight}/{tally.ceiling} at once{retries}{failed}{eta}"
    )


class Regular(Silent):
    """The base of what tells of a run at most once in `every_s` seconds, and only when something happens."""

    def __init__(self, every_s: float, clock: Callable[[], float] | None = None) -> None:
        self._every_s = every_s
        self._clock = clock or time.monotonic
        self._tally = Tally()
        self._last = self._clock()

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        self._tally.start(estimate, tiles_done)
        self._last = self._clock()

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self._tally.outcome(outcome)
        self._now_and_then()

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        self._tally.retried(request, problem, attempt)
        self._now_and_then()

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        self._tally.flow(in_flight, ceiling)

    def _now_and_then(self) -> None:
        if self._clock() - self._last >= self._every_s:
            self._last = self._clock()
            self._tell()

    def _tell(self) -> None:
        """Say how far it is."""
        raise AssertionError(f"{type(self).__name__} says nothing")
