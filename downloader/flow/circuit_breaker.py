"""The circuit breaker: after sustained failure one request at a time finds out when the service is back."""

from __future__ import annotations

import random
from typing import Final

from downloader.flow.clock import Patience
from downloader.text import duration

ROW_TO_OPEN: Final = 10
"""Problems in a row, without an answer between, after which a failure counts as everybody's."""

_FIRST_DISTANCE_S: Final = 0.5
_DISTANCE_S: Final = 15.0
"""Longest distance between probes: with the climb that follows, a quota given back is used within 30 s."""
_LONG_DISTANCE_S: Final = 30.0
"""The same once an outage is long."""
_LONG_S: Final = 300.0
_SPEAK_AFTER_S: Final = 10.0
"""A shorter outage is not reported."""


class Circuit:
    """Closed while the service answers; open after sustained failure, with one probing request at a time.

    Pure state, told what happens and when. Time without an
    answer is counted by `Patience`, from the first problem after the last answer: neither a job that asks nothing
    for an hour nor a suspended machine is an outage.
    """

    def __init__(self, give_up_after_s: float, rng: random.Random) -> None:
        self._give_up_after_s = give_up_after_s
        self._rng = rng
        self._row = 0
        self._patience: Patience | None = None
        self._opened_at: int | None = None
        """Serial of the first request that starts as a probe; None while the circuit is closed."""
        self._distance_s = 0.0
        self._probe: int | None = None
        self.probe_at = 0.0
        """Clock time before which no probe starts."""
        self._spoke = False
        self.given_up = False
        """Nothing came for `give_up_after_s`: the job ends."""

    @property
    def is_open(self) -> bool:
        """Whether only probes may start."""
        return self._opened_at is not None

    @property
    def probing(self) -> bool:
        """Whether a probe is under way, so that another must not start."""
        return self._probe is not None

    @property
    def outage_s(self) -> float:
        """Seconds without an answer, counted from the first problem."""
        return self._patience.spent_s if self._patience else 0.0

    def start(self, serial: int) -> None:
        """Note that a request starts; while the circuit is open it is a probe."""
        if self.is_open:
            self._probe = serial

    def open(self, following: int, now: float, first_distance_s: float = _FIRST_DISTANCE_S) -> None:
        """Let nothing but probes start. `following` is the serial of the next request to start."""
        if not self.is_open:
            self._opened_at = following
            self._probe = None
            self._distance_s = first_distance_s
            self._put_off(now)

    def answered(self, serial: int) -> tuple[bool, str | None]:
        """Note that the service let a request pass.

        Returns:
            Whether this closed the circuit, and a line for the user if one said that it had opened.
        """
        self._row = 0
        if self._opened_at is None:
            self._patience = None
            return False, None
        if serial < self._opened_at:  # it was let pass before things went wrong
            return False, None
        line = f"pixels arrive again after {duration(self.outage_s)}; going on" if self._spoke else None
        self._opened_at = self._probe = self._patience = None
        self._spoke = False
        return True, line

    def failed(self, serial: int, following: int, now: float, reason: str, *, counts: bool) -> str | None:
        """Note that a request brought a problem which may be the service's.

        Args:
            serial: the request's.
            following: serial of the next request to start.
            now: clock time.
            reason: the problem's own words.
            counts: whether it belongs to a row of problems that opens the circuit.

        Returns:
            A line for the user, once per outage.
        """
        if self._patience is None:
            self._patience = Patience(self._give_up_after_s, now)
        self.given_up = self._patience.spend(now)
        if self._opened_at is not None and serial >= self._opened_at:
            self._probe = None
            self._distance_s = min(self._distance_s * 2, self._longest_distance_s)
            self._put_off(now)
        elif counts:
            self._row += 1
            if self._row >= ROW_TO_OPEN:
                self.open(following, now)
        if self.is_open and not self._spoke and self.outage_s >= _SPEAK_AFTER_S:
            self._spoke = True
            return (
                f"no pixels for {duration(self.outage_s)} ({reason}); asking one at a time, "
                f"for up to {duration(self._give_up_after_s)}"
            )
        return None

    def dropped(self, serial: int) -> None:
        """Note that a request was cancelled: it told nothing, and the next one may probe."""
        if serial == self._probe:
            self._probe = None

    @property
    def _longest_distance_s(self) -> float:
        longest = _LONG_DISTANCE_S if self.outage_s >= _LONG_S else _DISTANCE_S
        return min(longest, self._give_up_after_s / 6)

    def _put_off(self, now: float) -> None:
        """Set the time of the next probe; the last one comes when patience ends."""
        wait = min(self._distance_s, self._longest_distance_s) * self._rng.uniform(0.8, 1.0)
        left = self._patience.left_s if self._patience else wait
        self.probe_at = now + (min(wait, left) if left > 0 else wait)
