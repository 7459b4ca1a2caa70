"""Which executor a job asks for, made ready to be entered."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.engine.local import LocalExecutor, engine, retry_policy
from downloader.engine.memory import needed_memory, pixel_memory
from downloader.errors import JobError

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

    from downloader.engine.connect import Connection
    from downloader.engine.shared_budget import Allowance
    from downloader.engine.stop import Stop
    from downloader.events import Outcome
    from downloader.job import Job
    from downloader.mosaic.subset import Selection
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.planning import Plan
    from downloader.protocols import Executor, Progress

__all__ = ["executor_of", "memory_for", "refuse_what_cannot_travel"]


def memory_for(job: Job, plan: Plan, allowance: Allowance | None = None) -> int:
    """Bytes for pixels of a run; with workers on this machine those of one of them.

    Args:
        job: what is fetched.
        plan: the same, settled.
        allowance: what jobs of one process share; None for a job alone.

    Raises:
        JobError: `limits.memory` is too little; the message holds the number needed.
    """
    if allowance is not None:
        return allowance.memory_of(job, plan)
    memory = pixel_memory(job.limits.memory, plan)
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


def executor_of(
    job: Job,
    plan: Plan,
    memory: int,
    mosaic: ZarrMosaic,
    chosen: Selection | None,
    connection: Connection,
    progress: Progress,
    stop: Stop,
    allowance: Allowance | None = None,
    outcomes: MemoryObjectSendStream[Outcome] | None = None,
) -> Executor:
    """The executor of a job, for one run.

    Args:
        job: what is fetched.
        plan: the same, settled.
        memory: bytes for pixels, from `memory_for`.
        mosaic: where it goes.
        chosen: what of it is fetched; None for all that is missing.
        connection: where it comes from.
        progress: told what happens.
        stop: who may ask to stop.
        allowance: what jobs of one process share; None for a job alone.
        outcomes: takes what becomes of each request; waited for by workers in this process.
    """
    # For nothing at all, no worker need be started.
    is_done = all(counts.stored == counts.tiles for counts in mosaic.counts().values())
    if job.executor.dask is None or is_done:
        return LocalExecutor(
            *engine(job, plan, memory, chosen or mosaic, connection, progress, stop, allowance, outcomes)
        )
    return _workers(job, plan, memory, mosaic, chosen, connection, progress, stop, outcomes)


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


def _workers(
    job: Job,
    plan: Plan,
    memory: int,
    mosaic: ZarrMosaic,
    chosen: Selection | None,
    connection: Connection,
    progress: Progress,
    stop: Stop,
    outcomes: MemoryObjectSendStream[Outcome] | None,
) -> Executor:
    from downloader._version import __version__
    from downloader.engine.dask.executor import DaskExecutor, Terms
    from downloader.engine.dask.messages import Assignment, Grant, silence_s

    settings, limits = job.executor.dask, job.limits
    assert settings is not None  # noqa: S101  # asked before
    place = job.mosaic_path
    assignment = Assignment(
        seat="",
        version=__version__,
        # Neither image lists nor what lies along an axis are a worker's business, and they may be large.
        plan=replace(plan, listed=None, samples=None),
        layouts=tuple(replace(layout, along=()) for layout in mosaic.layouts),
        mosaic=os.path.abspath(place) if isinstance(place, Path) else place,  # noqa: PTH100  # keeps links as they are
        durable=job.mosaic.durability == "full",
        access=connection.access,
        policy=retry_policy(job),
        checkpoint_s=job.mosaic.checkpoint,
        give_up_after_s=limits.give_up_after,
        memory=None if settings.workers is None else memory,
        memory_limit=limits.memory,
        grant=Grant(0, limits.requests_per_second, 0),
        silence_s=silence_s(),
    )
    terms = Terms(
        assignment,
        limits.concurrency,
        limits.requests_per_second,
        limits.max_requests,
        limits.max_bytes,
        limits.max_time,
    )
    return DaskExecutor(settings, terms, mosaic, _Seen(mosaic, chosen), progress, stop, outcomes)


class _Seen:
    """What is to be fetched, as the run's backlog asks for it."""

    def __init__(self, mosaic: ZarrMosaic, chosen: Selection | None) -> None:
        self.missing = (chosen or mosaic).missing
        self.known = mosaic.known
