"""Counting what happens in a run, and lines of text about the counts."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from downloader.events import Event, Failed, Flow, Notice, Retried, Split, Started, Stored
from downloader.planning import Estimate
from downloader.protocols import Progress
from downloader.text import counted, duration, rate, size


def fanout(*listeners: Progress) -> Progress:
    """Return a function that passes each event to all of `listeners`, in their order; with none of them, to nobody."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


@dataclass(slots=True)
class Tally:
    """Counts of what happened: the source of reports and of the displays. A `Progress`."""

    tiles_total: int = 0
    tiles_before: int = 0
    """Stored by earlier runs."""
    tiles_stored: float = 0
    """Stored by this run; a tile whose bands came in several requests counts by the share of its bands."""
    tiles_failed: float = 0
    requests: int = 0
    """Calls made, retries included."""
    splits: int = 0
    """Requests that were split because the service refused them or others of their size."""
    wire_bytes: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    """Cause → how many calls were made again for it."""
    notices: list[str] = field(default_factory=list)
    in_flight: int = 0
    ceiling: int = 0
    started: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Count one more event."""
        match event:
            case Started():
                self.tiles_total, self.tiles_before = event.estimate.tiles, event.tiles_done
                self.started = time.monotonic()
            case Stored():
                self.requests += event.attempts
                self.tiles_stored += event.request.tiles_worth
                self.wire_bytes += event.wire_bytes
            case Failed():
                self.requests += event.attempts
                self.tiles_failed += event.request.tiles_worth
            case Split():
                self.requests += event.attempts
                self.splits += event.is_refused
            case Retried():
                self.retries[event.problem.cause] += 1
            case Notice():
                self.notices.append(event.text)
            case Flow():
                self.in_flight, self.ceiling = event.in_flight, event.ceiling

    @property
    def seconds(self) -> float:
        """Since the start."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def tiles_now(self) -> int:
        """Tiles that need nothing more from this run, failed ones included."""
        return min(round(self.tiles_before + self.tiles_stored + self.tiles_failed), self.tiles_total)

    def fields(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "tiles": self.tiles_now,
            "of": self.tiles_total,
            "failed": round(self.tiles_failed),
            "requests": self.requests,
            "wire_bytes": self.wire_bytes,
            "in_flight": self.in_flight,
            "ceiling": self.ceiling,
            "retries": dict(self.retries),
        }


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
    """Return one line: how far, how fast, how much trouble."""
    left = tally.tiles_total - tally.tiles_now
    done = tally.tiles_stored + tally.tiles_failed
    eta = f", about {duration(left * tally.seconds / done)} left" if done and left > 0 else ""
    retries = f", {counted(tally.retries.total(), 'retry', 'retries')}" if tally.retries else ""
    failed = f", {tally.tiles_failed:,.0f} failed" if tally.tiles_failed else ""
    return (
        f"{tally.tiles_now:,}/{tally.tiles_total:,} tiles, {rate(tally.wire_bytes, tally.seconds)}, "
        f"{tally.in_flight}/{tally.ceiling} at once{retries}{failed}{eta}"
    )


class Timer:
    """Limits how often something is done: at most once in `every_s` seconds."""

    def __init__(self, every_s: float, clock: Callable[[], float] | None = None) -> None:
        self.clock = clock or time.monotonic
        self._every_s = every_s
        self._last = self.clock()

    def restart(self) -> None:
        """Count from now."""
        self._last = self.clock()

    def is_due(self) -> bool:
        """Return whether the time is over; if it is, it starts anew."""
        now = self.clock()
        if now - self._last < self._every_s:
            return False
        self._last = now
        return True
