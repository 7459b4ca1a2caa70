"""Fetch in this process: what its one worker is given."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from downloader.earthengine.pixels import RestPixelSource
from downloader.engine.context import FetchContext
from downloader.engine.limits import RunLimits
from downloader.engine.resources import Parts, Share
from downloader.engine.worker import ListedShards, work
from downloader.flow.clock import MonotonicClock
from downloader.flow.retry import RetryBudget, RetryPolicy
from downloader.job import Job
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from types import TracebackType

    from downloader.protocols import Feed, Mosaic


def retry_policy(job: Job) -> RetryPolicy:
    """Return how often and how long one request of the job is repeated."""
    return RetryPolicy(retries=job.limits.retries, total_s=max(3600.0, 2 * job.limits.give_up_after))


def worker_parts(context: FetchContext, sink: Mosaic) -> tuple[Share, Parts]:
    """Return what a worker of this process needs to fetch the tiles of a plan, within the job's limits.

    Args:
        context: what is fetched, where from, and how much may be used.
        sink: takes the pixels.
    """
    clock = MonotonicClock()
    rng = random.Random()  # noqa: S311  # jitter, not a secret
    job, budget, connection = context.job, context.budget, context.connection
    limits = job.limits
    share = Share(
        plan=context.plan,
        concurrency=limits.concurrency,
        memory=context.memory,
        policy=retry_policy(job),
        checkpoint_s=job.mosaic.checkpoint,
        limits=RunLimits(limits.max_requests, limits.max_bytes, limits.max_eecu),
        max_time_s=limits.max_time,
        is_piecemeal=context.feed is not None,
    )
    retries = RetryBudget() if budget is None else budget.retries
    source = RestPixelSource(connection.client)
    return share, Parts(
        source,
        sink,
        connection.limiter,
        clock,
        rng,
        context.progress,
        retries,
        context.stop,
        context.outcomes,
        context.spending,
    )


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """An `Executor` of one worker, in this process."""

    share: Share
    parts: Parts
    feed: Feed | None = None
    """Hands out shards in place of those that `run` is given; None for just these."""

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`."""
        await work(self.share, self.parts, self.feed or ListedShards(shards))

    @property
    def peak_memory(self) -> int:
        """See `Executor`."""
        return 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
