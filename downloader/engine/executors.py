"""The executor of this process, and the choice of the one that a job asks for."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.earthengine.pixels import RestPixelSource
from downloader.engine.context import FetchContext, RunContext
from downloader.engine.resources import Parts, Share
from downloader.engine.worker import ListedShards, work
from downloader.errors import JobError
from downloader.flow.clock import MonotonicClock
from downloader.flow.retry import RetryBudget
from downloader.job import Job
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from downloader.protocols import Executor, Mosaic


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """An `Executor` of one worker, in this process."""

    context: FetchContext
    """What is fetched, where from, and how much may be used."""
    sink: Mosaic
    """Takes the pixels."""
    peak_memory: int = 0
    """See `Executor`."""

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`; a feed of the run's options takes the place of `shards`."""
        context, options = self.context, self.context.options
        job = context.job
        share = Share(
            plan=context.plan,
            limits=job.limits,
            memory=context.memory,
            checkpoint_s=job.mosaic.checkpoint,
            is_piecemeal=options.feed is not None,
        )
        parts = Parts(
            RestPixelSource(context.connection.client),
            self.sink,
            context.connection.limiter,
            MonotonicClock(),
            random.Random(),  # noqa: S311  # jitter, not a secret
            context.progress,
            RetryBudget() if options.budget is None else options.budget.retries,
            context.stop,
            options.outcomes,
            options.spending,
        )
        await work(share, parts, options.feed or ListedShards(shards))


@asynccontextmanager
async def executor_of(context: RunContext) -> AsyncIterator[Executor]:
    """Yield the executor of a job, for one run. Raises what `dask_executor` does."""
    dask = context.job.executor.dask
    # For nothing at all, no worker need be started.
    is_done = all(counts.stored == counts.tiles for counts in context.mosaic.counts().values())
    if dask is None or is_done or context.options.feed is not None:
        yield LocalExecutor(context, context.chosen or context.mosaic)
        return
    # Pulls in dask.distributed, which most runs do not need.
    from downloader.engine.dask.executor import dask_executor

    async with dask_executor(context, dask) as executor:
        yield executor


def refuse_what_cannot_travel(job: Job, *, credentials: bool) -> None:
    """Raise JobError where workers in other processes cannot have what the job names.

    Args:
        job: the job.
        credentials: whether the caller passed a credentials object.
    """
    if job.executor.is_local:
        return
    place = job.mosaic_path
    if isinstance(place, str) and place.startswith("memory://"):
        raise JobError(
            f"{place} is in this process's memory, which workers of executor.dask do not see",
            key="mosaic.path",
        )
    if credentials:
        raise JobError(
            "a credentials object stays in this process; name credentials that workers find for themselves:"
            " auth.key_file or auth.application_default",
            key="executor.dask",
        )
