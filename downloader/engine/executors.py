"""Choose the executor that a job asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from downloader.engine.context import RunContext
from downloader.engine.local import LocalExecutor
from downloader.errors import JobError
from downloader.job import Job

if TYPE_CHECKING:
    from downloader.protocols import Executor


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
