"""The number of requests that may be under way, which follows the service's quota by its 429s."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

PROBE_S: Final = 15.0
"""Shortest distance between two probes above a remembered ceiling."""

_LATEST_PROBE_S: Final = 24.0
"""A probe is not put off longer than this, so that a quota given back is used again within 30 s."""

_ANSWERS_PER_PROBE: Final = 120
"""A probe costs one 429: it waits for so many answers, which keeps the share of 429s under 1 %."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request under way."""

    serial: int
    """Number of the request in the order of starts."""
    level: int
    """Requests under way when it had started, itself included."""
    started: float
    """Clock time of the start."""


class AdaptiveConcurrency:
    """A ceiling of requests under way that adapts to the service; pure state, told what happens and when.

    Requests count from their start until their answer is here, which is longer than the service counts them, and
    they may overtake each other. So the level that a 429 shows is the larger of those at its request's start and at
    its end: where 11 were under way, ten or more are allowed.

    * A 429 halves, unless it answers a step up: then the level before that step is known to be good, and the 429
      tells how much of the step was too much. The 429s of requests that started before a cut do not cut again.
    * After a cut it climbs by 1, 2, 4 … to one below the level refused, and stays there.
    * Every 15 s it probes one above, and climbs on by 2, 4, 8 … each round trip while that works.

    A step counts as borne when a request that started at the new level was answered.
    """

    def __init__(self, most: int, rng: random.Random, now: float) -> None:
        self._rng = rng
        self._most = most
        self.limit = most
        """Requests that may be under way."""
        self._shown: int | None = None
        """The least level that was refused, one above what is allowed; None where none is known."""
        self._base = 0
        """While climbing: the level before the last step."""
        self._step = 1
        self._climbing = True
        """The start is a climb too: the first 429 shows the ceiling, and nothing need be halved."""
        self._changed = 0
        """Serial of the first request that started under the present limit."""
        self._cut = 0
        """Serial of the first request that started after the last cut."""
        self._rest(now)

    @property
    def goal(self) -> int:
        """Level at which a climb ends."""
        return self._most if self._shown is None else min(self._most, max(1, self._shown - 1))

    def answered(self, ticket: Ticket, following: int, now: float) -> None:
        """Note that the service let a request pass. `following` is the serial of the next request to start."""
        self._answers += 1
        if self._climbing:
            if ticket.serial >= self._changed and ticket.level >= self.limit:
                self._climb(following)
        elif self._shown is not None and self.limit < self._most and self._probe_due(now):
            self._shown = None
            self._rise(following)

    def refused(self, ticket: Ticket, under_way: int, following: int, now: float) -> bool:
        """Note that the service refused a request because too many were under way.

        Args:
            ticket: the request refused.
            under_way: requests under way when the refusal came, itself included.
            following: serial of the next request to start.
            now: clock time.

        Returns:
            Whether not even one request is allowed.
        """
        level = max(ticket.level, under_way)
        self._shown = level if self._shown is None else min(self._shown, level)
        if ticket.serial < self._cut:
            self.limit = min(self.limit, max(self.goal, self._base))
            return False
        if self._climbing and level > self._base:
            self.limit = max(1, self._base, min(self.limit, level - 1))
        else:
            self.limit = self._base = max(1, min(self.limit, level) // 2)
        self._cut = self._changed = following
        self._climbing, self._step = self.limit < self.goal or self.limit > self._base, 1
        self._rest(now)
        return level <= 1

    def forget(self, following: int) -> None:
        """Forget the refused level: climb from here as far as it goes."""
        self._shown = None
        self._cut = following
        self._rise(following)

    def set_most(self, most: int, following: int) -> None:
        """Change the number that is never exceeded; a higher one is climbed to."""
        raised, self._most = most > self._most, most
        self.limit = min(self.limit, most)
        if raised and not self._climbing:
            self._rise(following)

    def _probe_due(self, now: float) -> bool:
        waited = now - self._rested
        enough = waited >= self._probe_after and self._answers >= _ANSWERS_PER_PROBE
        return enough or waited >= _LATEST_PROBE_S

    def _rise(self, following: int) -> None:
        self._base, self._step, self._climbing = self.limit, 1, True
        self._climb(following)

    def _climb(self, following: int) -> None:
        self._base = self.limit
        if self.limit >= self.goal:
            self._climbing = False
            return
        self.limit = min(self.goal, self.limit + self._step)
        self._step *= 2
        self._changed = following

    def _rest(self, now: float) -> None:
        """Count time and answers anew until the next probe: a 429 has just come."""
        self._rested = now
        self._answers = 0
        # Workers that share a quota, or jobs that share a project, should not probe in step.
        self._probe_after = self._rng.uniform(PROBE_S, PROBE_S + 1)
