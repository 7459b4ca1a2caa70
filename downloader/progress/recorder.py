"""Recording of a run for its report, in bounded memory: full timelines are merged pairwise."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.events import Event, Failed, Flow, Notice, Outcome, Retried, Split, Started, Stored
from downloader.progress.history import FIRST_S, PER_DECADE, History, Latencies, TimedNotice, Timeline
from downloader.text import cut

_BINS: Final = 600
"""Bins of the timeline at most; even, as they are merged in pairs."""

_FIRST_BIN_S: Final = 0.125
"""Seconds of a bin at first."""

_LINES: Final = 200
"""Notices kept from the start of the run, and as many from its end."""

_TEXT: Final = 2000
"""Characters of a notice that are kept."""

_BUCKETS: Final = 7 * PER_DECADE + 1
"""Buckets of the histogram: up to 10⁴ s."""

_WIRE, _ANSWERS, _RETRIES, _FAILURES, _IN_FLIGHT = range(5)
# Behind `_IN_FLIGHT` comes what is allowed.


class Recorder:
    """A `Progress` that keeps what the report of a run draws."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.began = datetime.now(UTC)
        """When the run began to fetch."""
        self._clock = clock
        self._began = clock()
        self._timeline = _Bins()
        self._now = (0, 0)
        """Requests under way and allowed, since `_since`."""
        self._since = 0.0
        self._latencies = [0] * _BUCKETS
        self._longest_s = 0.0
        self._first: list[TimedNotice] = []
        self._last: deque[TimedNotice] = deque(maxlen=_LINES)
        self._lines = 0

    def __call__(self, event: Event) -> None:
        """Record an event. What was said before the run started counts as said at its start."""
        match event:
            case Started():
                self.began = datetime.now(UTC)
                self._began, self._since = self._clock(), 0.0
            case Stored():
                at = self._answered(event)
                self._timeline.values[_WIRE, at] += event.wire_bytes
                self._took(event.seconds)
            case Failed():
                at = self._answered(event)
                self._timeline.values[_FAILURES, at] += 1
            case Split():
                self._answered(event)
            case Retried():
                self._timeline.values[_RETRIES, self._timeline.index(self._seconds())] += 1
            case Notice():
                self._keep(event.text)
            case Flow():
                self._hold(self._seconds())
                self._now = (event.in_flight, event.ceiling)

    def _answered(self, outcome: Outcome) -> int:
        """Count the end of a request, unless it was given up before it was asked; return the bin."""
        at = self._timeline.index(self._seconds())
        self._timeline.values[_ANSWERS, at] += outcome.attempts > 0
        return at

    def _keep(self, text: str) -> None:
        line = TimedNotice(self._seconds(), cut(text, _TEXT))
        self._lines += 1
        if len(self._first) < _LINES:
            self._first.append(line)
        else:
            self._last.append(line)

    def history(self) -> History:
        """Return what was recorded until now."""
        seconds = self._seconds()
        self._hold(seconds)
        return History(
            self._timeline.timeline(seconds),
            Latencies(tuple(self._latencies), self._longest_s),
            (*self._first, *self._last),
            self._lines - len(self._first) - len(self._last),
        )

    def _seconds(self) -> float:
        return max(0.0, self._clock() - self._began)

    def _hold(self, until: float) -> None:
        """Count what was under way since the last change, until `until`."""
        self._timeline.hold(self._now, self._since, until)
        self._since = until

    def _took(self, seconds: float) -> None:
        bucket = math.ceil(math.log10(max(seconds, FIRST_S) / FIRST_S) * PER_DECADE)
        self._latencies[min(bucket, _BUCKETS - 1)] += 1
        self._longest_s = max(self._longest_s, seconds)


class _Bins:
    """Sums over time."""

    def __init__(self) -> None:
        self.bin_s = _FIRST_BIN_S
        self.values: NDArray[np.float64] = np.zeros((6, _BINS))
        """(what, bin): counts, and of what is held the integral over time."""

    def index(self, seconds: float) -> int:
        """Return the bin of a moment."""
        while seconds >= self.bin_s * _BINS:
            half = _BINS // 2
            self.values[:, :half] = self.values[:, ::2] + self.values[:, 1::2]
            self.values[:, half:] = 0
            self.bin_s *= 2
        return int(seconds / self.bin_s)

    def hold(self, values: tuple[int, int], begin: float, end: float) -> None:
        """Add the requests under way and allowed from one moment to another."""
        last = self.index(end)  # may merge
        for number in range(self.index(begin), last + 1):
            span = min(end, (number + 1) * self.bin_s) - max(begin, number * self.bin_s)
            for row, value in enumerate(values, _IN_FLIGHT):
                self.values[row, number] += value * span

    def timeline(self, seconds: float) -> Timeline:
        """Return the bins up to the end."""
        used = self.index(seconds) + 1
        if used > 1 and seconds - (used - 1) * self.bin_s <= 0:
            used -= 1
        made = Timeline(self.bin_s, seconds)
        lengths = np.array([made.seconds_of(number) for number in range(used)])
        counted = [tuple(row[:used].tolist()) for row in self.values[:_IN_FLIGHT]]
        held = [tuple((row[:used] / lengths).tolist()) for row in self.values[_IN_FLIGHT:]]
        return Timeline(self.bin_s, seconds, *counted, *held)
