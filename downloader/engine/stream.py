"""Iteration over the outcomes of a run under way, of which a bounded number waits in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import anyio

from downloader.engine.call import RunCall, RunKeywords
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, InterruptionError, StoppedError
from downloader.events import Outcome
from downloader.job.load import JobLike

if TYPE_CHECKING:
    import os

    from anyio.streams.memory import MemoryObjectSendStream

    from downloader.report.report import Report


_AHEAD = 64
"""Outcomes that may wait to be taken before the run pauses."""


def outcomes(
    job: JobLike,
    path: str | os.PathLike[str] | None = None,
    *,
    stop: Stop | None = None,
    ahead: int = _AHEAD,
    **keywords: Unpack[RunKeywords],
) -> Outcomes:
    """Fetch what a job misses, and iterate over what becomes of each request: `Stored`, `Split` or `Failed`.

        async with downloader.outcomes("job.yaml") as run:
            async for outcome in run:
                ...
        run.report

    The run waits for the loop: it starts no further request while `ahead` outcomes are not taken. Leaving the block early
    drains the run, as one Ctrl-C does: what is under way is finished and saved. A block that is cancelled, also by
    `anyio.move_on_after` or `asyncio.timeout`, saves what is there and ends. Without `async with` the loop works alike, but
    a run that is left early ends in the background.

    Args:
        job: as in `download`, with `path` and `keywords`.
        path: as in `download`.
        stop: `stop.ask("why")` drains the run.
        ahead: outcomes that may wait, besides one or two for each request in flight. With an executor on other machines they
            are not held back.
        **keywords: the other arguments of `download`; without `progress` there is no bar.

    Raises:
        JobError: the job is wrong. The other errors of `download` end the iteration, after its last outcome.
    """
    call = RunCall.of(job, path, stop, keywords)
    # Workers on other machines are not held back.
    limit = max(1, ahead) if call.job.executor.is_local else math.inf
    return Outcomes(lambda outcomes: call.run(outcomes=outcomes), call.stop, limit)


class Outcomes:
    """A run to iterate over; made by `outcomes`, used once, on one event loop."""

    def __init__(
        self,
        start: Callable[[MemoryObjectSendStream[Outcome]], Coroutine[Any, Any, Report]],
        stop: Stop,
        ahead: float,
    ) -> None:
        self._start = start
        self._stop = stop
        self._ahead = ahead
        self._task: asyncio.Task[Report] | None = None
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
        send, self._receive = anyio.create_memory_object_stream[Outcome](self._ahead)
        self._task = asyncio.create_task(self._start(send), name="downloader")
        self._task.add_done_callback(lambda _: send.close())
        return self

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self._alone() if self._task is None else self

    async def __anext__(self) -> Outcome:
        if self._task is None:
            raise StopAsyncIteration
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            self._keep_report(self._task)
        except anyio.ClosedResourceError:  # the block was left
            pass
        raise StopAsyncIteration

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = self._task
        if task is None:
            return
        self._receive.close()
        early = not task.done()
        if early:
            if not isinstance(error, asyncio.CancelledError):
                self._stop.ask("the loop over the outcomes was left")
            await _end_of(task, cancel=isinstance(error, asyncio.CancelledError))
        try:
            self._keep_report(task)
        except (StoppedError, InterruptionError):
            if not early and error is None:
                raise
        except (DownloadError, asyncio.CancelledError):
            if error is None:
                raise

    def _keep_report(self, task: asyncio.Task[Report]) -> None:
        """Keep the report of a run that ended. Raises the error that ended it."""
        try:
            self._report = task.result()
        except DownloadError as error:
            self._report = error.report
            raise

    async def _alone(self) -> AsyncGenerator[Outcome]:
        async with self:
            async for outcome in self:
                yield outcome


async def _end_of(task: asyncio.Task[Report], *, cancel: bool) -> None:
    """Return when a task has ended. It is cancelled at once, or where this wait is cancelled, and never twice.

    A scope of anyio delivers its cancellation at each wait. Passed on each time, it would interrupt the task as it saves.
    """
    cancelled: asyncio.CancelledError | None = None
    if cancel:
        task.cancel()
    while not task.done():
        try:
            with anyio.CancelScope(shield=cancel):
                await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            if not cancel:
                task.cancel()
            cancel = True
    if cancelled is not None:
        raise cancelled
