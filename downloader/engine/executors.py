"""Choose the executor that a job asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from downloader.engine.context import RunContext
from downloader.engine.local import LocalExecutor
from downloader.engine.memory import needed_memory, pixel_memory
from downloader.errors import JobError
from downloader.job import Job
from downloader.planning import Plan

if TYPE_CHECKING:
    from downloader.engine.shared_budget import SharedBudget
    from downloader.protocols import Executor


def memory_for(job: Job, plan: Plan, budget: SharedBudget | None = None, before: int | None = None) -> int:
    """Return the bytes for pixels of a run; with workers on this machine, those of one worker.

    Args:
        job: what is fetched.
        plan: its plan.
        budget: what jobs of one process share; None for a job alone.
        before: resident bytes of this process when the job began, as `base_memory` takes it.

    Raises:
        JobError: `limits.memory` is too little; the message holds the number needed.
    """
    if budget is not None:
        return budget.memory_of(job, plan)
    memory = pixel_memory(job.limits.memory, plan, before)
    workers = 1 if job.executor.dask is None else job.executor.dask.workers or 1
    missing = needed_memory(plan) - memory // workers
    if missing > 0:
        total = (job.limits.memory + workers * missing) // 2**20 + 1
        raise JobError(
            f"{job.limits.memory // 2**20} MiB is too little for {workers} workers that each hold a shard; at"
            f" least {total} MiB are needed, or fewer workers",
            key="limits.memory",
        )
    return memory // workers


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
