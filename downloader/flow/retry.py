"""Asking again: how often one request, and how often a whole job, may repeat a call that brought no pixels."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState

from downloader.errors import Action, FetchProblem, StoppedError, TileError
from downloader.flow.clock import Patience
from downloader.flow.limiter import MAX_PAUSE_S
from downloader.protocols import Clock

__all__ = ["UNREACHED", "RetryBudget", "RetryPolicy", "persist"]

T = TypeVar("T")

UNREACHED: Final = frozenset({"no connection", "no address"})
"""Causes of problems where no request reached the service: no traffic, and nothing that one tile could do about."""

_LAST_SLOW_TRY: Final = 3
"""Refusals in a row after which one that would end the job does (an HTML 403 of the front end, contract E20)."""

_AT_ONCE_S: Final = 0.5
"""Refusals closer together than this are one: those of requests that were under way at the same time."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one request is repeated."""

    retries: int = 8
    """Calls after the first that may be made because of its own failures."""
    max_wait_s: float = 60.0
    """Longest wait before a call."""
    total_s: float = 3600.0
    """Bound on all calls and waits of one request; above `limits.give_up_after`, which speaks for all requests."""
    first_wait_s: float = 1.0
    """Upper bound of the first wait; it doubles with each failure."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, got {self.retries}")
        for name in ("max_wait_s", "total_s", "first_wait_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")

    def wait_s(self, failures: int, rng: random.Random) -> float:
        """Full jitter: anything between 0 and `first_wait_s` · 2^(failures − 1), capped; failures start at 1."""
        doubled = self.first_wait_s * 2.0 ** min(max(failures - 1, 0), 32)
        return rng.uniform(0.0, min(self.max_wait_s, doubled))


class RetryBudget:
    """A job's allowance of retries: no more than a share of all its calls, and some to begin with (DESIGN §4).

    Calls that never reached the service are not traffic and cost nothing.
    """

    def __init__(self, share: float = 0.20, extra: int = 100) -> None:
        if not 0 <= share < 1 or extra < 0:
            raise ValueError(f"a retry budget needs 0 ≤ share < 1 and extra ≥ 0, got {share} and {extra}")
        self._share = share
        self.extra = extra
        """Retries allowed beyond the share; may be changed, as where a budget is divided anew among workers."""
        self.calls = 0
        """Calls made, retries included."""
        self.retries = 0
        """Calls that repeated one which brought nothing."""
        self._refusals = 0
        self._refused_at = float("-inf")

    @property
    def overspent(self) -> float:
        """Retries made so far beyond the share."""
        return max(0.0, self.retries - self._share * self.calls)

    def call(self) -> None:
        """A call is made for the first time."""
        self.calls += 1

    def spend(self) -> bool:
        """Take one retry out of the budget; False, and nothing is taken, when it is used up."""
        if self.retries + 1 > self._share * (self.calls + 1) + self.extra:
            return False
        self.calls += 1
        self.retries += 1
        return True

    def passed(self) -> None:
        """A call brought what it was made for."""
        self._refusals = 0

    def refused(self, now: float, pause_s: float) -> int:
        """The service refused the caller, whichever request it was; how often in a row, those of one time as one.

        Forty requests share the few slow tries that such a refusal is worth: one by one they would take hours.
        """
        if now - self._refused_at > max(_AT_ONCE_S, 0.5 * pause_s) or not self._refusals:
            self._refusals += 1
            self._refused_at = now
        return self._refusals


async def persist(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    budget: RetryBudget,
    clock: Clock,
    rng: random.Random,
    on_retry: Callable[[FetchProblem, int], None],
    *,
    can_split: bool = True,
) -> tuple[T, int]:
    """Make `call` until it returns, as far as `policy` and `budget` allow.

    Only problems to retry or to slow down for are repeated. Those of the first kind count against
    `policy.retries`, after a full-jitter exponential wait. A 429 or an unreachable service is everybody's affair:
    the limiter, which `call` has to pass, makes it wait, probes, and ends the job after `limits.give_up_after`; it
    costs this request no retry. A second 504 becomes a split (contract E29).

    Args:
        call: passes the limiter and makes one call; raises TileError where it brought no pixels.
        policy: bounds of this request.
        budget: bounds of the whole job.
        clock: for waits.
        rng: for jitter.
        on_retry: told of each problem whose call will be repeated, and the number of that call, from 1.
        can_split: whether the request could be split; if not, a 504 is an error like others.

    Returns:
        What `call` returned, and the calls it took.

    Raises:
        TileError: its problem says what to do: its own action; SPLIT after the second 504; FAIL_TILE when the
            request's retries or the job's budget are used up; FAIL_JOB for a refusal of the caller that lasts.
        StoppedError: `call` raised it, or 429s have used up the job's budget: the service has no room for this job,
            and no tile is to blame.
    """
    tries = _Tries(policy, budget, clock, rng, on_retry, can_split)
    retrying = AsyncRetrying(
        sleep=clock.sleep,
        retry=tries.again,
        wait=tries.wait_s,
        before_sleep=tries.tell,
        reraise=True,
    )
    budget.call()
    value: T = await retrying(call)
    budget.passed()
    return value, tries.calls + 1


class _Tries:
    """One request's calls so far, in the form of tenacity's hooks."""

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        clock: Clock,
        rng: random.Random,
        on_retry: Callable[[FetchProblem, int], None],
        can_split: bool,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._rng = rng
        self._on_retry = on_retry
        self._can_split = can_split
        self._patience = Patience(policy.total_s, clock.now())
        self._failures = 0
        self._timeouts = 0
        self._waits_for_all = False
        self.calls = 0
        """Calls that brought a problem."""

    def again(self, state: RetryCallState) -> bool:
        """Whether to call once more; raises what ends the request where that is not the problem itself."""
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, TileError):
            return False
        self.calls += 1
        problem = error.problem
        if problem.action not in {Action.RETRY, Action.SLOW}:
            return False
        self._judge(problem, error)
        if problem.cause not in UNREACHED and not self._budget.spend():
            self._end_for_budget(problem, error)
        return True

    def wait_s(self, state: RetryCallState) -> float:
        """Seconds to wait: the jitter, and what the service asked for, which the limiter lets all others wait too."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.problem.retry_after_s if isinstance(error, TileError) else None
        jitter = self._policy.wait_s(1 if self._waits_for_all else self._failures, self._rng)
        return jitter + min(max(asked or 0.0, 0.0), MAX_PAUSE_S)

    def tell(self, state: RetryCallState) -> None:
        """The call will be repeated."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TileError):
            self._on_retry(error.problem, self.calls)

    def _judge(self, problem: FetchProblem, error: TileError) -> None:
        """Count the problem where it belongs, and end the request where that is too many."""
        late = self._patience.spend(self._clock.now())
        slow = problem.action is Action.SLOW
        self._waits_for_all = slow or problem.cause in UNREACHED
        if slow and problem.ends_with is not StoppedError:
            refusals = self._budget.refused(self._clock.now(), problem.retry_after_s or 0.0)
            if refusals >= _LAST_SLOW_TRY:
                raise TileError(problem.become(Action.FAIL_JOB)) from error
        if problem.status == 504 and self._can_split:
            self._timeouts += 1
            if self._timeouts >= 2:
                raise TileError(problem.become(Action.SPLIT)) from error
        if not self._waits_for_all:
            self._failures += 1
        if late or self._failures > self._policy.retries:
            raise TileError(problem.become(Action.FAIL_TILE)) from error

    def _end_for_budget(self, problem: FetchProblem, error: TileError) -> None:
        if self._waits_for_all:
            raise StoppedError(
                f"{self._budget.retries:,} of {self._budget.calls:,} calls had to be repeated, the last for: "
                f"{problem.message}. Everything fetched so far is saved; run the same command again later."
            ) from error
        raise TileError(problem.become(Action.FAIL_TILE)) from error
