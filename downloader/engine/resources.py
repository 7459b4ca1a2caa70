"""Resources of one worker: its share of the job's limits, and the objects it works with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from anyio.streams.memory import MemoryObjectSendStream

from downloader.engine.stop import Stop
from downloader.events import Outcome
from downloader.flow.retry import RetryBudget, RetryPolicy
from downloader.job.sections.service import Limits
from downloader.planning import Plan, Request
from downloader.planning.compute_cost import most_seconds, seconds_of
from downloader.planning.split import weight
from downloader.protocols import Clock, Limiter, Mosaic, PixelSource, Progress


@dataclass(frozen=True, slots=True)
class Used:
    """Requests, bytes and compute that were used, or will be."""

    requests: int = 0
    nbytes: int = 0
    """Bytes of pixels."""
    eecu_s: float = 0.0
    """EECU-seconds at most, by the upper end of the estimate."""

    @classmethod
    def by(cls, plan: Plan, request: Request) -> Used:
        """Return the use of a request that brings its pixels at the first call."""
        nbytes = weight(plan.group(request.shard.group), request)
        return cls(1, nbytes, most_seconds(seconds_of(plan, request)))

    def __add__(self, other: Used) -> Used:
        return Used(self.requests + other.requests, self.nbytes + other.nbytes, self.eecu_s + other.eecu_s)

    def __sub__(self, other: Used) -> Used:
        return Used(self.requests - other.requests, self.nbytes - other.nbytes, self.eecu_s - other.eecu_s)


@dataclass(slots=True)
class Spending:
    """What was used so far by runs that count as one."""

    used: Used = field(default_factory=Used)


def reached(limits: Limits, used: Used, more: Used) -> str | None:
    """Return a line about the limit that `used` and `more` together would pass; None where there is none."""
    if limits.max_requests is not None and used.requests + more.requests > limits.max_requests:
        return f"limits.max_requests: {limits.max_requests:,} requests are made"
    if limits.max_bytes is not None and used.nbytes + more.nbytes > limits.max_bytes:
        return (
            f"limits.max_bytes: {used.nbytes:,} bytes are fetched and the next request would pass the limit"
        )
    if limits.max_eecu is not None and more.eecu_s and used.eecu_s + more.eecu_s > 3600 * limits.max_eecu:
        return (
            f"limits.max_eecu: what was computed may have cost {used.eecu_s / 3600:.3g} EECU-hours (the upper end of an"
            " estimate), and the next request would pass the limit"
        )
    return None


def retry_policy(limits: Limits) -> RetryPolicy:
    """Return how often and how long one request of a job is repeated."""
    return RetryPolicy(retries=limits.retries, total_s=max(3600.0, 2 * limits.give_up_after))


@dataclass(frozen=True, slots=True)
class Share:
    """Plan and limits of one worker, as plain values."""

    plan: Plan
    limits: Limits
    """Its part of the job's: what makes it stop, resumable, how many requests are in flight, how often they are repeated."""
    memory: int
    """Bytes for pixels on their way: answers, and shards that are open."""
    checkpoint_s: float
    """Open shards are committed as far as they are at least so often."""
    is_piecemeal: bool = False
    """Whether a few tiles of each shard are wanted, as readers come to them: requests have the plan's shape from the first
    on, and as many shards may be open as requests are in flight."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Source, destination and surroundings of one worker."""

    source: PixelSource
    mosaic: Mosaic
    limiter: Limiter
    clock: Clock
    rng: random.Random
    progress: Progress
    budget: RetryBudget
    stop: Stop
    outcomes: MemoryObjectSendStream[Outcome] | None = None
    """Takes what becomes of each request; as long as it is full, its worker starts no further requests."""
    spending: Spending = field(default_factory=Spending)
    """What counts as used already; the worker adds what it used."""
