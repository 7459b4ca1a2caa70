"""A service in virtual time, and a pool of workers that ask it through the real limiter and the real retries.

The service counts a request from its arrival to its answer, refuses at once what is too much (docs/contract.md §5.2), and
changes its mind at set times. The way there and back takes time, in which the client's count and the service's differ.
"""

from __future__ import annotations

import bisect
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from downloader.errors import Action, Cause, DownloadError, FetchProblem, StoppedError, TileError
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget, RetryPolicy, persist
from tests.virtual_clock import VirtualClock, run_virtual

__all__ = ["Phase", "Scenario", "Trace", "simulate"]

TRIP_S = 0.02
"""One way over the wire."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How the service behaves from a time on."""

    start_s: float
    quota: int = 40
    """Requests that may be under way."""
    per_minute: int | None = None
    """Requests that may start in any 60 s; None for no such quota."""
    reachable: bool = True
    """Whether connections are accepted."""
    errors: float = 0.0
    """Share of admitted requests that end with a 503."""
    stray: float = 0.0
    """Share of requests that are refused with a concurrency 429 though there is room."""
    retry_after_s: float | None = None
    """What a 429 asks to wait."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulated job."""

    phases: Sequence[Phase]
    seconds: float
    """When the job is stopped."""
    latency_s: float = 0.5
    """Mean time that the service takes for one request; single ones take 0.6 to 1.4 times that."""
    concurrency: int = 40
    requests_per_second: float = 90.0
    give_up_after_s: float = 900.0
    requests: int | None = None
    """Requests of the job; None for more than the time allows."""
    seed: int = 1


@dataclass(slots=True)
class Trace:
    """What happened."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    """(time of start, `ok`, a cause) of each call, in the order of their ends."""
    levels: list[tuple[float, int, int]] = field(default_factory=list)
    """(time, requests at the service, limiter's ceiling) at each arrival and departure."""
    starts: list[float] = field(default_factory=list)
    """Times at which the limiter let a request start."""
    notices: list[tuple[float, str]] = field(default_factory=list)
    failed: list[FetchProblem] = field(default_factory=list)
    """Requests that ended without pixels."""
    done: int = 0
    calls: int = 0
    retries: int = 0
    most_in_flight: int = 0
    ended: DownloadError | None = None
    ended_at: float = 0.0

    def share(self, cause: str, start_s: float, end_s: float, after: int = 0) -> float:
        """Share of the calls started between two times that ended with `cause`, the first `after` left out."""
        kinds = [kind for at, kind in sorted(self.answers) if start_s <= at < end_s][after:]
        return sum(kind == cause for kind in kinds) / len(kinds) if kinds else 0.0

    def reached(self, level: int, start_s: float) -> float:
        """Seconds from `start_s` until so many requests were at the service at once; inf for never."""
        return next(
            (at - start_s for at, count, _ in self.levels if at >= start_s and count >= level), float("inf")
        )

    def mean_level(self, start_s: float, end_s: float) -> float:
        """Mean number of requests at the service between two times."""
        area, last, count = 0.0, start_s, 0
        for at, now_there, _ in self.levels:
            if at > end_s:
                break
            if at > start_s:
                area += count * (at - last)
                last = at
            count = now_there
        return (area + count * (end_s - last)) / (end_s - start_s)


class _Service:
    def __init__(self, scenario: Scenario, clock: VirtualClock, trace: Trace, rng: random.Random) -> None:
        self._scenario, self._clock, self._trace, self._rng = scenario, clock, trace, rng
        self._changes = [phase.start_s for phase in scenario.phases]
        self._there = 0
        self._minute: deque[float] = deque()
        self.limiter: AdaptiveLimiter | None = None

    def _phase(self) -> Phase:
        return self._scenario.phases[bisect.bisect_right(self._changes, self._clock.now()) - 1]

    async def ask(self) -> None:
        await anyio.sleep(TRIP_S * self._rng.uniform(0.7, 1.3))
        phase, now = self._phase(), self._clock.now()
        if not phase.reachable:
            raise TileError(FetchProblem(Action.RETRY, Cause.NO_CONNECTION, "connection refused"))
        try:
            self._admit(phase, now)
            self._move(1)
            try:
                await anyio.sleep(self._scenario.latency_s * self._rng.uniform(0.6, 1.4))
            finally:
                self._move(-1)
            if self._rng.random() < phase.errors:
                raise TileError(FetchProblem(Action.RETRY, Cause.UNAVAILABLE, "503: unavailable", status=503))
        finally:
            await anyio.sleep(TRIP_S * self._rng.uniform(0.7, 1.3))

    def _admit(self, phase: Phase, now: float) -> None:
        while self._minute and self._minute[0] <= now - 60:
            self._minute.popleft()
        if phase.per_minute is not None and len(self._minute) >= phase.per_minute:
            raise TileError(_refusal("rate", phase))
        if self._there >= phase.quota or self._rng.random() < phase.stray:
            raise TileError(_refusal("concurrency", phase))
        self._minute.append(now)

    def _move(self, change: int) -> None:
        self._there += change
        assert self.limiter is not None
        self._trace.levels.append((self._clock.now(), self._there, self.limiter.ceiling))


def _refusal(limit: str, phase: Phase) -> FetchProblem:
    return FetchProblem(
        Action.SLOW,
        Cause(f"429 {limit}"),
        f"429: {limit} exceeded",
        429,
        retry_after_s=phase.retry_after_s,
        limit=limit,
    )


def simulate(scenario: Scenario) -> Trace:
    """Run the scenario and return its trace; the same each time."""
    return run_virtual(_simulate, scenario)


async def _simulate(scenario: Scenario) -> Trace:
    clock, trace, rng = VirtualClock(), Trace(), random.Random(scenario.seed)
    limiter = AdaptiveLimiter(
        scenario.concurrency,
        scenario.requests_per_second,
        clock,
        random.Random(scenario.seed + 1),
        scenario.give_up_after_s,
    )
    service = _Service(scenario, clock, trace, rng)
    service.limiter = limiter
    budget = RetryBudget()
    left = scenario.requests

    async def call() -> None:
        ticket = await limiter.acquire()
        begun = clock.now()
        trace.starts.append(begun)
        trace.most_in_flight = max(trace.most_in_flight, limiter.in_flight)
        problem: FetchProblem | None = FetchProblem(Action.RETRY, Cause.CANCELLED, "the job is over")
        try:
            await service.ask()
            problem = None
        except TileError as error:
            problem = error.problem
            raise
        finally:
            limiter.release(ticket, problem)
            if problem is None or problem.cause != Cause.CANCELLED:
                trace.answers.append((begun, problem.cause if problem else "ok"))

    async def work() -> None:
        nonlocal left
        while left is None or left > 0:
            left = None if left is None else left - 1
            try:
                await persist(call, RetryPolicy(), budget, clock, rng, lambda _problem, _attempt: None)
                trace.done += 1
            except TileError as error:
                trace.failed.append(error.problem)

    try:
        with (
            limiter.listen(lambda notice: trace.notices.append((clock.now(), notice.text))),
            anyio.move_on_after(scenario.seconds),
        ):
            async with anyio.create_task_group() as pool:
                for _ in range(scenario.concurrency + max(2, scenario.concurrency // 4)):
                    pool.start_soon(work)
    except* StoppedError as group:
        trace.ended = next(iter(_leaves(group)))
    trace.ended_at = clock.now()
    trace.calls, trace.retries = budget.calls, budget.retries
    return trace


def _leaves(group: BaseExceptionGroup[StoppedError]) -> list[StoppedError]:
    found: list[StoppedError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
