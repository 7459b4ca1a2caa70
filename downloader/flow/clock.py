"""The clock of a real run."""

from __future__ import annotations

import time

import anyio


class MonotonicClock:
    """The machine's monotonic clock, which setting the date does not move."""

    def now(self) -> float:
        """Return the seconds since some moment in the past."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`, at the next turn of the event loop for 0 or less."""
        await anyio.sleep(max(0.0, seconds))


class Patience:
    """Measures a wait that must not end merely because the clock jumped.

    A suspended laptop or a blocked process wakes hours later, and nobody tried anything in between. So time counts
    from one look to the next, and no gap between two looks counts for more than a fifth of the limit.
    """

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s = limit_s
        self._longest_gap_s = limit_s / 5
        self._looked = now
        self.spent_s = 0.0
        """Seconds counted so far."""

    @property
    def left_s(self) -> float:
        """Seconds until it runs out, if nothing jumps."""
        return max(0.0, self._limit_s - self.spent_s)

    def spend(self, now: float) -> bool:
        """Count the time since the last look; return whether the limit is reached."""
        self.spent_s += min(max(0.0, now - self._looked), self._longest_gap_s)
        self._looked = now
        return self.spent_s >= self._limit_s

    def plan(self, wait_s: float) -> None:
        """Count a wait that begins now, in full: it was chosen, and is no jump of the clock."""
        self.spent_s += wait_s
        self._looked += wait_s
