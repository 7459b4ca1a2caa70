"""Several jobs in one process, under one quota."""

from __future__ import annotations

import os
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import anyio

from downloader.engine.call import RunCall, RunKeywords
from downloader.engine.shared_budget import SharedBudget
from downloader.engine.stop import Stop
from downloader.errors import JobError
from downloader.job.load import JobLike
from downloader.job.units import parse_size
from downloader.report.report import Report


class Session:
    """Jobs that run side by side under one quota.

        async with downloader.Session(jobs=2) as session, asyncio.TaskGroup() as group:
            for job in ("april.yaml", "may.yaml", "june.yaml"):
                group.create_task(session.download(job))

    All jobs of one project at one host ask through one limiter: together they never pass its concurrency and rate, slow
    down together, and are served in turns. They have one budget of retries, and divide the memory. Each keeps to its own
    `limits` besides. Belongs to the event loop that enters it.
    """

    def __init__(
        self,
        *,
        jobs: int = 2,
        concurrency: int | None = None,
        requests_per_second: float | None = None,
        memory: int | str = "1GiB",
    ) -> None:
        """Check the numbers; nothing is started before the block is entered.

        Args:
            jobs: how many run at a time; others wait for their turn. Each may use so large a part of the memory.
            concurrency: requests in flight over all jobs of a project, at most; None for the `limits.concurrency` of the
                first of them.
            requests_per_second: requests started each second, likewise.
            memory: resident memory of the process, at most: bytes, or a text such as `2GiB`.

        Raises:
            JobError: a number that makes no sense.
        """
        if jobs < 1 or (concurrency is not None and concurrency < 1):
            raise JobError(f"Session: jobs and concurrency are at least 1, got {jobs} and {concurrency}")
        if requests_per_second is not None and not requests_per_second > 0:
            raise JobError(f"Session: requests_per_second is more than 0, got {requests_per_second}")
        self._jobs = jobs
        self._new_budget = partial(SharedBudget, jobs, _bytes(memory), concurrency, requests_per_second)
        self._budget: SharedBudget | None = None

    async def __aenter__(self) -> Self:
        self._turns = anyio.Semaphore(self._jobs)
        self._budget = self._new_budget()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget = None

    async def download(
        self,
        job: JobLike,
        path: str | os.PathLike[str] | None = None,
        *,
        stop: Stop | None = None,
        **keywords: Unpack[RunKeywords],
    ) -> Report:
        """Run a job as one of the session's; arguments, result and errors as of `adownload`.

        Raises:
            JobError: also where the job asks for workers of Dask, whose quota is divided among themselves.
        """
        call = RunCall.of(job, path, stop, keywords)
        if self._budget is None:
            raise JobError("Session: jobs run inside its block: async with downloader.Session() as session")
        if not call.job.executor.is_local:
            raise JobError(
                "the jobs of a session share one process; run this one by itself, or with executor: local",
                key="executor.dask",
            )
        async with self._turns:
            return await call.run(budget=self._budget)


def _bytes(memory: int | str) -> int:
    try:
        size = parse_size(memory)
    except ValueError as error:
        raise JobError(f"Session: memory: {memory!r}: {error}") from None
    if size < 2**27:
        raise JobError(f"Session: memory: {memory!r}: give at least 128MiB")
    return size
