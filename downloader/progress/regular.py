"""Watching that counts everything and says something now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from downloader.errors import FetchProblem
from downloader.outcome import Outcome
from downloader.planning import Estimate, Request
from downloader.progress.tally import Silent, Tally

__all__ = ["Regular"]


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
