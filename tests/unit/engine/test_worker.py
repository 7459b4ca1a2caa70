"""The loop, on fakes and in virtual time: what is fetched, in which order, and what every kind of end leaves."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
import shapely

from downloader.engine.resources import Parts, Share
from downloader.engine.stop import Stop
from downloader.engine.worker import ListedShards, Worker, work
from downloader.errors import Action, AuthenticationError, StoppedError
from downloader.flow.retry import RetryBudget
from downloader.job.sections.service import Limits
from downloader.planning import PixelRequest, ServiceModel, Slice
from downloader.planning.polygon import Shape
from downloader.progress.tally import Tally
from tests.fakes import FreeLimiter, MemoryMosaic, PositionSource, expected, make_plan_of, problem
from tests.virtual_clock import VirtualClock, run_virtual


class Bench:
    """A worker with fakes around it."""

    def __init__(
        self,
        plan,
        concurrency=4,
        fault=None,
        latency_s=0.25,
        memory=10**6,
        retries=3,
        max_requests=None,
        mosaic=None,
        **share,
    ):
        self.plan = plan
        self.clock = VirtualClock()
        self.source = PositionSource(self.clock, latency_s, fault or (lambda request, call: None))
        self.mosaic = mosaic or MemoryMosaic(plan)
        self.stop = Stop()
        self.tally = Tally()
        self.limiter = FreeLimiter(concurrency)
        limits = Limits(concurrency=concurrency, retries=retries, max_requests=max_requests)
        self.share = Share(plan, limits, memory, **{"checkpoint_s": 1e6, **share})
        self.parts = Parts(
            self.source,
            self.mosaic,
            self.limiter,
            self.clock,
            random.Random(1),
            self.tally,
            RetryBudget(),
            self.stop,
        )

    async def run(self):
        await work(self.share, self.parts, ListedShards(self.plan.shards()))

    def assert_pixels(self):
        assert self.mosaic.is_complete
        group = self.plan.groups[0]
        whole = group.request_grid(group.grid.bounds)
        request = PixelRequest("a", whole, tuple(self.source.calls[0].bands))
        np.testing.assert_array_equal(self.mosaic.pixels[list(request.dtype.names)], expected(request))


def test_everything_is_fetched_once_and_lands_in_its_place():
    async def main():
        bench = Bench(make_plan_of((5, 7), shape=(1, 2)))
        await bench.run()
        bench.assert_pixels()
        assert set(bench.mosaic.placements.values()) == {1}
        assert set(bench.mosaic.commits.values()) == {1}
        assert bench.tally.tiles_stored == 35

    run_virtual(main)


def test_concurrency_is_used_and_never_passed():
    async def main():
        bench = Bench(make_plan_of((8, 8)), concurrency=6)
        await bench.run()
        assert bench.source.most == 6

    run_virtual(main)


@pytest.mark.parametrize("is_polygon", [False, True])
def test_tiles_that_a_polygon_touches_are_asked_in_a_thread(is_polygon):
    threads = set()

    class Watched(MemoryMosaic):
        def missing(self, key):
            threads.add(threading.current_thread())
            return super().missing(key)

    plan = make_plan_of((4, 4))
    if is_polygon:
        polygon = Shape(shapely.to_wkb(shapely.box(0, 0, 16, 16)))
        plan = replace(plan, groups=(replace(plan.groups[0], region=polygon),))

    async def main():
        bench = Bench(plan, mosaic=Watched(plan))
        await bench.run()
        assert (threading.main_thread() not in threads) == is_polygon
        bench.assert_pixels()

    anyio.run(main)


def test_few_shards_are_open_so_that_a_kill_costs_little():
    async def main():
        bench = Bench(make_plan_of((16, 16), shard=4), concurrency=8)
        await bench.run()
        assert bench.mosaic.most_open <= 8 // 16 + 1 + 1
        bench.assert_pixels()

    run_virtual(main)


def test_a_straggler_does_not_stall_the_others():
    """One request that takes ten minutes holds its shard; all others are done long before."""

    async def main():
        plan = make_plan_of((16, 16), shard=2)
        bench = Bench(plan, concurrency=4)
        times = []
        slow = bench.source.fetch

        async def fetch(request):
            if request.grid.transform.translate_x == 0 and request.grid.transform.translate_y == 0:
                await bench.clock.sleep(600)
            times.append(bench.clock.now())
            return await slow(request)

        bench.source.fetch = fetch
        await bench.run()
        bench.assert_pixels()
        assert sorted(times)[-2] < 120

    run_virtual(main)


def test_what_is_stored_is_not_asked_for_again():
    async def main():
        plan = make_plan_of((4, 4))
        first = Bench(plan, max_requests=5)
        await first.run()
        assert not first.mosaic.is_complete
        assert first.stop.reason.startswith("limits.max_requests")
        assert len(first.source.calls) == 5, "what was handed out is finished"
        second = Bench(plan, mosaic=first.mosaic)
        await second.run()
        second.assert_pixels()
        assert len(first.source.calls) + len(second.source.calls) == 16

    run_virtual(main)


def test_a_stop_is_heard_while_nothing_succeeds():
    async def main():
        bench = Bench(make_plan_of((4, 4)), fault=lambda *_: problem(Action.RETRY, "reset"), retries=100)

        async def ask():
            await bench.clock.sleep(90)
            bench.stop.ask("enough")

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await bench.run()
        assert 90 <= bench.clock.now() < 200

    run_virtual(main)


def test_transient_failures_are_retried_and_counted_by_cause():
    async def main():
        def fault(request, call):
            return problem(Action.RETRY, "reset") if call % 3 == 0 else None

        bench = Bench(make_plan_of((4, 4)), fault=fault, retries=20)
        await bench.run()
        bench.assert_pixels()
        assert bench.tally.retries["reset"] == len(bench.source.calls) - 16
        assert set(bench.mosaic.placements.values()) == {1}

    run_virtual(main)


def test_too_large_requests_are_halved_and_the_lesson_is_kept():
    async def main():
        def fault(request, call):
            return problem(Action.SPLIT, "400 memory") if request.nbytes > 2 * 16 * 4 else None

        bench = Bench(make_plan_of((8, 8), shard=4, shape=(4, 4)), concurrency=1, fault=fault)
        await bench.run()
        bench.assert_pixels()
        refused = [call for call in bench.source.calls if call.nbytes > 128]
        assert len(refused) <= 3, "16, 8 and 4 tiles are each refused once, then never asked for again"

    run_virtual(main)


def test_a_tile_that_is_too_much_falls_into_its_bands_and_then_fails_alone():
    async def main():
        def fault(request, call):
            return problem(Action.SPLIT, "400 memory") if "B1" in request.dtype.names else None

        bench = Bench(make_plan_of((2, 2), bands=2), fault=fault)
        await bench.run()
        assert len(bench.mosaic.failures) == 4
        assert {request.bands for request, _ in bench.mosaic.failures} == {(1,)}
        assert all(bench.mosaic.missing(key) == {1: 0b1111} for key in bench.plan.shards())

    run_virtual(main)


def test_one_bad_tile_does_not_end_the_job():
    async def main():
        def fault(request, call):
            return problem(Action.FAIL_TILE, "400") if request.grid.transform.translate_x == 40 else None

        bench = Bench(make_plan_of((4, 4)), fault=fault)
        await bench.run()
        assert len(bench.mosaic.failures) == 4
        assert bench.tally.tiles_failed == 4
        assert bench.tally.tiles_stored == 12

    run_virtual(main)


def test_a_dead_job_ends_at_once_with_its_own_error_and_saves_what_it_has():
    async def main():
        def fault(request, call):
            if call == 7:
                return problem(Action.FAIL_JOB, "401", ends_with=AuthenticationError)
            return None

        bench = Bench(make_plan_of((8, 8)), fault=fault, concurrency=2)
        with pytest.raises(AuthenticationError, match="401 happened"):
            await bench.run()
        assert len(bench.source.calls) <= 9
        assert not bench.mosaic.placed, "all that was placed is committed"
        assert sum(m.bit_count() for s in bench.mosaic.stored.values() for m in s.values()) >= 2 * 4

    run_virtual(main)


@pytest.mark.parametrize(("slow_s", "stored"), [(5, 3), (300, 0)])
def test_answers_under_way_when_the_job_is_dead_are_kept_if_they_come_soon(slow_s, stored):
    """The quota ended: what the service computed meanwhile would have to be asked for, and paid, again."""

    async def main():
        def fault(request, call):
            if call == 4:
                return problem(Action.FAIL_JOB, "daily quota", ends_with=StoppedError)
            return None

        bench = Bench(make_plan_of((8, 8)), fault=fault, concurrency=4)
        latencies = iter([slow_s, slow_s, slow_s, 1])
        sleep = bench.clock.sleep
        bench.source._clock = SimpleNamespace(sleep=lambda _: sleep(next(latencies)), now=bench.clock.now)
        with pytest.raises(StoppedError, match="daily quota happened"):
            await bench.run()
        assert len(bench.source.calls) == 4, "nothing more is asked for"
        assert bench.clock.now() == pytest.approx(min(slow_s, 1 + 20), abs=0.5)
        assert bench.tally.tiles_stored == stored
        assert bench.mosaic.failures == []

    run_virtual(main)


def test_draining_finishes_what_is_under_way_and_starts_nothing():
    async def main():
        bench = Bench(make_plan_of((8, 8)), concurrency=4, latency_s=5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.run)
            await bench.clock.sleep(7)
            started = len(bench.source.calls)
            bench.stop.ask("SIGTERM received", 15)
        assert len(bench.source.calls) == started
        assert bench.source.in_flight == 0
        assert bench.tally.tiles_stored == started
        assert not bench.mosaic.placed

    run_virtual(main)


def test_draining_gives_up_on_slow_requests_after_the_grace():
    async def main():
        bench = Bench(make_plan_of((8, 8)), concurrency=4, latency_s=300)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.run)
            await bench.clock.sleep(1)
            bench.stop.ask("SIGTERM received", 15)
        assert 20 <= bench.clock.now() <= 25

    run_virtual(main)


def test_asking_twice_stops_now():
    async def main():
        bench = Bench(make_plan_of((8, 8)), concurrency=4, latency_s=300)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.run)
            await bench.clock.sleep(1)
            bench.stop.ask("SIGINT received", 2)
            bench.stop.ask("SIGINT received", 2)
        assert bench.clock.now() < 2

    run_virtual(main)


def test_a_checkpoint_commits_open_shards_as_far_as_they_are():
    async def main():
        bench = Bench(make_plan_of((4, 4), shard=4), concurrency=1, latency_s=10, checkpoint_s=30)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.run)
            await bench.clock.sleep(31)
            (stored,) = bench.mosaic.stored.values()
            assert stored[0].bit_count() == 3
        bench.assert_pixels()

    run_virtual(main)


def test_a_disk_that_refuses_ends_the_run_and_is_told_once():
    async def main():
        bench = Bench(make_plan_of((8, 8)))

        def refuse(key):
            if bench.mosaic.commits.total() >= 2:
                raise StoppedError("no space left")

        bench.mosaic.on_commit = refuse
        with pytest.raises(StoppedError, match="no space left"):
            await bench.run()
        assert bench.mosaic.commits.total() == 2

    run_virtual(main)


def test_memory_for_pixels_is_bounded_by_fewer_open_shards():
    async def main():
        plan = make_plan_of((16, 16), shard=2)
        shard = 4 * 16 * 4
        bench = Bench(plan, concurrency=16, memory=2 * 2 * shard)
        await bench.run()
        bench.assert_pixels()
        assert bench.mosaic.most_open <= 2

    run_virtual(main)


@pytest.mark.parametrize("seed", range(8))
def test_random_faults_never_lose_or_repeat_a_tile(seed):
    async def main():
        rng = random.Random(seed)

        def fault(request, call):
            roll = rng.random()
            if roll < 0.2:
                return problem(Action.RETRY, "reset")
            if roll < 0.25:
                return problem(Action.SPLIT, "400 memory")
            return None

        shape = rng.choice([(1, 1), (2, 2), (1, 4)])
        bench = Bench(make_plan_of((9, 11), shard=4, shape=shape), concurrency=5, fault=fault, retries=50)
        await bench.run()
        lost = {(r, b) for request, _ in bench.mosaic.failures for r in request.block for b in request.bands}
        assert set(bench.mosaic.placements.values()) <= {1}
        assert len(bench.mosaic.placements) + len(lost) == 9 * 11 * 2
        assert not bench.mosaic.placed

    run_virtual(main)


SLOW_BYTES = ServiceModel(base_s=0.01, per_mb_s=1e4)
"""A service where a request of four tiles by four takes many times its latency."""


def test_the_last_requests_are_shared_among_idle_slots_but_never_past_the_limit_of_requests():
    async def main(most):
        plan = replace(make_plan_of((4, 8), shard=4, shape=(4, 4)), model=SLOW_BYTES)
        bench = Bench(plan, concurrency=8, max_requests=most)
        await bench.run()
        bench.assert_pixels()
        assert bench.tally.requests == len(bench.source.calls)
        assert bench.tally.splits == 0, "the service refused nothing"
        return len(bench.source.calls)

    assert run_virtual(lambda: main(None)) > 2
    assert run_virtual(lambda: main(2)) == 2


def test_a_job_of_one_request_is_answered_by_one():
    async def main():
        plan = replace(make_plan_of((4, 4), shard=4, shape=(4, 4)), model=SLOW_BYTES)
        bench = Bench(plan, concurrency=8)
        await bench.run()
        bench.assert_pixels()
        assert len(bench.source.calls) == 1

    run_virtual(main)


@pytest.mark.parametrize("action", [Action.RETRY, Action.SPLIT])
def test_what_remains_of_a_shortened_request_is_fetched_whatever_becomes_of_its_first_part(action):
    async def main():
        def fault(request, call):
            return problem(action, "reset") if call <= 3 and request.grid.shape != (4, 4) else None

        plan = replace(make_plan_of((8, 8), shard=4, shape=(4, 4)), model=SLOW_BYTES)
        bench = Bench(plan, concurrency=8, fault=fault)
        worker = Worker(bench.share, bench.parts, ListedShards(plan.shards()))
        await worker.run()
        bench.assert_pixels()
        assert set(bench.mosaic.placements.values()) == {1}
        assert worker.fetcher.answers.used == 0
        assert not worker.endgame.has_aside

    run_virtual(main)


def test_a_part_of_one_tile_is_not_split_further():
    """What was asked of it, whether it can be halved, is asked of the part that is left of the request."""

    async def main():
        tries = Counter()

        def fault(request, call):
            tries[request.grid] += 1
            late = problem(Action.RETRY, "504", split_after=2)
            return late if request.grid.shape == (4, 4) and tries[request.grid] <= 3 else None

        plan = replace(make_plan_of((1, 16), shard=8, shape=(1, 8), bands=1), model=SLOW_BYTES)
        bench = Bench(plan, concurrency=16, fault=fault)
        await bench.run()
        bench.assert_pixels()
        assert bench.tally.splits == 0
        assert max(tries.values()) == 4

    run_virtual(main)


@pytest.mark.parametrize("action", [Action.RETRY, Action.SPLIT])
def test_every_call_counts_whatever_its_request_ends_with(action):
    async def main():
        def fault(request, call):
            bad = request.grid.transform.translate_x == 40 and request.grid.transform.translate_y == 0
            return problem(action if call % 2 else Action.RETRY, "reset") if bad else None

        bench = Bench(make_plan_of((4, 4), bands=2), fault=fault)
        await bench.run()
        assert bench.mosaic.failures
        assert bench.tally.requests == len(bench.source.calls) > 17

    run_virtual(main)


@pytest.mark.parametrize("most", [1, 2, 5, 8])
def test_the_halves_of_requests_that_are_too_large_count_against_the_limit(most):
    async def main():
        def fault(request, call):
            return problem(Action.SPLIT, "400 memory") if request.nbytes > 2 * 16 * 4 else None

        plan = make_plan_of((8, 8), shard=4, shape=(4, 4))
        bench = Bench(plan, concurrency=4, fault=fault, max_requests=most)
        await bench.run()
        assert len(bench.source.calls) == most
        assert bench.stop.reason == f"limits.max_requests: {most:,} requests are made"
        assert not bench.mosaic.failures, "what was not asked for is missing, not failed"
        again = Bench(plan, concurrency=4, fault=fault, mosaic=bench.mosaic)
        await again.run()
        again.assert_pixels()

    run_virtual(main)


def a_series(slices=3):
    """A plan of four tiles at each of so many times."""
    plan = make_plan_of((2, 2), shard=1)
    group = replace(plan.groups[0], axis="time", tiling=replace(plan.groups[0].tiling, slices=slices))
    parts = tuple(Slice(f"i{k}", asset=f"projects/p/assets/i{k}", time_us=k) for k in range(slices))
    return replace(plan, groups=(group,), axis="time", slices=parts)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_of_many_images_one_may_fail_as_a_whole(concurrency):
    """All its tiles are recorded with the cause, it is asked for no more, and the others go on."""

    def gone(request, call):
        return problem(Action.FAIL_ASSET, "asset not found") if request.asset.endswith("i1") else None

    async def main():
        bench = Bench(a_series(), concurrency, fault=gone)
        await bench.run()
        failed = {(r.block.slice, row, column) for r, _ in bench.mosaic.failures for row, column in r.block}
        assert failed == {(1, row, column) for row in (0, 1) for column in (0, 1)}
        assert {p.cause for _, p in bench.mosaic.failures} == {"asset not found"}
        asked = [call.asset[-2:] for call in bench.source.calls]
        assert (asked.count("i0"), asked.count("i2")) == (4, 4)
        assert 1 <= asked.count("i1") <= concurrency
        assert bench.limiter.in_flight == 0

    run_virtual(main)


def test_what_ends_a_job_ends_one_of_many_images_too():
    def refused(request, call):
        return problem(Action.FAIL_JOB, "401", ends_with=AuthenticationError) if call == 2 else None

    async def main():
        bench = Bench(a_series(), 1, fault=refused)
        with pytest.raises(AuthenticationError):
            await bench.run()
        assert len(bench.source.calls) == 2

    run_virtual(main)
