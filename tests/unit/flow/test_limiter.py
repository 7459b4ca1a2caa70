import asyncio
import random
from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.errors import Action, Cause, FetchProblem, StoppedError
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.shared_limiter import JobLimiter
from downloader.protocols import Limiter
from tests.virtual_clock import VirtualClock, run_virtual

_: type[Limiter] = AdaptiveLimiter

RESET = FetchProblem(Action.RETRY, Cause.RESET, "connection reset")
TOO_MANY = FetchProblem(Action.SLOW, Cause.CONCURRENCY, "429: too many", 429)
TOO_FAST = FetchProblem(Action.SLOW, Cause.RATE, "429: too fast", 429, limit="rate")
BAD_BAND = FetchProblem(Action.FAIL_TILE, Cause.BAD_REQUEST, "400: no such band", 400)


def limiter(
    clock: VirtualClock,
    concurrency: int = 4,
    rate: float = 1000,
    give_up_after_s: float = 900,
) -> AdaptiveLimiter:
    return AdaptiveLimiter(concurrency, rate, clock, random.Random(1), give_up_after_s)


async def settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


def test_no_more_than_the_configured_number_and_first_come_first_served():
    async def main() -> None:
        it, order = limiter(VirtualClock(), concurrency=2), []

        async def use(name: int) -> None:
            ticket = await it.acquire()
            assert it.in_flight <= 2
            order.append(name)
            await anyio.sleep(1)
            it.release(ticket, None)

        async with anyio.create_task_group() as group:
            for name in range(20):
                group.start_soon(use, name)
        assert order == list(range(20))
        assert (it.in_flight, it.ceiling) == (0, 2)

    run_virtual(main)


def test_a_cancelled_wait_leaks_no_slot():
    async def main() -> None:
        it = limiter(VirtualClock(), concurrency=1)
        ticket = await it.acquire()
        with anyio.move_on_after(5) as scope:
            await it.acquire()
        assert scope.cancelled_caught
        assert it.in_flight == 1
        it.release(ticket, None)
        it.release(await it.acquire(), None)
        assert it.in_flight == 0

    run_virtual(main)


def test_a_wait_cancelled_at_the_very_moment_of_release_leaks_no_slot():
    async def main() -> None:
        it, got = limiter(VirtualClock(), concurrency=1), []
        ticket = await it.acquire()
        scope = anyio.CancelScope()

        async def wait() -> None:
            with scope:
                got.append(await it.acquire())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await settle()
            it.release(ticket, None)
            scope.cancel()
            await settle()
            assert it.in_flight == len(got)

    run_virtual(main)


def test_a_ticket_is_given_back_once():
    async def main() -> None:
        it = limiter(VirtualClock())
        ticket = await it.acquire()
        it.release(ticket, None)
        with pytest.raises(KeyError):
            it.release(ticket, None)

    run_virtual(main)


def test_starts_are_paced_from_the_first_on():
    async def main() -> list[float]:
        clock = VirtualClock()
        it = limiter(clock, concurrency=100, rate=10)
        times = []
        for _ in range(10):
            await it.acquire()
            times.append(clock.now())
        return times

    assert run_virtual(main) == pytest.approx([n / 10 for n in range(10)])


@pytest.mark.parametrize(("asked", "paused"), [(7.0, 7.0), (100_000.0, 300.0), (-5.0, 0.0)])
def test_retry_after_pauses_everybody_within_bounds(asked: float, paused: float):
    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock)
        first, second = await it.acquire(), await it.acquire()
        it.release(first, FetchProblem(Action.RETRY, Cause.UNAVAILABLE, "503", 503, retry_after_s=asked))
        it.release(second, None)
        before = clock.now()
        await it.acquire()
        assert clock.now() - before == pytest.approx(paused, abs=0.01)

    run_virtual(main)


def test_a_refusal_lowers_the_ceiling_for_all():
    async def main() -> None:
        it = limiter(VirtualClock(), concurrency=40)
        tickets = [await it.acquire() for _ in range(9)]
        it.release(tickets[-1], TOO_MANY)
        assert it.ceiling == 8
        with anyio.move_on_after(1) as scope:
            await it.acquire()
        assert scope.cancelled_caught

    run_virtual(main)


def test_a_rate_refusal_lowers_the_pace_and_keeps_the_ceiling():
    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock, concurrency=40, rate=100)
        tickets = [await it.acquire() for _ in range(9)]
        for ticket in tickets:
            it.release(ticket, TOO_FAST)
        assert it.rate == 50
        probe = await it.acquire()
        assert it.ceiling == 1
        assert clock.now() > 0.7
        it.release(probe, None)
        assert it.ceiling == 40

    run_virtual(main)


def test_answers_that_fail_a_tile_are_answers():
    async def main() -> None:
        it = limiter(VirtualClock())
        for _ in range(50):
            it.release(await it.acquire(), BAD_BAND)
        assert it.ceiling == 4

    run_virtual(main)


def test_problems_in_a_row_leave_one_probe_and_the_first_answer_resumes():
    async def main() -> None:
        clock, notices = VirtualClock(), []
        it = limiter(clock)
        with it.listen(lambda notice: notices.append(notice.text)):
            for _ in range(30):
                ticket = await it.acquire()
                await anyio.sleep(0.01)
                it.release(ticket, RESET)
            assert it.ceiling == 1
            probe = await it.acquire()
            with anyio.move_on_after(60) as scope:
                await it.acquire()
            assert scope.cancelled_caught
            it.release(probe, None)
        assert it.ceiling == 4
        assert [line.split(" for ")[0].split(" after ")[0] for line in notices] == [
            "no pixels",
            "pixels arrive again",
        ]

    run_virtual(main)


def test_those_who_wait_for_a_probe_go_on_at_once_when_it_is_answered():
    async def main() -> float:
        clock = VirtualClock()
        it = limiter(clock)
        for _ in range(20):
            it.release(await it.acquire(), RESET)
        probe = await it.acquire()
        before = clock.now()

        async def use() -> None:
            it.release(await it.acquire(), None)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(use)
            await anyio.sleep(1)
            it.release(probe, None)
        return clock.now() - before

    assert run_virtual(main) == pytest.approx(1, abs=0.05)


def test_giving_up_tells_everybody_who_waits():
    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock, give_up_after_s=60)
        errors: list[StoppedError] = []

        async def use() -> None:
            try:
                while True:
                    it.release(await it.acquire(), RESET)
            except StoppedError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(use)
        assert len(errors) == 10
        assert 55 < clock.now() < 65
        assert "connection reset" in str(errors[0])
        assert "run the job again" in str(errors[0])
        with pytest.raises(StoppedError):
            await it.acquire()

    run_virtual(main)


def test_a_suspended_laptop_goes_on():
    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock, concurrency=40)
        it.release(await it.acquire(), None)
        tickets = [await it.acquire() for _ in range(40)]
        clock.jump(3600)
        for ticket in tickets:
            it.release(ticket, RESET)
        it.release(await it.acquire(), None)
        assert it.ceiling == 40
        burst = 0
        with anyio.move_on_after(0.0005):
            while burst < 40:
                await it.acquire()
                burst += 1
        assert burst <= 50

    run_virtual(main)


def test_cancelled_requests_say_nothing():
    async def main() -> None:
        it = limiter(VirtualClock())
        for _ in range(50):
            it.release(await it.acquire(), FetchProblem(Action.RETRY, Cause.CANCELLED, "cancelled"))
        assert it.ceiling == 4

    run_virtual(main)


def test_a_cancelled_probe_lets_the_next_one_go():
    async def main() -> None:
        it = limiter(VirtualClock())
        for _ in range(20):
            it.release(await it.acquire(), RESET)
        it.release(await it.acquire(), FetchProblem(Action.RETRY, Cause.CANCELLED, "cancelled"))
        with anyio.fail_after(60):
            it.release(await it.acquire(), None)
        assert it.ceiling == 4

    run_virtual(main)


def test_a_quota_of_nothing_that_comes_back_is_climbed_at_once():
    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock, concurrency=40)
        for _ in range(5):
            it.release(await it.acquire(), TOO_MANY)
        assert it.ceiling == 1
        it.release(await it.acquire(), None)
        before = clock.now()
        while it.ceiling < 40:
            tickets = [await it.acquire() for _ in range(it.ceiling)]
            await anyio.sleep(1)
            for ticket in tickets:
                it.release(ticket, None)
        assert clock.now() - before < 8

    run_virtual(main)


def test_a_restriction_halves_once_and_is_told_once_and_lifts():
    async def main() -> None:
        clock, notices = VirtualClock(), []
        it = limiter(clock, concurrency=40)
        with it.listen(lambda notice: notices.append(notice.text)):
            for _ in range(100):
                it.restrict()
        assert it.ceiling == 20
        assert len(notices) == 1
        assert "20 requests at a time in place of 40" in notices[0]
        with it.listen(lambda notice: notices.append(notice.text)):
            assert len(notices) == 2, "those who listen later hear of it too"
        await clock.sleep(601)
        for _ in range(200):
            tickets = [await it.acquire() for _ in range(it.ceiling)]
            for ticket in tickets:
                it.release(ticket, None)
        assert it.ceiling == 40

    run_virtual(main)


def test_the_share_of_a_quota_can_change():
    async def main() -> None:
        it = limiter(VirtualClock(), concurrency=40)
        tickets = [await it.acquire() for _ in range(30)]
        it.set_concurrency(10)
        assert it.ceiling == 10
        assert it.in_flight == 30
        for ticket in tickets:
            it.release(ticket, None)
        it.restrict()
        assert it.ceiling == 5

    run_virtual(main)


class Service:
    """Answers as hypothesis wills, and well from some call on."""

    def __init__(self, answers: list[FetchProblem | None]) -> None:
        self.answers: Iterator[FetchProblem | None] = iter(answers)

    def __call__(self) -> FetchProblem | None:
        return next(self.answers, None)


PAUSE = FetchProblem(Action.RETRY, Cause.UNAVAILABLE, "503", 503, retry_after_s=3)


@settings(max_examples=60, deadline=None)
@given(
    concurrency=st.integers(1, 12),
    rate=st.sampled_from([0.5, 5.0, 90.0]),
    answers=st.lists(st.sampled_from([None, RESET, TOO_MANY, TOO_FAST, BAD_BAND, PAUSE]), max_size=80),
    seconds=st.lists(st.floats(0.01, 5), min_size=1, max_size=7),
    impatient=st.lists(st.floats(0.01, 20), max_size=4),
)
def test_invariants_hold_whatever_the_service_does(
    concurrency: int,
    rate: float,
    answers: list[FetchProblem | None],
    seconds: list[float],
    impatient: list[float],
):
    """Never above concurrency and rate, and once the service recovers everybody is served."""

    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock, concurrency, rate, give_up_after_s=100_000)
        service, starts = Service(answers), []
        left = 120

        async def work(number: int) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                ticket = await it.acquire()
                starts.append(clock.now())
                assert 1 <= it.in_flight <= concurrency
                await anyio.sleep(seconds[(number + left) % len(seconds)])
                it.release(ticket, service())

        async def give_up(after_s: float) -> None:
            ticket = None
            with anyio.move_on_after(after_s):
                ticket = await it.acquire()
            if ticket is not None:
                starts.append(clock.now())
                it.release(ticket, FetchProblem(Action.RETRY, Cause.CANCELLED, "cancelled"))

        async with anyio.create_task_group() as group:
            for number in range(concurrency + 3):
                group.start_soon(work, number)
            for after_s in impatient:
                group.start_soon(give_up, after_s)
        assert it.in_flight == 0
        starts.sort()
        burst = max(1, -int(-rate * 0.05 // 1))
        for first in range(len(starts)):
            for last in range(first, len(starts)):
                assert last - first + 1 <= rate * (starts[last] - starts[first]) + burst + 1e-6

    run_virtual(main)


@pytest.mark.parametrize("cause", [Cause.CANCELLED, Cause.TOKEN_RENEWED, Cause.IDLE_CONNECTION])
def test_what_says_nothing_about_the_service_is_no_outage(cause: Cause):
    async def main() -> None:
        it = limiter(VirtualClock(), concurrency=40)
        for _ in range(40):
            it.release(await it.acquire(), FetchProblem(Action.RETRY, cause, "nothing"))
        assert not it.in_doubt
        assert it.ceiling == 40

    run_virtual(main)


def test_another_request_in_the_same_place_takes_a_start():
    async def main() -> None:
        clock = VirtualClock()
        it = limiter(clock, rate=5)
        ticket = await it.acquire()
        began = clock.now()
        for _ in range(5):
            await it.again(ticket)
        assert clock.now() - began == pytest.approx(1.0)
        assert (it.in_flight, it.starts) == (1, 6)

    run_virtual(main)


def test_a_token_is_waited_for_without_a_slot():
    """A request whose token runs out between its turns gives the turn back, and waits for the token first."""

    async def main() -> None:
        clock = VirtualClock()
        shared = limiter(clock, concurrency=1)
        renewals: list[asyncio.Task[None]] = []

        def renewal() -> asyncio.Task[None] | None:
            assert shared.in_flight == 0 or renewals
            if len(renewals) < 2:
                renewals.append(asyncio.create_task(clock.sleep(10)))
            return None if renewals[-1].done() else renewals[-1]

        it = JobLimiter(shared, 1, renewal)
        async with anyio.create_task_group() as group:
            group.start_soon(it.acquire)
            await clock.sleep(5)
            assert shared.in_flight == 0
            await clock.sleep(30)
        assert shared.in_flight == 1

    run_virtual(main)
