"""The limiter of a job: which requests may be sent, and when (docs/flow.md)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from downloader.errors import Action, Cause, FetchProblem, StoppedError
from downloader.events import Notice
from downloader.flow.circuit_breaker import Circuit
from downloader.flow.concurrency import AdaptiveConcurrency, Ticket
from downloader.flow.rate import StartRate
from downloader.protocols import Clock
from downloader.text import duration

MAX_PAUSE_S = 300.0
"""A longer `Retry-After` is cut to this."""

_NEUTRAL = {Cause.CANCELLED, Cause.TOKEN_RENEWED, Cause.IDLE_CONNECTION}
"""Causes that say nothing about how the service is: given up on this side, an old token, a connection kept too long."""

_RATE_PROBE_S = 1.0
"""First distance between probes after a rate 429."""

_RESTRICTED_FOR_S = 600.0
"""A restriction counts as lifted when the service did not mention it for so long."""


class AdaptiveLimiter:
    """Paced starts under a ceiling that follows the service's quota; first come, first served.

    One state for all: open to requests, paused until a time (`Retry-After`), reduced to one probing request at a
    time (after sustained failure, or where not even one request is let pass), and closed for good once nothing came
    for `give_up_after_s`. See `AdaptiveConcurrency`, `StartRate` and `Circuit` for the rules. Not for use from threads.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_second: float,
        clock: Clock,
        rng: random.Random,
        give_up_after_s: float,
    ) -> None:
        now = clock.now()
        self._clock = clock
        self._listeners: list[Callable[[Notice], object]] = []
        self._concurrency = concurrency
        self._give_up_after_s = give_up_after_s
        self._ceiling = AdaptiveConcurrency(concurrency, rng, now)
        self._rate = StartRate(requests_per_second, now)
        self._circuit = Circuit(give_up_after_s, rng)
        self._tickets: dict[int, Ticket] = {}
        self._serial = 0
        self.starts = 0
        """Requests that were let start."""
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
        return self._rate.rate

    @property
    def is_listened_to(self) -> bool:
        """Whether a job is using it."""
        return bool(self._listeners)

    @contextmanager
    def listen(self, notice: Callable[[Notice], object]) -> Iterator[None]:
        """Tell `notice` of outages and restrictions while the block runs, also of one that was noticed before."""
        self._listeners.append(notice)
        if self._restricted_at is not None:
            notice(self._restriction())
        try:
            yield
        finally:
            self._listeners.remove(notice)

    async def acquire(self) -> int:
        """Return when a request may start, with a ticket to give back. A cancelled wait takes nothing.

        Raises:
            StoppedError: the limiter gave up on the service.
        """
        async with self._turn:
            while (wait_s := self._wait_s()) > 0:
                await self._wait(wait_s)
            return self._start()

    async def again(self, ticket: int) -> None:
        """Return when another request may start in the place of the one that holds `ticket`, which it keeps."""
        assert ticket in self._tickets  # noqa: S101  # its holder's mistake
        while (wait_s := self._rate.ready_at() - self._clock.now()) > 0:
            await self._clock.sleep(wait_s)
        self._rate.start(self._clock.now())
        self.starts += 1

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """End a request: with pixels (None) or with a problem. Never waits; each ticket once."""
        known = self._tickets.pop(ticket)
        now = self._clock.now()
        if problem is not None and problem.cause in _NEUTRAL:
            self._circuit.dropped(ticket)
            self._pause(problem, now)
        elif problem is None or problem.action not in {Action.RETRY, Action.SLOW}:
            self._answered(known, now)
        else:
            self._failed(known, problem, self.in_flight + 1, now)
        self._look_again()

    def restrict(self) -> None:
        """Halve the concurrency: the service says that it restricts this project's (docs/contract.md §5.2). Told once."""
        if self._restricted_at is None:
            self._tell(self._restriction())
            self._ceiling.set_most(max(1, self._concurrency // 2), self._serial)
        self._restricted_at = self._clock.now()

    def set_concurrency(self, concurrency: int) -> None:
        """Change the largest number of requests under way, as when a quota is divided anew among workers."""
        self._concurrency = concurrency
        self._ceiling.set_most(self._most, self._serial)
        self._look_again()

    def set_rate(self, requests_per_second: float) -> None:
        """Change the largest number of starts per second."""
        self._rate.set_most(requests_per_second)
        self._look_again()

    @property
    def has_given_up(self) -> bool:
        """Whether nothing came for so long that no request starts any more."""
        return self._circuit.given_up

    @property
    def _most(self) -> int:
        return self._concurrency if self._restricted_at is None else max(1, self._concurrency // 2)

    def _restriction(self) -> Notice:
        half = max(1, self._concurrency // 2)
        return Notice(
            f"the service restricts this project's parallelism (its compute allowance is used up): "
            f"going on with {half} requests at a time in place of {self._concurrency}",
            "restricted",
            "warning",
            {"concurrency": half},
        )

    def _tell(self, notice: Notice) -> None:
        for listener in tuple(self._listeners):
            listener(notice)

    def _pause(self, problem: FetchProblem, now: float) -> None:
        if problem.retry_after_s is not None:
            pause_s = min(max(problem.retry_after_s, 0.0), MAX_PAUSE_S)
            self._paused_until = max(self._paused_until, now + pause_s)

    def _wait_s(self) -> float:
        """Return the seconds until the first in the queue may start: 0 for now, inf for when something changes."""
        if self._circuit.given_up:
            raise StoppedError(
                f"the service sent no pixels for {duration(self._give_up_after_s)} (last: {self._last_problem}). "
                "Everything fetched so far is saved; run the job again to continue."
            )
        if self.in_flight >= self._ceiling.limit or (self._circuit.is_open and self._circuit.probing):
            return math.inf
        start_at = max(self._paused_until, self._rate.ready_at())
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
        self.starts += 1
        self._tickets[serial] = Ticket(serial, self.in_flight + 1, now)
        self._rate.start(now)
        self._circuit.start(serial)
        return serial

    def _answered(self, ticket: Ticket, now: float) -> None:
        self._rate.passed(now)
        if self._restricted_at is not None and now - self._restricted_at >= _RESTRICTED_FOR_S:
            self._restricted_at = None
            self._ceiling.set_most(self._most, self._serial)
        self._ceiling.answered(ticket, self._serial, now)
        closed, line = self._circuit.answered(ticket.serial)
        if closed and self._ceiling.limit == 1:
            self._ceiling.forget(self._serial)
        if line:
            self._tell(Notice(line, "recovered"))

    def _failed(self, ticket: Ticket, problem: FetchProblem, under_way: int, now: float) -> None:
        self._last_problem = problem.message
        slow = problem.action is Action.SLOW
        self._pause(problem, now)
        line = self._circuit.failed(ticket.serial, self._serial, now, problem.message, counts=not slow)
        if slow and problem.limit == "rate":
            if ticket.serial >= self._rate_cut:
                self._rate_cut = self._serial
                self._rate.refused(now)
                self._circuit.open(self._serial, now, _RATE_PROBE_S)
        elif slow and self._ceiling.refused(ticket, under_way, self._serial, now):
            self._circuit.open(self._serial, now)
        if line:
            self._tell(Notice(line, "outage", "warning", {"cause": problem.cause, "status": problem.status}))
