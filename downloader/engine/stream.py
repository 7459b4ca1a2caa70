"""Outcomes while a run is under way: to iterate over, with no more of them in memory than are waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from downloader.engine.connect import Credentials
from downloader.engine.run import run
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, InterruptedRunError, StoppedError
from downloader.job.load import JobLike, as_job
from downloader.progress import Fanout, Silent

if TYPE_CHECKING:
    import os

    from downloader.errors import FetchProblem
    from downloader.events import Outcome
    from downloader.job import Job
    from downloader.planning import Estimate, Request
    from downloader.protocols import Progress
    from downloader.report.report import Report

__all__ = ["Callbacks", "Outcomes", "outcomes"]

_AHEAD = 64
"""Outcomes that wait for who iterates before the run pauses."""


class Callbacks(Silent):
    """A `progress` made of functions; they are called on the run's event loop, so they must be quick.

    What a function raises ends the run with that error, everything saved.
    """

    def __init__(
        self,
        on_outcome: Callable[[Outcome], object] | None = None,
        *,
        on_start: Callable[[Estimate, int], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_retry: Callable[[Request, FetchProblem, int], object] | None = None,
        on_flow: Callable[[int, int], object] | None = None,
    ) -> None:
        """Of functions; those that are left out are not called.

        Args:
            on_outcome: given what became of each request.
            on_start: given the estimate, and how many of its tiles earlier runs stored.
            on_notice: given each line worth knowing.
            on_retry: given the request, why a call brought nothing, and which attempt it was.
            on_flow: given the requests under way, and how many may be.
        """
        self._on_outcome = on_outcome
        self._on_start = on_start
        self._on_notice = on_notice
        self._on_retry = on_retry
        self._on_flow = on_flow

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        if self._on_start is not None:
            self._on_start(estimate, tiles_done)

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        if self._on_retry is not None:
            self._on_retry(request, problem, attempt)

    def notice(self, text: str) -> None:
        """See `Progress`."""
        if self._on_notice is not None:
            self._on_notice(text)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        if self._on_flow is not None:
            self._on_flow(in_flight, ceiling)


def outcomes(
    job: JobLike,
    path: str | os.PathLike[str] | None = None,
    *,
    credentials: Credentials | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    overwrite: bool = False,
    accept: Collection[str] = (),
    ahead: int = _AHEAD,
    **sections: Any,  # the job file's own values
) -> Outcomes:
    """Fetch what a job misses, and iterate over what becomes of each request.

        async with downloader.outcomes("job.yaml") as run:
            async for outcome in run:
                ...
        run.report

    The run waits for who iterates: it starts no further request while `ahead` outcomes wait. Leaving the block early
    drains it, as one Ctrl-C does: what is under way is finished and saved. Without `async with` the loop works alike, but
    what is left early ends in the background.

    Args:
        job: as in `download`, with `path` and `sections`.
        path: as in `download`.
        credentials: any google-auth credentials object, in place of the job's `auth`.
        progress: who else watches.
        stop: `stop.ask("why")` drains the run.
        overwrite: as in `download`.
        accept: as in `download`.
        ahead: outcomes that may wait, besides one or two for each request in flight. With an executor on other machines they
            are not held back.
        **sections: as in `download`.

    Raises:
        JobError: the job is wrong. The other errors of `download` end the iteration, after its last outcome.
    """
    return Outcomes(
        as_job(job, path, **sections), credentials, progress, stop or Stop(), overwrite, accept, ahead
    )


class Outcomes:
    """A run to iterate over; made by `outcomes`, used once, on one event loop."""

    def __init__(
        self,
        job: Job,
        credentials: Credentials | None,
        progress: Progress | None,
        stop: Stop,
        overwrite: bool,
        accept: Collection[str],
        ahead: int,
    ) -> None:
        self._feed = _Feed(max(1, ahead))
        watchers: Progress = self._feed if progress is None else Fanout(self._feed, progress)
        self._stop = stop
        self._start = partial(
            run,
            job,
            progress=watchers,
            stop=stop,
            credentials=credentials,
            overwrite=overwrite,
            accept=accept,
        )
        self._task: asyncio.Task[Report] | None = None
        self._left = False
        self._report: Report | None = None

    @property
    def report(self) -> Report:
        """What the run did, once it ended and had begun; also after the block was left early.

        Raises:
            RuntimeError: it did not.
        """
        if self._report is None:
            raise RuntimeError("the run has not ended, or never began; iterate over it first")
        return self._report

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a run is iterated over once; call outcomes again for another one")
        self._task = asyncio.create_task(self._start(), name="downloader")
        self._task.add_done_callback(self._feed.end)
        return self

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self._alone() if self._task is None else self

    async def __anext__(self) -> Outcome:
        if self._task is None or self._left:
            raise StopAsyncIteration
        outcome = await self._feed.next()
        if outcome is None:
            self._settle(self._task)
            raise StopAsyncIteration
        return outcome

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = self._task
        if task is None:
            return
        early = not task.done()
        if early:
            self._left = True
            if isinstance(error, asyncio.CancelledError):
                task.cancel()
            else:
                self._stop.ask("the loop over the outcomes was left")
            await _end_of(task)
        try:
            self._settle(task)
        except (StoppedError, InterruptedRunError):
            if not early and error is None:
                raise
        except (DownloadError, asyncio.CancelledError):
            if error is None:
                raise

    def _settle(self, task: asyncio.Task[Report]) -> None:
        """Keep the report of a run that ended. Raises what it raised."""
        try:
            self._report = task.result()
        except DownloadError as error:
            self._report = error.report
            raise

    async def _alone(self) -> AsyncGenerator[Outcome]:
        async with self:
            async for outcome in self:
                yield outcome


class _Feed(Silent):
    """From the run to who iterates, on one event loop."""

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._waiting: deque[Outcome] = deque()
        self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self._waiting.append(outcome)
        self._news.set()
        if len(self._waiting) >= self._ahead:
            self._room.clear()

    async def room(self) -> None:
        """See `Patient`."""
        await self._room.wait()

    def end(self, _task: object) -> None:
        """The run ended."""
        self._ended = True
        self._news.set()

    async def next(self) -> Outcome | None:
        """The next outcome; None behind the last."""
        while not self._waiting:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        outcome = self._waiting.popleft()
        if len(self._waiting) < self._ahead:
            self._room.set()
        return outcome


async def _end_of(task: asyncio.Task[Report]) -> None:
    """Return when it ended, also where whoever waits is told to stop waiting: then it is told to be quick."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            task.cancel()
    if cancelled is not None:
        raise cancelled
