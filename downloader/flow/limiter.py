"""The one limiter of a job: who may ask the service, and when (DESIGN §6)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import anyio

from downloader.errors import Action, FetchProblem, StoppedError
from downloader.events import Notice
from downloader.flow.circuit_breaker import Circuit
from downloader.flow.concurrency import Ceiling, Ticket
from downloader.flow.rate import Pace
from downloader.protocols import Clock
from downloader.text import duration

__all__ = ["CANCELLED", "MAX_PAUSE_S", "AdaptiveLimiter"]

CANCELLED = "cancelled"
"""Cause of a problem that says nothing about the service: the request was given up on this side."""

MAX_PAUSE_S = 300.0
"""A longer `Retry-After` is cut to this."""

_RATE_PROBE_S = 1.0
"""First distance between probes after a rate 429."""

_RESTRICTED_FOR_S = 600.0
"""A restriction counts as lifted when the service did not mention it for so long."""


class AdaptiveLimiter:
    """`seams.Limiter`: paced starts under a ceiling that follows the service's quota; first come, first served.

    One state for all: open to requests, paused until a time (`Retry-After`), reduced to one probing request at a
    time (after sustained failure, or where not even one request is let pass), and closed for good once nothing came
    for `give_up_after_s`. See `Ceiling`, `Pace` and `Circuit` for the rules. Not for use from threads.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_second: float,
        clock: Clock,
        rng: random.Random,
        give_up_after_s: float,
        notice: Callable[[Notice], object],
    ) -> None:
        now = clock.now()
        self._clock = clock
        self._notice = notice
        self._concurrency = concurrency
        self._give_up_after_s = give_up_after_s
        self._ceiling = Ceiling(concurrency, rng, now)
        self._pace = Pace(requests_per_second, now)
        self._circuit = Circuit(give_up_after_s, rng)
        self._tickets: dict[int, Ticket] = {}
        self._serial = 0
        self._rate_cut = 0
        """Serial of the first request that started after the pace was last lowered."""
        self._paused_until = now
        self._restricted_at: float | None = None
        self._last_problem = ""
        self._turn = anyio.Lock()
        """Held by the first in the queue, who alone waits for a slot; anyio hands it on in order."""
        self._changed = anyio.Event()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._tickets)

    @property
    def in_doubt(self) -> bool:
        """Whether so much failed that the service itself may be out, and one request at a time finds out."""
        return self._circuit.is_open

    @property
    def ceiling(self) -> int:
        """Requests that may be under way at the moment."""
        return 1 if self._circuit.is_open else self._ceiling.limit

    @property
    def rate(self) -> float:
        """Starts per second at the moment."""
        return self._pace.rate

    async def acquire(self) -> int:
        """Return when a request may start, with a ticket to give back. A cancelled wait takes nothing.

        Raises:
            StoppedError: the limiter gave up on the service.
        """
        async with self._turn:
            while (wait_s := self._wait_s()) > 0:
                await self._wait(wait_s)
            return self._start()

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """The request ended: with pixels (None) or with a problem. Never waits; each ticket once."""
        known = self._tickets.pop(ticket)
        now = self._clock.now()
        if problem is not None and problem.cause == CANCELLED:
            self._circuit.dropped(ticket)
        elif problem is None or problem.action not in {Action.RETRY, Action.SLOW}:
            self._answered(known, now)
        else:
            self._failed(known, problem, self.in_flight + 1, now)
        self._look_again()

    def restrict(self) -> None:
        """The service said that it restricts this project's parallelism (contract §5.2): halve, and say so once."""
        if self._restricted_at is None:
            half = max(1, self._concurrency // 2)
            self._notice(
                Notice(
                    f"the service restricts this project's parallelism (its compute allowance is used up): "
                    f"going on with {half} requests at a time in place of {self._concurrency}",
                    "restricted",
                    "warning",
                    {"concurrency": half},
                )
            )
            self._ceiling.set_most(half, self._serial)
        self._restricted_at = self._clock.now()

    def set_concurrency(self, concurrency: int) -> None:
        """Change the number of requests that are never exceeded, as where a quota is divided anew among workers."""
        self._concurrency = concurrency
        self._ceiling.set_most(self._most, self._serial)
        self._look_again()

    def set_rate(self, requests_per_second: float) -> None:
        """Change the starts per second that are never exceeded. Raises ValueError for 0 and less."""
        self._pace.set_most(requests_per_second)
        self._look_again()

    @property
    def has_given_up(self) -> bool:
        """Whether nothing came for so long that no request starts any more."""
        return self._circuit.given_up

    @property
    def _most(self) -> int:
        return self._concurrency if self._restricted_at is None else max(1, self._concurrency // 2)

    def _wait_s(self) -> float:
        """Seconds until the first in the queue may start: 0 for now, inf for when something changes."""
        if self._circuit.given_up:
            raise StoppedError(
                f"the service sent no pixels for {duration(self._give_up_after_s)} (last: {self._last_problem}). "
                "Everything fetched so far is saved; run the same command again to continue."
            )
        if self.in_flight >= self._ceiling.limit or (self._circuit.is_open and self._circuit.probing):
            return math.inf
        start_at = max(self._paused_until, self._pace.ready_at())
        if self._circuit.is_open:
            start_at = max(start_at, self._circuit.probe_at)
        return max(0.0, start_at - self._clock.now())

    async def _wait(self, seconds: float) -> None:
        """Wait for a time, and for what may bring it forward."""
        self._changed = anyio.Event()
        if math.isinf(seconds):
            await self._changed.wait()
            return
        async with anyio.create_task_group() as either:
            either.start_soon(self._wake_after, seconds, self._changed)
            await self._changed.wait()
            either.cancel_scope.cancel()

    async def _wake_after(self, seconds: float, event: anyio.Event) -> None:
        await self._clock.sleep(seconds)
        event.set()

    def _look_again(self) -> None:
        self._changed.set()

    def _start(self) -> int:
        now = self._clock.now()
        serial = self._serial
        self._serial += 1
        self._tickets[serial] = Ticket(serial, self.in_flight + 1, now)
        self._pace.start(now)
        self._circuit.start(serial)
        return serial

    def _answered(self, ticket: Ticket, now: float) -> None:
        self._pace.passed(now)
        if self._restricted_at is not None and now - self._restricted_at >= _RESTRICTED_FOR_S:
            self._restricted_at = None
            self._ceiling.set_most(self._most, self._serial)
        self._ceiling.answered(ticket, self._serial, now)
        closed, line = self._circuit.answered(ticket.serial)
        if closed and self._ceiling.limit == 1:
            self._ceiling.forget(self._serial)
        if line:
            self._notice(Notice(line, "recovered"))

    def _failed(self, ticket: Ticket, problem: FetchProblem, under_way: int, now: float) -> None:
        self._last_problem = problem.message
        slow = problem.action is Action.SLOW
        if problem.retry_after_s is not None:
            pause_s = min(max(problem.retry_after_s, 0.0), MAX_PAUSE_S)
            self._paused_until = max(self._paused_until, now + pause_s)
        line = self._circuit.failed(ticket.serial, self._serial, now, problem.message, counts=not slow)
        if slow and problem.limit == "rate":
            if ticket.serial >= self._rate_cut:
                self._rate_cut = self._serial
                self._pace.refused(now)
                self._circuit.open(self._serial, now, _RATE_PROBE_S)
        elif slow and self._ceiling.refused(ticket, under_way, self._serial, now):
            self._circuit.open(self._serial, now)
        if line:
            self._notice(
                Notice(line, "outage", "warning", {"cause": problem.cause, "status": problem.status})
            )
