"""Progress-based time-outs: how long an answer may keep us waiting (DESIGN §5, `request.timeout`).

A read time-out per chunk lets a server drip one byte a second for days; a total one cuts a slow but honest line.
So three things are watched: the first byte, the time since the last one, and whether the rest would come in time
at the rate of the last `idle_s` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Pace", "Timeouts", "Tooth"]

Tooth = Literal["first byte", "idle", "slow"]
"""Which of the time-outs bit."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one request may take, by phase."""

    first_byte_s: float = 90.0
    """From the start to the answer's head; a computePixels answer may take the service's five minutes: 330."""
    idle_s: float = 30.0
    """From one piece of the answer to the next; also the window over which the rate is taken."""
    body_s: float = 600.0
    """From the answer's head to its end, at the rate seen: one 48 MB answer in it takes 80 kB/s."""
    connect_s: float = 20.0
    """For one TCP and TLS handshake."""

    def patient(self, first_byte_s: float) -> Timeouts:
        """The same, with another wait for the first byte."""
        return replace(self, first_byte_s=first_byte_s)


class Pace:
    """The progress of one answer. Pure: it is told the time, on any clock that never jumps back."""

    __slots__ = (
        "_began",
        "_expected",
        "_last",
        "_started",
        "_timeouts",
        "_total",
        "_window",
        "_window_total",
    )

    def __init__(self, timeouts: Timeouts, expected_bytes: int, now: float) -> None:
        """The request starts now; `expected_bytes` will come, as far as anybody knows."""
        self._timeouts = timeouts
        self._expected = expected_bytes
        self._started = now
        self._began: float | None = None
        self._last = self._window = now
        self._total = self._window_total = 0

    def begin(self, now: float, expected_bytes: int | None) -> None:
        """The answer's head is here; its length too, if it says so."""
        self._began = self._last = self._window = now
        if expected_bytes is not None:
            self._expected = expected_bytes

    def received(self, nbytes: int, now: float) -> None:
        """A piece of the body is here."""
        self._last = now
        self._total += nbytes

    def due(self) -> float:
        """When to look next: before that no time-out can bite."""
        if self._began is None:
            return self._started + self._timeouts.first_byte_s
        return min(self._last, self._window) + self._timeouts.idle_s

    def excuse(self, seconds: float) -> None:
        """Nobody could look for `seconds` (a blocked loop, a stopped process): they count for nothing."""
        self._started += seconds
        self._last += seconds
        self._window += seconds
        if self._began is not None:
            self._began += seconds

    def check(self, now: float) -> Tooth | None:
        """The time-out that bites now, if one does."""
        t = self._timeouts
        if self._began is None:
            return "first byte" if now - self._started >= t.first_byte_s else None
        if now - self._last >= t.idle_s:
            return "idle"
        window = now - self._window
        if window < t.idle_s:
            return None
        rate = (self._total - self._window_total) / window
        rest = max(self._expected - self._total, 0)
        if now - self._began + rest / max(rate, 1e-9) > t.body_s:
            return "slow"
        self._window, self._window_total = now, self._total
        return None

    def __str__(self) -> str:
        return f"{self._total} of {self._expected} bytes"
