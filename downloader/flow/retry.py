"""Repeating of calls that brought nothing, within the bounds of a request and of its job."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from downloader.errors import Action, Cause, FetchProblem, StoppedError, TileError
from downloader.flow.clock import Patience
from downloader.flow.limiter import MAX_PAUSE_S
from downloader.protocols import Clock

if TYPE_CHECKING:
    from tenacity import RetryCallState


T = TypeVar("T")

_MAX_WAIT_S: Final = 60.0
"""Longest wait before a call, unless the service asks for a longer one."""

_LAST_SLOW_TRY: Final = 3
"""Refusals in a row after which one that would end the job does (an HTML 403 of the front end)."""

_AT_ONCE_S: Final = 0.5
"""Refusals closer together than this are one: those of requests that were under way at the same time."""

_SHARE: Final = 0.20
"""Retries that a job may make, as a share of all its calls."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on the repeats of one request."""

    retries: int = 8
    """Calls after the first that may be made because of its own failures."""
    total_s: float = 3600.0
    """Bound on all calls and waits of one request; above `limits.give_up_after`, which speaks for all requests."""


class RetryBudget:
    """The retries of a whole job: no more than 20 % of all its calls, and some to begin with.

    Calls that never reached the service are not traffic and cost nothing.
    """

    def __init__(self, extra: int = 100) -> None:
        self.extra = extra
        """Retries allowed beyond the share; changed where a budget is divided anew among workers."""
        self.calls = 0
        """Calls made, retries included."""
        self.retries = 0
        """Calls that repeated one which brought nothing."""
        self._refusals = 0
        self._refused_at = float("-inf")

    @property
    def overspent(self) -> float:
        """Retries made so far beyond the share."""
        return max(0.0, self.retries - _SHARE * self.calls)

    def call(self) -> None:
        """Count a call that is made for the first time."""
        self.calls += 1

    def spend(self) -> bool:
        """Take one retry out of the budget; return False, and take nothing, when it is used up."""
        if self.retries + 1 > _SHARE * (self.calls + 1) + self.extra:
            return False
        self.calls += 1
        self.retries += 1
        return True

    def passed(self) -> None:
        """Note that a call brought what it was made for."""
        self._refusals = 0

    def refused(self, now: float, pause_s: float) -> int:
        """Note that the service refused the caller; return how often in a row, refusals of one time as one.

        Forty requests share the few slow tries that such a refusal is worth: one by one they would take hours.
        """
        if now - self._refused_at > max(_AT_ONCE_S, 0.5 * pause_s) or not self._refusals:
            self._refusals += 1
            self._refused_at = now
        return self._refusals


async def repeat(
    call: Callable[[], Awaitable[T]], wait_after: Callable[[TileError], float], clock: Clock
) -> T:
    """Return what `call` returns; after a `TileError` make it again, as long as `wait_after` allows.

    Args:
        call: makes one call.
        wait_after: given the error of a call, returns the seconds until the next one, or raises what ends the calls.
        clock: for waits.
    """

    async def once() -> (
        T
    ):  # a coroutine function, since the library does not await what other functions return
        return await call()

    try:
        return await once()
    except TileError as error:
        wait_s = wait_after(error)
    # Most calls succeed, and need neither the library nor the time that each of its loops takes.
    from tenacity import AsyncRetrying, retry_if_exception_type

    def wait(state: RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        assert isinstance(error, TileError)  # noqa: S101  # nothing else is repeated
        return wait_after(error)

    await clock.sleep(wait_s)
    return await AsyncRetrying(retry=retry_if_exception_type(TileError), wait=wait, sleep=clock.sleep)(once)


class Tries:
    """The calls of one request so far, and what follows from their problems."""

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Clock,
        rng: random.Random,
        on_retry: Callable[[FetchProblem], object] = lambda _: None,
        budget: RetryBudget | None = None,
        can_split: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start with no calls.

        Args:
            policy: bounds of this request.
            clock: for measuring how long it takes.
            rng: for jitter.
            on_retry: told of each problem after which there is another call.
            budget: bounds of the job whose pixels are asked for; None for any other request.
            can_split: tells whether the request could be split.
        """
        self._policy = policy
        self._on_retry = on_retry
        self._clock = clock
        self._rng = rng
        self._budget = budget
        self._can_split = can_split
        self._patience = Patience(policy.total_s, clock.now())
        self._failures = 0
        self._seen: Counter[Cause] = Counter()
        self.calls = 0
        """Calls that brought a problem."""

    def wait_after(self, error: TileError) -> float:
        """Return the seconds until the next call. Raises TileError or StoppedError where there is to be none.

        The wait is drawn evenly from 0 to a bound that doubles with each failure ("full jitter"), after what the
        service itself asked for. Two problems are repeated at once: a kept connection that the other side had closed,
        the first time, and an access token that has been renewed, which costs no retry.
        """
        self.calls += 1
        problem, budget = error.problem, self._budget
        cause = problem.cause
        if problem.action not in {Action.RETRY, Action.SLOW}:
            raise error
        self._seen[cause] += 1
        is_late = self._patience.spend(self._clock.now())
        if budget is not None:
            self._judge(error, budget)
        # Every request for pixels would have met it, so that the limiter decides.
        is_for_all = budget is not None and (problem.action is Action.SLOW or cause.never_arrived)
        is_own = not is_for_all and cause is not Cause.TOKEN_RENEWED
        self._failures += is_own
        if is_late or self._failures > self._policy.retries:
            self._give_up(error)
        wait_s = min(max(problem.retry_after_s or 0.0, 0.0), MAX_PAUSE_S)
        is_idle = cause is Cause.IDLE_CONNECTION and self._seen[cause] == 1
        if not is_idle and cause is not Cause.TOKEN_RENEWED:
            bound_s = 2.0 ** min(max(self._failures - 1, 0), 32) if is_own else 1.0
            wait_s += self._rng.uniform(0.0, min(bound_s, _MAX_WAIT_S))
        if self._patience.left_s < wait_s:
            self._give_up(error)
        self._patience.plan(wait_s)
        if budget is not None and not cause.never_arrived and not budget.spend():
            if not is_for_all:
                self._give_up(error)
            raise StoppedError(
                f"{budget.retries:,} of {budget.calls:,} calls had to be repeated, the last for: {problem.message}."
                " Everything fetched so far is saved; run the job again later."
            ) from error
        self._on_retry(problem)
        return wait_s

    def _judge(self, error: TileError, budget: RetryBudget) -> None:
        """Raise what ends a request for pixels before its retries are counted."""
        problem = error.problem
        if problem.action is Action.SLOW and problem.ends_with is not StoppedError:
            refusals = budget.refused(self._clock.now(), problem.retry_after_s or 0.0)
            if refusals >= _LAST_SLOW_TRY:
                raise TileError(problem.become(Action.FAIL_JOB)) from error
        seen = self._seen[problem.cause]
        if problem.split_after is not None and seen >= problem.split_after and self._can_split():
            raise TileError(problem.become(Action.SPLIT)) from error

    def _give_up(self, error: TileError) -> NoReturn:
        if self._budget is None:
            raise error
        raise TileError(error.problem.become(Action.FAIL_TILE)) from error


async def persist(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    budget: RetryBudget,
    clock: Clock,
    rng: random.Random,
    on_retry: Callable[[FetchProblem, int], None],
    can_split: Callable[[], bool] = lambda: True,
) -> T:
    """Make `call` until it returns, as far as `policy` and `budget` allow.

    Only problems to retry or to slow down for are repeated. Those of the first kind count against
    `policy.retries`, after a full-jitter exponential wait. A 429 or an unreachable service concerns all requests:
    the limiter, which `call` has to pass, makes it wait, probes, and ends the job after `limits.give_up_after`; it
    costs this request no retry. Some problems become a split when they come again (`FetchProblem.split_after`).

    Args:
        call: passes the limiter and makes one call; raises TileError where it brought no pixels.
        policy: bounds of this request.
        budget: bounds of the whole job.
        clock: for waits.
        rng: for jitter.
        on_retry: told of each problem whose call will be repeated, and the number of that call, from 1.
        can_split: tells whether the request could be split.

    Raises:
        TileError: its problem says what to do: its own action; SPLIT; FAIL_TILE when the request's retries or the job's
            budget are used up; FAIL_JOB for a refusal of the caller that lasts.
        StoppedError: `call` raised it, or 429s have used up the job's budget: the service has no room for this job,
            and no tile is to blame.
    """
    tries = Tries(policy, clock, rng, lambda problem: on_retry(problem, tries.calls), budget, can_split)
    budget.call()
    value = await repeat(call, tries.wait_after, clock)
    budget.passed()
    return value
