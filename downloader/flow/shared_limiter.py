"""One job's place at a limiter that several jobs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from downloader.errors import FetchProblem
from downloader.flow.limiter import AdaptiveLimiter

if TYPE_CHECKING:
    from downloader.events import Notice
    from downloader.protocols import Limiter

__all__ = ["JobLimiter"]


class JobLimiter:
    """A `Limiter` that passes on to the shared one, and keeps the job's own bound besides.

    Jobs are served in the order in which their requests ask, so that each gets its part.
    """

    def __init__(
        self,
        shared: AdaptiveLimiter,
        concurrency: int,
        listeners: set[Callable[[Notice], object]],
        notice: Callable[[Notice], object],
    ) -> None:
        """Make a place that is not in use yet.

        Args:
            shared: the limiter of all jobs.
            concurrency: requests of this job in flight, at most.
            listeners: functions that are told the notices of the shared limiter.
            notice: is among them while the job has requests that wait or are under way.
        """
        self._shared = shared
        self._concurrency = concurrency
        self._slots = anyio.Semaphore(concurrency)
        self._listeners = listeners
        self._notice = notice
        self._requests = 0

    @property
    def in_doubt(self) -> bool:
        """See `Limiter`."""
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
        """See `Limiter`. A cancelled wait takes nothing."""
        self._count(1)
        try:
            await self._slots.acquire()
            try:
                return await self._shared.acquire()
            except BaseException:
                self._slots.release()
                raise
        except BaseException:
            self._count(-1)
            raise

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """See `Limiter`."""
        self._slots.release()
        self._shared.release(ticket, problem)
        self._count(-1)

    def _count(self, change: int) -> None:
        self._requests += change
        if self._requests:
            self._listeners.add(self._notice)
        else:
            self._listeners.discard(self._notice)

    def restrict(self) -> None:
        """See `Limiter`."""
        self._shared.restrict()


if TYPE_CHECKING:

    def _conforms(limiter: JobLimiter) -> Limiter:
        return limiter
