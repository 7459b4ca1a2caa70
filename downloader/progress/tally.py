"""Counts of a run's events, and lines of text about them."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from downloader.events import Event, Failed, Flow, Notice, Retried, Split, Started, Stored
from downloader.planning import Estimate
from downloader.planning.strip import Strip
from downloader.protocols import Progress
from downloader.text import counted, duration, rate, size


def fanout(*listeners: Progress) -> Progress:
    """Return a function that passes each event to all of `listeners`, in their order; with none of them, to nobody."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """State of a run, as plain values."""

    tiles: int
    """Of the plan."""
    tiles_now: int
    """That need nothing more from this run, those of earlier runs and failed ones included; they may not be committed yet."""
    tiles_failed: int
    requests: int
    """Calls made, retries included."""
    splits: int
    wire_bytes: int
    """Bytes of pixels received."""
    in_flight: int
    ceiling: int
    retries: dict[str, int]
    """Cause → how many calls were made again for it."""
    bytes_per_second: float
    """Since the run's start."""
    seconds_left: float | None
    """None where nobody knows."""

    def words(self, *, is_over: bool = False) -> list[str]:
        """Return the figures that a display shows of a run, or of one that is over, the most important first."""
        retries = sum(self.retries.values())
        return [
            # Rounded down: 100 % would look complete.
            f"{math.floor(100 * self.tiles_now / max(1, self.tiles))} %",
            *([f"{self.tiles_failed:,} failed"] if self.tiles_failed else []),
            *([] if is_over or self.seconds_left is None else [f"{duration(self.seconds_left)} left"]),
            rate(self.bytes_per_second, 1),
            *([] if is_over else [f"{self.in_flight}/{self.ceiling} in flight"]),
            *([counted(retries, "retry", "retries")] if retries else []),
            f"{self.tiles_now:,}/{self.tiles:,} tiles",
        ]


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
    computed: int = 0
    """Requests that the service computed."""
    eecu_s: float = 0.0
    """EECU-seconds that they are expected to have cost."""
    wasted_eecu_s: float = 0.0
    """EECU-seconds that calls which brought nothing may have cost besides."""
    retries: Counter[str] = field(default_factory=Counter)
    """Cause → how many calls were made again for it."""
    notices: list[str] = field(default_factory=list)
    in_flight: int = 0
    ceiling: int = 0
    started: float = field(default_factory=time.monotonic)
    strip: Strip | None = None
    cells: list[float] = field(default_factory=list)
    """Tiles stored of each cell of the strip."""
    broken: set[int] = field(default_factory=set)
    """Cells of the strip in which tiles failed."""
    expected_s: float = 0.0
    """What a tile costs by the plan's estimate, in seconds."""

    def __call__(self, event: Event) -> None:
        """Count one more event."""
        if isinstance(event, Stored | Split | Failed):
            self.requests += event.attempts
            self.wasted_eecu_s += event.wasted_eecu_s
        match event:
            case Started():
                self.tiles_total, self.tiles_before = event.estimate.tiles, event.tiles_done
                self.started = time.monotonic()
                self.expected_s = event.estimate.seconds / max(1, event.estimate.tiles)
                self.strip = event.strip
                self.cells = list(event.strip.stored) if event.strip else []
            case Stored():
                self.tiles_stored += event.request.tiles_worth
                self.wire_bytes += event.wire_bytes
                self.computed += event.eecu_s > 0
                self.eecu_s += event.eecu_s
                if self.strip is not None:
                    self.cells[self.strip.cell(event.request.shard)] += event.request.tiles_worth
            case Failed():
                self.tiles_failed += event.request.tiles_worth
                if self.strip is not None:
                    self.broken.add(self.strip.cell(event.request.shard))
            case Split():
                self.splits += 1
            case Retried():
                self.retries[event.problem.cause] += 1
            case Notice():
                self.notices.append(event.text)
            case Flow():
                self.in_flight, self.ceiling = event.in_flight, event.ceiling

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def tiles_now(self) -> int:
        """Tiles that need nothing more from this run, failed ones included."""
        return min(round(self.tiles_before + self.tiles_stored + self.tiles_failed), self.tiles_total)

    @property
    def share(self) -> float:
        """Part of the tiles that needs nothing more, 0 to 1."""
        return self.tiles_now / max(1, self.tiles_total)

    @property
    def seconds_left(self) -> float | None:
        """Time left, by this run's pace and by the plan's estimate with the weight of a few tiles; None before the first tile."""
        left, done = self.tiles_total - self.tiles_now, self.tiles_stored + self.tiles_failed
        if not done or left <= 0:
            return None
        prior = min(64.0, (self.tiles_total - self.tiles_before) / 20)
        return left * (self.seconds + prior * self.expected_s) / (done + prior)

    def figures(self) -> Figures:
        """Return the state of the run now."""
        left_s = self.seconds_left
        return Figures(
            tiles=self.tiles_total,
            tiles_now=self.tiles_now,
            tiles_failed=round(self.tiles_failed),
            requests=self.requests,
            splits=self.splits,
            wire_bytes=self.wire_bytes,
            in_flight=self.in_flight,
            ceiling=self.ceiling,
            retries=dict(self.retries),
            bytes_per_second=round(self.wire_bytes / self.seconds, 1),
            seconds_left=None if left_s is None else round(left_s, 1),
        )


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


class Timer:
    """A limit on how often something is done: once in `every_s` seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether the time is over; if it is, it starts anew."""
        if time.monotonic() - self._last < self._every_s:
            return False
        self.restart()
        return True
