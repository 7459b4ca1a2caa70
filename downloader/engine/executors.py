"""Choose the executor that a job asks for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader._version import __version__
from downloader.engine.context import RunContext
from downloader.engine.limits import RunLimits
from downloader.engine.local import LocalExecutor, retry_policy, worker_parts
from downloader.engine.memory import needed_memory, pixel_memory
from downloader.errors import JobError
from downloader.job import Job
from downloader.planning import Plan

if TYPE_CHECKING:
    from downloader.engine.shared_budget import SharedBudget
    from downloader.mosaic.subset import Selection
    from downloader.mosaic.writer import ZarrMosaic
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


def executor_of(context: RunContext) -> Executor:
    """Return the executor of a job, for one run."""
    job, mosaic = context.job, context.mosaic
    # For nothing at all, no worker need be started.
    is_done = all(counts.stored == counts.tiles for counts in mosaic.counts().values())
    if job.executor.dask is None or is_done or context.feed is not None:
        return LocalExecutor(*worker_parts(context, context.chosen or mosaic), context.feed)
    return _dask_executor(context)


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


def _dask_executor(context: RunContext) -> Executor:
    # Pulls in dask.distributed, which most runs do not need.
    from downloader.engine.dask.executor import DaskExecutor, Terms
    from downloader.engine.dask.messages import Assignment, Grant

    job, mosaic = context.job, context.mosaic
    settings, limits = job.executor.dask, job.limits
    assert settings is not None  # noqa: S101  # asked before
    place = job.mosaic_path
    assignment = Assignment(
        name="",
        version=__version__,
        # Neither image lists nor what lies along an axis are a worker's business, and they may be large.
        plan=replace(context.plan, listed=None, samples=None),
        layouts=tuple(replace(layout, along=()) for layout in mosaic.layouts),
        mosaic=os.path.abspath(place) if isinstance(place, Path) else place,  # noqa: PTH100  # keeps links as they are
        durable=job.mosaic.durability == "full",
        access=context.connection.access,
        policy=retry_policy(job),
        checkpoint_s=job.mosaic.checkpoint,
        give_up_after_s=limits.give_up_after,
        memory=None if settings.workers is None else context.memory,
        memory_limit=limits.memory,
        grant=Grant(0, limits.requests_per_second, 0),
        max_requests=limits.max_requests,
        silence_s=settings.leave_after,
    )
    terms = Terms(
        assignment,
        limits.concurrency,
        limits.requests_per_second,
        RunLimits(limits.max_requests, limits.max_bytes, limits.max_eecu),
        limits.max_time,
    )
    return DaskExecutor(
        settings,
        terms,
        mosaic,
        _Seen(mosaic, context.chosen),
        context.progress,
        context.stop,
        context.outcomes,
    )


class _Seen:
    """The part of a mosaic that is fetched, as the backlog of Dask's workers asks for it."""

    def __init__(self, mosaic: ZarrMosaic, chosen: Selection | None) -> None:
        self.missing = (chosen or mosaic).missing
        self.known = mosaic.known
