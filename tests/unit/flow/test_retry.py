import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import (
    Action,
    AuthenticationError,
    Cause,
    FetchProblem,
    JobError,
    StoppedError,
    TileError,
)
from downloader.flow.clock import MonotonicClock
from downloader.flow.retry import RetryBudget, RetryPolicy, Tries, persist, repeat
from tests.virtual_clock import VirtualClock, run_virtual

RESET = FetchProblem(Action.RETRY, Cause.RESET, "connection reset", ends_with=JobError)
REFUSED = FetchProblem(Action.RETRY, Cause.NO_CONNECTION, "connection refused", ends_with=JobError)
TOO_MANY = FetchProblem(Action.SLOW, Cause.CONCURRENCY, "429: too many", 429)
LATE = FetchProblem(Action.RETRY, Cause.GATEWAY_TIMEOUT, "504: deadline exceeded", 504, split_after=2)
BLOCKED = FetchProblem(Action.SLOW, Cause.FRONT_END, "403: blocked", 403, 30.0, "rate", AuthenticationError)

IDLE = FetchProblem(Action.RETRY, Cause.IDLE_CONNECTION, "closed")
RENEWED = FetchProblem(Action.RETRY, Cause.TOKEN_RENEWED, "401: expired", 401)


class Calls:
    """Raises these problems, one after the other, then returns."""

    def __init__(self, *problems: FetchProblem) -> None:
        self.problems = list(problems)
        self.times: list[float] = []
        self.told: list[tuple[str, int]] = []
        self.budget = RetryBudget()
        self.clock = VirtualClock()

    async def __call__(self) -> str:
        self.times.append(self.clock.now())
        if len(self.times) <= len(self.problems):
            raise TileError(self.problems[len(self.times) - 1])
        return "pixels"

    def run(self, policy: RetryPolicy | None = None, **keywords: bool) -> tuple[str, int]:
        async def main() -> tuple[str, int]:
            value = await persist(
                self,
                policy or RetryPolicy(),
                self.budget,
                self.clock,
                random.Random(1),
                lambda problem, attempt: self.told.append((problem.cause, attempt)),
                **keywords,
            )
            return value, len(self.times)

        return run_virtual(main)

    def fail(self, policy: RetryPolicy | None = None, **keywords: bool) -> FetchProblem:
        with pytest.raises(TileError) as caught:
            self.run(policy, **keywords)
        return caught.value.problem


def test_a_call_that_works_is_made_once():
    calls = Calls()
    assert calls.run() == ("pixels", 1)
    assert (calls.told, calls.budget.calls, calls.budget.retries) == ([], 1, 0)


def test_what_is_called_may_be_a_plain_function_that_returns_a_coroutine():
    calls = Calls(RESET)

    def call():
        return calls()

    value = run_virtual(lambda: repeat(call, lambda _: 1.0, calls.clock))
    assert (value, len(calls.times)) == ("pixels", 2)


def test_transient_problems_are_repeated_and_told():
    calls = Calls(RESET, LATE, RESET)
    assert calls.run() == ("pixels", 4)
    assert calls.told == [("reset", 1), ("504", 2), ("reset", 3)]
    assert (calls.budget.calls, calls.budget.retries) == (4, 3)


@pytest.mark.parametrize("action", [Action.SPLIT, Action.FAIL_TILE, Action.FAIL_ASSET, Action.FAIL_JOB])
def test_other_problems_are_not_repeated(action: Action):
    calls = Calls(RESET.become(action))
    assert calls.fail() == RESET.become(action)
    assert len(calls.times) == 1
    assert calls.told == []


def test_errors_of_another_kind_go_through():
    async def broken() -> None:
        raise StoppedError("the limiter gave up")

    async def main() -> None:
        await persist(
            broken, RetryPolicy(), RetryBudget(), VirtualClock(), random.Random(1), lambda _p, _n: None
        )

    with pytest.raises(StoppedError):
        run_virtual(main)


def test_the_last_problem_fails_the_tile_after_the_retries():
    calls = Calls(*[RESET] * 100)
    assert calls.fail(RetryPolicy(retries=3)) == RESET.become(Action.FAIL_TILE)
    assert len(calls.times) == 4
    assert [attempt for _, attempt in calls.told] == [1, 2, 3]
    assert calls.budget.retries == 3


def test_no_retries_is_one_call():
    calls = Calls(RESET)
    assert calls.fail(RetryPolicy(retries=0)).action is Action.FAIL_TILE
    assert len(calls.times) == 1


@pytest.mark.parametrize("problem", [TOO_MANY, REFUSED])
def test_refusals_and_an_unreachable_service_cost_no_retry(problem: FetchProblem):
    calls = Calls(*[problem] * 60, RESET, RESET)
    assert calls.run(RetryPolicy(retries=2)) == ("pixels", 63)
    waits = [b - a for a, b in zip(calls.times, calls.times[1:60], strict=False)]
    assert max(waits) <= 1


def test_unreached_calls_are_no_traffic():
    calls = Calls(*[REFUSED] * 500)
    assert calls.run() == ("pixels", 501)
    assert calls.budget.retries == 0


def test_total_time_is_bounded_also_for_refusals():
    calls = Calls(*[FetchProblem(Action.SLOW, Cause.CONCURRENCY, "429", 429, retry_after_s=200)] * 1000)
    assert calls.fail(RetryPolicy(total_s=3600)).action is Action.FAIL_TILE
    assert 3600 - 201 <= calls.times[-1] <= 3600


def test_a_leap_of_the_clock_fails_no_tile():
    calls = Calls(RESET)

    async def main() -> str:
        async def call() -> str:
            calls.clock.jump(36_000)
            return await calls()

        return await persist(
            call, RetryPolicy(), calls.budget, calls.clock, random.Random(1), lambda _p, _n: None
        )

    assert run_virtual(main) == "pixels"
    assert len(calls.times) == 2


@pytest.mark.parametrize(("asked", "waited"), [(45.0, 45.0), (10_000.0, 300.0)])
def test_what_the_service_asks_to_wait_is_waited(asked: float, waited: float):
    calls = Calls(FetchProblem(Action.RETRY, Cause.UNAVAILABLE, "503", 503, retry_after_s=asked))
    calls.run()
    assert waited <= calls.times[1] - calls.times[0] <= waited + 1


def test_a_second_504_becomes_a_split():
    calls = Calls(LATE, RESET, LATE)
    assert calls.fail() == LATE.become(Action.SPLIT)
    assert len(calls.times) == 3


def test_a_504_of_what_cannot_be_split_is_an_error_like_others():
    calls = Calls(LATE, LATE, LATE)
    assert calls.run(can_split=lambda: False) == ("pixels", 4)


def test_a_lasting_refusal_of_the_caller_ends_the_job():
    calls = Calls(*[BLOCKED] * 10)
    problem = calls.fail()
    assert (problem.action, problem.ends_with) == (Action.FAIL_JOB, AuthenticationError)
    assert len(calls.times) == 3
    assert calls.times[-1] >= 60


def test_forty_requests_share_the_slow_tries_of_a_refusal():
    budget = RetryBudget()
    assert [budget.refused(100.0 + n / 100, 30.0) for n in range(40)] == [1] * 40, (
        "under way at the same time"
    )
    assert budget.refused(131.0, 30.0) == 2
    assert budget.refused(162.0, 30.0) == 3


def test_pixels_in_between_forgive_a_refusal():
    budget = RetryBudget()
    assert budget.refused(0.0, 30.0) == 1
    budget.passed()
    assert budget.refused(40.0, 30.0) == 1


def test_a_spent_budget_fails_the_tile_for_its_own_errors():
    calls = Calls(*[RESET] * 5)
    calls.budget = RetryBudget(extra=1)
    assert calls.fail() == RESET.become(Action.FAIL_TILE)
    assert calls.budget.retries == 1


def test_a_spent_budget_stops_the_job_for_refusals():
    calls = Calls(*[TOO_MANY] * 500)
    with pytest.raises(StoppedError, match="had to be repeated, the last for: 429: too many"):
        calls.run()
    assert calls.budget.retries <= 0.2 * calls.budget.calls + 100


@given(st.lists(st.booleans(), max_size=600), st.integers(0, 20))
def test_retries_never_pass_their_share(story: list[bool], extra: int):
    budget = RetryBudget(extra)
    granted = 0
    for is_retry in story:
        if not is_retry:
            budget.call()
        elif budget.spend():
            granted += 1
        assert budget.retries == granted <= 0.2 * budget.calls + extra
    assert budget.calls == granted + story.count(False)


@given(st.integers(0, 12), st.integers(0, 2**32))
def test_waits_are_jittered_below_a_doubling_cap(failures: int, seed: int):
    tries = Tries(RetryPolicy(retries=100, total_s=1e6), MonotonicClock(), random.Random(seed))
    waits = [tries.wait_after(TileError(RESET)) for _ in range(failures)]
    assert all(0 <= wait <= min(60, 2.0**number) for number, wait in enumerate(waits))


def test_waits_use_the_whole_range():
    """Full jitter: many requests that failed together do not come back together."""
    rng = random.Random(1)

    def fifth() -> float:
        tries = Tries(RetryPolicy(), MonotonicClock(), rng)
        return [tries.wait_after(TileError(RESET)) for _ in range(5)][-1]

    waits = [fifth() for _ in range(1000)]
    assert min(waits) < 1
    assert max(waits) > 15
    assert 7 < sum(waits) / 1000 < 9


def test_a_connection_that_was_closed_while_idle_is_repeated_at_once_and_is_a_retry():
    calls = Calls(IDLE, RESET)
    assert calls.run(RetryPolicy(retries=2)) == ("pixels", 3)
    assert calls.times[2] > calls.times[1] == calls.times[0]
    assert Calls(IDLE, IDLE).fail(RetryPolicy(retries=1)).action is Action.FAIL_TILE
    assert Calls(IDLE).fail(RetryPolicy(retries=0)).action is Action.FAIL_TILE


def test_a_renewed_token_costs_no_retry():
    calls = Calls(*[RENEWED] * 3)
    assert calls.run(RetryPolicy(retries=0)) == ("pixels", 4)
    assert calls.times[-1] == calls.times[0]
    assert calls.told == [("401 renewed", 1), ("401 renewed", 2), ("401 renewed", 3)]


@pytest.mark.parametrize("after", [2, 3])
def test_what_is_too_much_is_split_after_so_many_occurrences(after: int):
    problem = FetchProblem(Action.RETRY, Cause.MEMORY_CAPACITY, "memory capacity exceeded", split_after=after)
    calls = Calls(*[problem] * 5)
    assert calls.fail().action is Action.SPLIT
    assert len(calls.times) == after
    assert Calls(*[problem] * 5).run(can_split=lambda: False) == ("pixels", 6)
