"""The end of a job: what is learned of the service, and in which rectangles the last shards are asked for."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.engine.resources import Parts, Share
from downloader.engine.stop import Stop
from downloader.engine.worker import ListedShards, work
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget, RetryPolicy
from downloader.planning.request_size import Observed, ServiceModel, smaller_shapes, tapered
from downloader.progress.tally import Tally
from scripts.benchmarks.schedule import Service, list_schedule
from tests.fakes import MemoryMosaic, PositionSource, make_plan_of
from tests.virtual_clock import VirtualClock, run_virtual

GUESS = ServiceModel(base_s=0.25, per_mb_s=0.4, concurrency=40, starts_per_s=90)
SERVICE = Service(0, 0, concurrency=8, starts_per_s=1000)
MB = 1e6


@given(st.floats(0, 3), st.floats(0, 3))
def test_latency_and_rate_are_learned_from_answers_of_different_sizes(base: float, rate: float) -> None:
    observed = Observed(GUESS)
    for number in range(200):
        nbytes = [500_000, 8_000_000][number % 2]
        observed.add(nbytes, base + rate * nbytes / MB)
    model = observed.model()
    for nbytes in (500_000, 4_000_000, 8_000_000):
        wrong = abs(GUESS.request_s(nbytes) - base - rate * nbytes / MB) + abs(GUESS.base_s - base)
        assert abs(model.request_s(nbytes) - base - rate * nbytes / MB) <= 0.05 * wrong + 1e-6


@given(st.integers(1_000, 50_000_000), st.floats(0.001, 30))  # below a thousand bytes all count as a thousand
def test_answers_of_one_size_teach_that_size_and_no_nonsense(nbytes: int, seconds: float) -> None:
    observed = Observed(GUESS)
    for _ in range(300):
        observed.add(nbytes, seconds)
    model = observed.model()
    assert model.base_s >= 0
    assert model.per_mb_s >= 0
    guessed = GUESS.request_s(nbytes)
    assert abs(model.request_s(nbytes) - seconds) <= 0.05 * abs(guessed - seconds) + 0.05 * GUESS.base_s


def test_nothing_seen_is_the_guess() -> None:
    assert Observed(GUESS).model() == GUESS


@given(st.integers(1, 16), st.integers(1, 16))
def test_shapes_halve_down_to_one_tile(rows: int, columns: int) -> None:
    shapes = list(smaller_shapes((rows, columns)))
    assert shapes[0] == (rows, columns)
    assert shapes[-1] == (1, 1)
    for (r, c), (next_r, next_c) in itertools.pairwise(shapes):
        assert next_r * next_c < r * c
        assert next_r <= r
        assert next_c <= c


def test_far_from_the_end_requests_stay_large() -> None:
    assert tapered((4, 4), 16, 524_288, [0.0] * 40, (100, 360.0), GUESS) == (4, 4)


def test_the_last_shard_is_shared_among_idle_slots() -> None:
    rows, columns = tapered((4, 4), 16, 524_288, [0.0] * 40, (0, 0.0), GUESS)
    assert rows * columns <= 2


def test_a_shard_beside_long_requests_stays_whole() -> None:
    """Other slots are busy for longer than it takes: smaller requests would cost work and save no time."""
    assert tapered((4, 4), 16, 524_288, [0.0] + [9.0] * 39, (0, 0.0), GUESS) == (4, 4)


def test_where_the_rate_is_the_limit_nothing_is_split() -> None:
    quick = ServiceModel(base_s=0.01, per_mb_s=0.0, concurrency=40, starts_per_s=2)
    assert tapered((4, 4), 16, 524_288, [0.0] * 40, (0, 0.0), quick) == (4, 4)


def test_a_request_is_not_too_long_where_the_starts_of_others_take_longer() -> None:
    slow = ServiceModel(base_s=0.25, per_mb_s=0.4, concurrency=40, starts_per_s=2)
    whole_s = slow.request_s(16 * 524_288)
    left = 10, 10 * whole_s  # of the slots' time less than one request, of the starts' 5 s
    assert tapered((4, 4), 16, 524_288, [0.0] * 40, left, replace(slow, longest_share=0.75)) == (4, 4)


def run(tiles: int, shape: tuple[int, int], latency, concurrency: int) -> tuple[float, int]:
    """Seconds and requests of a worker on a service of this latency by bytes; 4 × 4 pixels a tile."""

    async def main() -> tuple[float, int]:
        plan = make_plan_of((tiles, tiles), shard=4, shape=shape)
        clock = VirtualClock()
        source = PositionSource(clock, 0.0)
        answer = source.fetch

        async def fetch(request):
            await clock.sleep(latency(request.nbytes))
            return await answer(request)

        source.fetch = fetch
        mosaic = MemoryMosaic(plan)
        limiter = AdaptiveLimiter(concurrency, 1000, clock, random.Random(1), 900)
        parts = Parts(source, mosaic, limiter, clock, random.Random(2), Tally(), RetryBudget(), Stop())
        share = Share(plan, concurrency, 10**9, RetryPolicy(), checkpoint_s=1e6)
        began = clock.now()
        await work(share, parts, ListedShards(plan.shards()))
        assert mosaic.is_complete
        assert set(mosaic.placements.values()) == {1}
        return clock.now() - began, len(source.calls)

    return run_virtual(main)


def test_a_job_of_one_wave_and_one_request_does_not_take_two_waves() -> None:
    """Nine shards on eight slots: the ninth is shared, although the service is nothing like the first guess."""
    seconds, requests = run(12, (4, 4), lambda nbytes: nbytes / 1024, concurrency=8)
    assert seconds <= 1.51
    assert 9 < requests < 40


@pytest.mark.parametrize("base", [0.0, 0.2, 2.0])
def test_never_slower_than_equal_requests(base: float) -> None:
    def latency(nbytes: float) -> float:
        return base + nbytes / 1024

    for tiles in (8, 12, 20, 28):
        seconds, _ = run(tiles, (4, 4), latency, concurrency=8)
        equal = list_schedule([latency(16 * 64)] * (tiles // 4) ** 2, SERVICE)
        assert seconds <= equal * 1.03 + 0.05
