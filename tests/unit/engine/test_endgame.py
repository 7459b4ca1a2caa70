"""The end of a job: how much of a request is asked for when its turn comes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from downloader.engine.endgame import Endgame
from downloader.engine.resources import Parts, Share
from downloader.engine.stop import Stop
from downloader.engine.worker import ListedShards, work
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget
from downloader.job.sections.service import Limits
from downloader.planning import Request, ServiceModel
from downloader.planning.split import weight
from downloader.progress.tally import Tally
from scripts.benchmarks.schedule import Service, list_schedule
from tests.fakes import FreeLimiter, MemoryMosaic, PositionSource, make_plan_of
from tests.virtual_clock import VirtualClock, run_virtual

SERVICE = Service(0, 0, concurrency=8, starts_per_s=1000)
SLOTS = 8
MODEL = ServiceModel(base_s=0.25, per_mb_s=1e3, concurrency=SLOTS, starts_per_s=90, scatter=0)
"""A request of 16 tiles of two bands, 1,024 bytes, takes 1.27 s; one tile 0.31 s."""


def parts_of(*shards: int, under_way: int = 0, model: ServiceModel = MODEL) -> tuple[Request, ...]:
    """In which parts a whole shard is asked for that begins now.

    Args:
        shards: columns of those ahead.
        under_way: requests for whole shards that began just now.
        model: of the service.
    """

    async def main() -> tuple[Request, ...]:
        plan = replace(make_plan_of((4, 200), shard=4, shape=(4, 4)), model=model)
        group = plan.groups[0]
        keys = list(plan.shards())
        endgame = Endgame(plan, FreeLimiter(SLOTS), VirtualClock())
        for key in keys[1 : 1 + under_way]:
            (other,) = group.requests(key)
            endgame.waits(other)
            endgame.begins(other)
        (request,) = group.requests(keys[0])
        endgame.waits(request)
        return endgame.in_time(request, [(keys[column], group.wanted(keys[column])) for column in shards])

    return run_virtual(main)


def test_far_from_the_end_requests_stay_large() -> None:
    assert len(parts_of(*range(10, 40))) == 1


def test_the_last_shard_is_shared_among_idle_slots() -> None:
    first, *rest = parts_of()
    assert first.tiles <= 4
    assert first.tiles + sum(part.tiles for part in rest) == 16


def test_a_shard_beside_others_that_take_as_long_stays_whole() -> None:
    """All slots are busy for as long: smaller requests would cost work and save no time."""
    assert len(parts_of(under_way=SLOTS - 1)) == 1


def test_the_more_durations_scatter_the_smaller_the_last_requests_are() -> None:
    tiles = [parts_of(10, 11, 12, model=replace(MODEL, scatter=s))[0].tiles for s in (0, 0.2, 0.4)]
    assert tiles == sorted(tiles, reverse=True)
    assert tiles[0] > tiles[-1]


def test_no_request_is_hardly_longer_than_its_latency() -> None:
    slow = replace(MODEL, base_s=2.0)
    assert len(parts_of(model=slow)) == 1


def test_where_the_rate_is_the_limit_nothing_is_cut() -> None:
    assert len(parts_of(10, 11, model=replace(MODEL, starts_per_s=1.0))) == 1


def test_the_largest_part_that_was_set_aside_comes_first() -> None:
    plan = make_plan_of((4, 16), shard=4, shape=(4, 4))
    endgame = Endgame(plan, FreeLimiter(SLOTS), VirtualClock())
    group, keys = plan.groups[0], list(plan.shards())
    for key, shape in zip(keys, [(1, 1), (2, 4), (1, 2)], strict=False):
        endgame.set_aside(next(replace(group, shape=shape).requests(key)))
    taken = []
    while endgame.has_aside:
        taken.append(weight(group, endgame.take_aside()))
    assert taken == sorted(taken, reverse=True)
    assert len(taken) == 3


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
        share = Share(plan, Limits(concurrency=concurrency), 10**9, checkpoint_s=1e6)
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
