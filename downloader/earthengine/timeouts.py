"""Time-outs by the progress of an answer (`request.timeout`).

A read time-out per chunk lets a server drip one byte a second for days; a total one cuts a slow line that works.
So three things are watched: the first byte, the time since the last one, and whether the rest would come in time
at the rate of the last `idle_s` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from downloader.errors import Cause

COMPUTE_S: Final = 330.0
"""Wait for the first byte of what is computed: an interactive request may take the service five minutes."""


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


class ProgressTimeout:
    """Progress of one answer against its time-outs. The caller passes the time, of any clock that never jumps back."""

    __slots__ = (
        "_began", "_expected", "_last", "_started", "_timeouts", "_total", "_window", "_window_total",
    )  # fmt: skip

    def __init__(self, timeouts: Timeouts, expected_bytes: int, now: float) -> None:
        """Begin at `now`; `expected_bytes` will come, as far as is known."""
        self._timeouts = timeouts
        self._expected = expected_bytes
        self._started = now
        self._began: float | None = None
        self._last = self._window = now
        self._total = self._window_total = 0

    def begin(self, now: float, expected_bytes: int | None) -> None:
        """Note the answer's head, and its length if it states one."""
        self._began = self._last = self._window = now
        if expected_bytes is not None:
            self._expected = expected_bytes

    def received(self, nbytes: int, now: float) -> None:
        """Note a piece of the body."""
        self._last = now
        self._total += nbytes

    def due(self) -> float:
        """Return when to look next: before that no time-out can expire."""
        if self._began is None:
            return self._started + self._timeouts.first_byte_s
        return min(self._last, self._window) + self._timeouts.idle_s

    def excuse(self, seconds: float) -> None:
        """Leave out `seconds` in which nothing could be received (a blocked loop, a stopped process)."""
        self._started += seconds
        self._last += seconds
        self._window += seconds
        if self._began is not None:
            self._began += seconds

    def expired(self, now: float) -> Cause | None:
        """Return the cause of the time-out that has expired, if one has."""
        t = self._timeouts
        if self._began is None:
            return Cause.NO_FIRST_BYTE if now - self._started >= t.first_byte_s else None
        if now - self._last >= t.idle_s:
            return Cause.STALLED
        window = now - self._window
        if window < t.idle_s:
            return None
        rate = (self._total - self._window_total) / window
        rest = max(self._expected - self._total, 0)
        if now - self._began + rest / max(rate, 1e-9) > t.body_s:
            return Cause.TOO_SLOW
        self._window, self._window_total = now, self._total
        return None

    def __str__(self) -> str:
        return f"{self._total} of {self._expected} bytes"
