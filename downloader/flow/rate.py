"""The rate at which requests start: under the job's limit, and under what the service lets pass."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

BURST_S: Final = 0.05
"""Starts worth this many seconds may be made up for at once after a late timer; idle time saves up no more."""

_WINDOW_S: Final = 60
"""The service counts starts per minute (docs/contract.md §5.2)."""

_RECOVER_S: Final = 15.0
"""Distance between two steps up, of which the first waits for a whole minute without a refusal."""

_SHARE: Final = 0.95
"""Of what was seen to pass in a minute, so that the window has room for what others on the project ask."""


class StartRate:
    """The rate of starts: pure arithmetic on times that it is given.

    In any window of t seconds no more than `rate · t + burst` requests start (a GCRA, the token bucket without
    tokens), from the very first on. A rate 429 lowers the rate to half, but not below what the last minute saw pass;
    after a minute without one it climbs by 5 % of itself, then every 15 s by twice, four times that.
    """

    def __init__(self, most_per_s: float, now: float) -> None:
        self._most = most_per_s
        self.rate = most_per_s
        """Starts per second at present."""
        self.burst = max(1, math.ceil(most_per_s * BURST_S))
        """Starts that may follow each other without a gap."""
        self._tolerance_s = (self.burst - 1) / most_per_s
        self._due = now
        """When the next start would be due if all were evenly spaced."""
        self._passed: deque[tuple[int, int]] = deque()
        """(second, requests that the service let pass in it) of the last minute."""
        self._step = 0.0
        self._recover_at = now

    def set_most(self, most_per_s: float) -> None:
        """Change the rate that is never exceeded; a higher one counts at once unless the service refused this one."""
        held_back = self.rate < self._most
        self._most = most_per_s
        self.rate = min(self.rate, most_per_s) if held_back else most_per_s
        self.burst = max(1, math.ceil(most_per_s * BURST_S))
        self._tolerance_s = (self.burst - 1) / most_per_s

    def ready_at(self) -> float:
        """Return the time at which the next request may start."""
        return self._due - self._tolerance_s

    def start(self, now: float) -> None:
        """Note that a request starts."""
        self._due = max(self._due, now) + 1 / self.rate

    def passed(self, now: float) -> None:
        """Note that the service let a request pass, whatever became of it."""
        second = math.floor(now)
        if self._passed and self._passed[-1][0] == second:
            self._passed[-1] = (second, self._passed[-1][1] + 1)
        else:
            self._passed.append((second, 1))
            while self._passed[0][0] <= second - _WINDOW_S:
                self._passed.popleft()
        if self.rate < self._most and now >= self._recover_at:
            self.rate = min(self._most, self.rate + self._step)
            self._step *= 2
            self._recover_at = now + _RECOVER_S

    def refused(self, now: float) -> None:
        """Note that the service refused a request because the rate is too high."""
        recent = sum(count for second, count in self._passed if second > now - _WINDOW_S)
        bearable = max(self.rate / 2, _SHARE * recent / _WINDOW_S, 1 / _RECOVER_S)
        self.rate = min(self.rate, bearable)
        self._step = self.rate * 0.05
        self._recover_at = now + _WINDOW_S
