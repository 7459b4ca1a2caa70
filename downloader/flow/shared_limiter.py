"""The limiter of one job, which several jobs may share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import anyio

from downloader.errors import Action, Cause, FetchProblem
from downloader.flow.limiter import AdaptiveLimiter

if TYPE_CHECKING:
    from downloader.events import Notice


_NOT_SENT = FetchProblem(Action.RETRY, Cause.CANCELLED, "its access token expired before it was sent")


class JobLimiter:
    """A view of a shared limiter with the job's own bound, which waits for access tokens before a request starts.

    Jobs are served in the order in which their requests ask.
    """

    def __init__(
        self,
        shared: AdaptiveLimiter,
        concurrency: int,
        renewal: Callable[[], asyncio.Task[None] | None] = lambda: None,
    ) -> None:
        """Make a job's limiter.

        Args:
            shared: the limiter of all jobs.
            concurrency: requests of this job in flight, at most.
            renewal: returns the renewal of an access token that a request has to wait for, None where there is none.
        """
        self._shared = shared
        self._slots = anyio.Semaphore(concurrency)
        self._renewal = renewal

    def listen(self, notice: Callable[[Notice], object]) -> AbstractContextManager[None]:
        """Tell `notice` of outages and restrictions while the block runs."""
        return self._shared.listen(notice)

    @property
    def in_doubt(self) -> bool:
        """Whether so much failed that the service itself may be out."""
        return self._shared.in_doubt

    @property
    def in_flight(self) -> int:
        """Requests of all jobs under way."""
        return self._shared.in_flight

    @property
    def ceiling(self) -> int:
        """Requests of all jobs that may be under way; of this job never more than its own limit."""
        return min(self._shared.ceiling, self._shared.in_flight + self._slots.value)

    async def acquire(self) -> int:
        """Return when a request may start and has a token, with a ticket to give back. A cancelled wait takes nothing.

        Raises:
            StoppedError: the limiter gave up on the service.
        """
        await self._slots.acquire()
        try:
            while True:
                while (renewal := self._renewal()) is not None:
                    await asyncio.wait([renewal])
                ticket = await self._shared.acquire()
                if self._renewal() is None:
                    return ticket
                self._shared.release(ticket, _NOT_SENT)
        except BaseException:
            self._slots.release()
            raise

    async def again(self, ticket: int) -> None:
        """Return when another request may start in the place of the one that holds `ticket`."""
        await self._shared.again(ticket)

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """End the request: with pixels (None) or with a problem. Never waits; each ticket once."""
        self._slots.release()
        self._shared.release(ticket, problem)

    def restrict(self) -> None:
        """Halve the concurrency: the service says that it restricts this project's."""
        self._shared.restrict()
