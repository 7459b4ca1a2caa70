"""A stretch of a plan in virtual time: the real worker, limiter and retries; a service and a store of closed form."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import anyio
import numpy as np
from numpy.typing import NDArray

from downloader.engine.resources import Parts, Share
from downloader.engine.stop import Stop
from downloader.engine.worker import ListedShards, work
from downloader.errors import Action, Cause, FetchProblem, TileError
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget
from downloader.job.sections.service import Limits
from downloader.planning import PixelRequest, Plan, Request, ShardKey
from downloader.progress.tally import Tally
from downloader.protocols import Clock
from tests.virtual_clock import VirtualClock, run_virtual

__all__ = ["MEMORY", "NEAR", "SLOW", "Pace", "Service", "stretch"]

MEMORY = 850 * 2**20
"""What `limits.memory: 1GiB` leaves for pixels."""

_SCATTER = 0.3
"""Mean, as a share of its least, of what a request takes longer."""

_DECODE_S, _COMMIT_S = 0.010, 0.020
"""Encoding an answer, committing a shard."""


@dataclass(frozen=True, slots=True)
class Service:
    """How long requests take, and what is refused."""

    name: str
    base_s: float
    per_mb_s: float
    quota: int = 40
    starts_per_minute: int = 6_000


NEAR = Service("250 ms + 400 ms/MB", 0.25, 0.4)
"""The design's: a service that computes or is far from its pixels."""

SLOW = Service("600 ms + 40 ms/MB", 0.6, 0.04)
"""Slow to begin, quick to send."""


@dataclass(slots=True)
class Pace:
    """What the service gave in the second half of a stretch."""

    seconds: float
    requests: int = 0
    nbytes: int = 0
    refused: int = 0
    """429s, over all of the stretch."""
    shards: set[ShardKey] = field(default_factory=set)

    @property
    def mb_per_s(self) -> float:
        """10⁶ bytes of pixels a second."""
        return self.nbytes / self.seconds / 1e6

    @property
    def requests_per_s(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


class _Source:
    """Answers zeros after a while; refuses what is over the quota."""

    def __init__(self, service: Service, clock: Clock, seed: int, pace: Pace) -> None:
        self._service, self._clock, self._pace = service, clock, pace
        self._rng = random.Random(seed)
        self._there = 0
        self._minutes: Counter[int] = Counter()
        self._zeros: dict[tuple[object, ...], NDArray[np.void]] = {}

    async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
        minute = int(self._clock.now() // 60)
        if self._there >= self._service.quota or self._minutes[minute] >= self._service.starts_per_minute:
            self._pace.refused += 1
            raise TileError(FetchProblem(Action.SLOW, Cause.CONCURRENCY, "429: too many", 429))
        self._minutes[minute] += 1
        self._there += 1
        try:
            least = self._service.base_s + self._service.per_mb_s * request.nbytes / 1e6
            await self._clock.sleep(least * (1 + self._rng.expovariate(1 / _SCATTER)))
        finally:
            self._there -= 1
        if self._clock.now() >= self._pace.seconds:  # the second half
            self._pace.requests += 1
            self._pace.nbytes += request.nbytes
        key = (request.grid.shape, request.dtype.str, len(request.bands))
        return self._zeros.setdefault(key, np.zeros(request.grid.shape, request.dtype))


class _Nowhere:
    """A mosaic that has nothing and keeps nothing."""

    def __init__(self, plan: Plan, clock: Clock, pace: Pace) -> None:
        self._plan, self._clock, self._pace = plan, clock, pace

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        return self._plan.group(key.group).wanted(key)

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        assert pixels.shape == request.window.shape
        await self._clock.sleep(_DECODE_S)

    def fail(self, request: Request, problem: FetchProblem) -> None:
        raise AssertionError(f"{request}: {problem.message}")

    async def commit(self, key: ShardKey) -> None:
        await self._clock.sleep(_COMMIT_S)
        self._pace.shards.add(key)


def stretch(plan: Plan, service: Service, minutes: float = 3, seed: int = 1) -> Pace:
    """Twice so many minutes of a plan, begun at a random place of it; what came in the second half.

    Nothing of the plan is listed: shards are counted from their numbers, whatever its size is.

    Args:
        plan: of any size; it must last for longer than that.
        service: which answers.
        minutes: of virtual time that are counted.
        seed: of the place and of the durations.
    """
    return run_virtual(_stretch, plan, service, minutes * 60, seed)


async def _stretch(plan: Plan, service: Service, seconds: float, seed: int) -> Pace:
    clock, pace = VirtualClock(), Pace(seconds)
    limiter = AdaptiveLimiter(service.quota, 90.0, clock, random.Random(seed), 900.0)
    source, mosaic = _Source(service, clock, seed, pace), _Nowhere(plan, clock, pace)
    parts = Parts(source, mosaic, limiter, clock, random.Random(seed + 1), Tally(), RetryBudget(), Stop())
    share = Share(plan, Limits(concurrency=service.quota), MEMORY, checkpoint_s=30.0)
    with anyio.move_on_after(2 * seconds) as scope:
        await work(share, parts, ListedShards(_from_somewhere(plan, random.Random(seed + 2))))
    assert scope.cancelled_caught, "the plan ended before the stretch did"
    return pace


def _from_somewhere(plan: Plan, rng: random.Random) -> Iterator[ShardKey]:
    """The plan's shards from somewhere on, round and round; of each group as many as there are of it."""
    places = [(group, rng.randrange(group.tiling.shards)) for group in plan.groups]
    most = max(group.tiling.shards for group in plan.groups)
    for step in count():
        for group, first in places:
            shards = group.tiling.shards
            taken, next_taken = step * shards // most, (step + 1) * shards // most
            if next_taken > taken:
                yield ShardKey(group.name, *group.tiling.shard_at((first + taken) % shards))
