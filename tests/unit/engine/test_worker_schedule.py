"""How level a job ends: the real worker in virtual time, beside a planner that knows how long each request will take.

The planner is written apart from the code under test. It cuts shards as it likes and asks for each at least once; its starts
are paced as the worker's are.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from downloader.engine.resources import Parts, Share
from downloader.engine.stop import Stop
from downloader.engine.worker import ListedShards, Worker
from downloader.errors import FetchProblem
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget
from downloader.job.sections.service import Limits
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.planning import Group, PixelRequest, Plan, Request, ServiceModel, ShardKey, Slice, Tiling
from downloader.progress.tally import Tally
from tests.virtual_clock import VirtualClock, run_virtual

SLOTS, STARTS_PER_S = 40, 90.0
BASE_S, PER_MB_S = 0.25, 0.4
ITEMSIZE = 8
TILE, SHARD = 256, 1024
SCENE = (10980, 10980)
"""A Sentinel-2 scene: 121 shards, three waves."""

Place = tuple[int, int, int, int]
"""(row, column, rows, columns) of a request, in pixels."""


@dataclass(frozen=True)
class Durations:
    """Seconds of each request: latency and bytes, times a factor drawn for its shard.

    All requests of a shard share the factor, so that cutting it does not draw anew.
    """

    seed: int
    scatter: float = 0.3
    """The factor lies between 1 - `scatter` and 1 + `scatter`, each as likely."""
    straggler: tuple[int, int] = (-1, -1)
    """Pixel (row, column) whose request takes five times as long."""

    def __call__(self, place: Place) -> float:
        row, column, rows, columns = place
        least = BASE_S + PER_MB_S * rows * columns * ITEMSIZE / 1e6
        drawn = random.Random(hash((self.seed, row // SHARD, column // SHARD)))
        factor = 1 + drawn.uniform(-self.scatter, self.scatter)
        return least * factor * (5 if self.is_late(place) else 1)

    def is_late(self, place: Place) -> bool:
        """Whether a request holds the straggling pixel."""
        row, column, rows, columns = place
        return row <= self.straggler[0] < row + rows and column <= self.straggler[1] < column + columns


def plan_of(height: int, width: int, shape: tuple[int, int] = (4, 4)) -> Plan:
    """A plan of four bands of uint16, in shards of 4 × 4 tiles."""
    grid = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(1, 0, 0, 0, -1, 0), width, height)
    bands = tuple(Band(f"B{k}", np.dtype("<u2"), grid) for k in range(4))
    group = Group("", grid, grid.bounds, bands, Tiling(width, height, shard=4), shape)
    model = ServiceModel(BASE_S, PER_MB_S, SLOTS, STARTS_PER_S)
    return Plan(
        Image("projects/p/assets/a", "a", bands), (group,), model, slices=(Slice("a", "projects/p/assets/a"),)
    )


@dataclass
class Ran:
    """What one run did."""

    ends: dict[Place, float] = field(default_factory=dict)
    """When each request ended."""
    begins: list[float] = field(default_factory=list)
    commits: int = 0
    most_open: int = 0
    """Shards that were open at once, of which a kill loses what is not committed."""

    @property
    def seconds(self) -> float:
        """When the last request ended."""
        return max(self.ends.values())

    def in_flight(self, begin: float, end: float) -> float:
        """Return how many requests were under way from `begin` to `end`, on the average."""

        def before(times: Iterable[float], moment: float) -> float:
            return sum(max(0.0, moment - time) for time in times)

        busy = [before(self.begins, moment) - before(self.ends.values(), moment) for moment in (begin, end)]
        return (busy[1] - busy[0]) / (end - begin)


class _Nowhere:
    """A mosaic that has nothing and keeps nothing."""

    def __init__(self, plan: Plan, clock: VirtualClock, encode_s_per_mb: float, ran: Ran) -> None:
        self._plan = plan
        self._ran = ran
        self._clock = clock
        self._encode_s_per_mb = encode_s_per_mb
        self._cores = anyio.Semaphore(2)

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        return self._plan.group(key.group).wanted(key)

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        assert pixels.shape == request.window.shape
        async with self._cores:
            await self._clock.sleep(self._encode_s_per_mb * pixels.size * ITEMSIZE / 1e6)

    def fail(self, request: Request, problem: FetchProblem) -> None:
        raise AssertionError(f"{request}: {problem.message}")

    async def commit(self, key: ShardKey) -> None:
        self._ran.commits += 1


def run(plan: Plan, durations: Durations, encode_s_per_mb: float = 0.0) -> Ran:
    """Run the worker over a plan."""

    async def main() -> Ran:
        clock, ran = VirtualClock(), Ran()

        class Source:
            async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
                t, (rows, columns) = request.grid.transform, request.grid.shape
                place = (int(-t.translate_y), int(t.translate_x), rows, columns)
                held = sum(not shard.parked for shard in worker.shards._shards.values())
                ran.most_open = max(ran.most_open, held)
                ran.begins.append(clock.now())
                await clock.sleep(durations(place))
                ran.ends[place] = clock.now()
                return np.broadcast_to(np.zeros((), request.dtype), request.grid.shape)

        limiter = AdaptiveLimiter(SLOTS, STARTS_PER_S, clock, random.Random(1), 900)
        rng, stop = random.Random(2), Stop()
        parts = Parts(
            Source(),
            _Nowhere(plan, clock, encode_s_per_mb, ran),
            limiter,
            clock,
            rng,
            Tally(),
            RetryBudget(),
            stop,
        )
        share = Share(plan, Limits(concurrency=SLOTS), 850 * 2**20, checkpoint_s=1e6)
        worker = Worker(share, parts, ListedShards(plan.shards()))
        await worker.run()
        return ran

    ran = run_virtual(main)
    group = plan.groups[0]
    assert sum(rows * columns for _, _, rows, columns in ran.ends) == group.grid.width * group.grid.height
    return ran


def whole_shards(plan: Plan) -> list[Place]:
    """One request for each shard."""
    t, side = plan.groups[0].tiling, plan.groups[0].tiling.shard_side
    return [
        (row, column, min(side, t.height - row), min(side, t.width - column))
        for row in range(0, t.height, side)
        for column in range(0, t.width, side)
    ]


def cut(place: Place) -> list[Place]:
    """Two halves, at a tile's edge; nothing where one tile is left."""
    row, column, rows, columns = place
    if max(rows, columns) <= TILE:
        return []
    if columns >= rows:
        half = -(-columns // (2 * TILE)) * TILE
        return [(row, column, rows, half), (row, column + half, rows, columns - half)]
    half = -(-rows // (2 * TILE)) * TILE
    return [(row, column, half, columns), (row + half, column, rows - half, columns)]


def list_schedule(seconds: Mapping[Place, float]) -> tuple[float, Place]:
    """When the last request ends, and which one that is: longest first, starts paced."""
    slots = [0.0] * SLOTS
    last = (0.0, (0, 0, 0, 0))
    for number, (place, duration) in enumerate(sorted(seconds.items(), key=lambda item: -item[1])):
        end = max(heapq.heappop(slots), number / STARTS_PER_S) + duration
        heapq.heappush(slots, end)
        last = max(last, (end, place))
    return last


def best_schedule(plan: Plan, durations: Durations) -> float:
    """Seconds of the best schedule found by someone who knows the duration of every request, also of those not made."""
    seconds = {place: durations(place) for place in whole_shards(plan)}
    best, late = list_schedule(seconds)
    tries = 0
    while tries < 60:
        # What ends last is cut, in turn with what takes longest.
        longest = max(seconds, key=seconds.__getitem__)
        target = late if tries % 2 == 0 and cut(late) else longest
        parts = cut(target)
        if not parts:
            break
        del seconds[target]
        seconds |= {part: durations(part) for part in parts}
        ends, late = list_schedule(seconds)
        best, tries = (ends, 0) if ends < best - 1e-9 else (best, tries + 1)
    return best


def ratios(shards: tuple[int, int] | None, seeds: int) -> list[float]:
    """By seed, the worker's seconds as a multiple of the planner's; of so many (rows, columns) of shards, or of the scene."""
    plan = plan_of(*(SCENE if shards is None else (shards[0] * SHARD, shards[1] * SHARD)))
    every = [Durations(seed) for seed in range(seeds)]
    return [run(plan, durations).seconds / best_schedule(plan, durations) for durations in every]


@pytest.mark.parametrize(
    ("shards", "mean", "most"),
    [
        pytest.param((5, 8), 1.015, 1.05, id="1 wave"),
        pytest.param((8, 8), 1.02, 1.05, id="1.6 waves"),
        pytest.param((8, 10), 1.045, 1.065, id="2 waves"),
        pytest.param(None, 1.045, 1.05, id="the scene: 3 waves"),
        pytest.param((20, 20), 1.02, 1.02, id="10 waves"),
    ],
)
def test_a_job_ends_level_where_durations_scatter(
    shards: tuple[int, int] | None, mean: float, most: float
) -> None:
    found = ratios(shards, seeds=4)
    assert statistics.mean(found) <= mean
    assert max(found) <= most


def test_of_a_hundred_waves_the_end_costs_next_to_nothing() -> None:
    plan, durations = plan_of(40 * SHARD, 100 * SHARD), Durations(1)
    floor_s = sum(map(durations, whole_shards(plan))) / SLOTS
    assert run(plan, durations).seconds <= 1.005 * floor_s


@pytest.mark.parametrize("shards", [(5, 8), (8, 8), (8, 10), (20, 20), None])
def test_smaller_requests_cost_little_where_durations_do_not_scatter(shards: tuple[int, int] | None) -> None:
    plan = plan_of(*(SCENE if shards is None else (shards[0] * SHARD, shards[1] * SHARD)))
    durations = Durations(0, scatter=0)
    assert run(plan, durations).seconds <= 1.06 * best_schedule(plan, durations)


@pytest.mark.parametrize("pixel", [(0, 0), (5000, 5000), (9000, 5000), (10900, 3000), (10979, 10979)])
@pytest.mark.parametrize("seed", range(2))
def test_one_straggler_delays_nothing_but_itself(pixel: tuple[int, int], seed: int) -> None:
    plan, durations = plan_of(*SCENE), Durations(seed, straggler=pixel)
    ran, best_s = run(plan, durations), best_schedule(plan, durations)
    (own_s,) = (end for place, end in ran.ends.items() if durations.is_late(place))
    assert ran.seconds <= max(1.05 * best_s, own_s + 0.5)
    # Its shard is slow as a whole only for the planner: what was cut off it is as quick as any other.
    assert max(end for place, end in ran.ends.items() if not durations.is_late(place)) <= 1.10 * best_s


def test_smaller_requests_leave_no_more_shards_open() -> None:
    """A kill costs what is open: at most requests in flight ÷ requests per shard, and one."""
    assert run(plan_of(*SCENE), Durations(1)).most_open <= SLOTS + 1
    quartered = run(plan_of(*SCENE, shape=(2, 2)), Durations(1))
    assert quartered.most_open <= math.ceil(SLOTS / 3) + 1  # edge shards hold fewer requests than four


def test_shards_are_committed_in_parts_only_where_a_slot_would_idle() -> None:
    """Of 121 shards some fifty wait for parts that were set aside; more would be written twice for nothing."""
    assert run(plan_of(*SCENE, shape=(2, 2)), Durations(1)).commits <= 172


@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.3])
def test_slots_stay_in_use_while_answers_are_encoded(scatter: float) -> None:
    """Two cores encode for 4 ms a megabyte; from the first full second to the last one no slot waits for them."""
    ran = run(plan_of(*SCENE), Durations(1, scatter), encode_s_per_mb=0.004)
    last = max(ran.begins) - 1
    quarters = [k / 4 for k in range(4, int(4 * last))]
    assert min(ran.in_flight(begin, begin + 0.25) for begin in quarters) >= 36
