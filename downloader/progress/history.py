"""History of a run, in values of bounded size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

FIRST_S: Final = 0.001
"""Upper end of the first bucket of `Latencies`, in seconds."""

PER_DECADE: Final = 20
"""Buckets of `Latencies` for each power of ten: neighbours differ by an eighth."""


@dataclass(frozen=True, slots=True)
class TimedNotice:
    """A notice, and when it came."""

    seconds: float
    """Since the run's start."""
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The run over time, in bins of equal length; the last may be cut short by the run's end."""

    bin_s: float
    """Seconds of a bin."""
    seconds: float
    """Seconds of the run."""
    wire_bytes: tuple[float, ...] = ()
    """Bytes of pixels received in each bin."""
    answers: tuple[float, ...] = ()
    """Requests that ended in each bin, whatever they ended with."""
    retries: tuple[float, ...] = ()
    """Calls of each bin that brought no pixels and were made again."""
    failures: tuple[float, ...] = ()
    """Requests of each bin that failed for good."""
    in_flight: tuple[float, ...] = ()
    """Requests under way, the mean of each bin."""
    ceiling: tuple[float, ...] = ()
    """Requests that were allowed at once, the mean of each bin."""

    def seconds_of(self, number: int) -> float:
        """Return the length of a bin, in seconds; shorter where the run ended within it."""
        return max(min(self.bin_s, self.seconds - number * self.bin_s), 1e-9)

    def rate(self, counts: tuple[float, ...]) -> list[float]:
        """Return counts per second, bin by bin."""
        return [count / self.seconds_of(number) for number, count in enumerate(counts)]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Durations of requests, as a histogram of buckets that grow by an eighth."""

    counts: tuple[int, ...] = ()
    """Requests in each bucket; the first ends at `FIRST_S`."""
    longest_s: float = 0.0

    @property
    def total(self) -> int:
        """Requests counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the requests was answered, to an eighth; 0 if there were none."""
        wanted, seen = share * self.total, 0
        for number, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(FIRST_S * 10 ** (number / PER_DECADE), self.longest_s)
        return self.longest_s


@dataclass(frozen=True, slots=True)
class History:
    """Timeline, latencies and notices of a run."""

    timeline: Timeline
    latencies: Latencies = field(default_factory=Latencies)
    lines: tuple[TimedNotice, ...] = ()
    lines_left_out: int = 0
    """Notices between the first and the last of `lines` that were not kept."""

    def to_json(self) -> dict[str, Any]:
        """Return the history as plain values."""
        timeline = self.timeline
        shares = {"median": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
        return {
            "bin_seconds": timeline.bin_s,
            "seconds": round(timeline.seconds, 3),
            "megabytes_per_second": _rounded(timeline.rate(timeline.wire_bytes), 1e-6),
            "answers_per_second": _rounded(timeline.rate(timeline.answers)),
            "retries": _rounded(timeline.retries),
            "failures": _rounded(timeline.failures),
            "in_flight": _rounded(timeline.in_flight),
            "ceiling": _rounded(timeline.ceiling),
            "latency_seconds": {
                name: round(self.latencies.quantile(share), 4) for name, share in shares.items()
            },
            "notices": [{"seconds": round(line.seconds, 3), "text": line.text} for line in self.lines],
            "notices_left_out": self.lines_left_out,
        }


def _rounded(values: list[float] | tuple[float, ...], scale: float = 1.0) -> list[float]:
    return [round(value * scale, 3) if math.isfinite(value) else 0.0 for value in values]
