"""One job's place at a limiter that several jobs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import anyio

from downloader.errors import FetchProblem
from downloader.flow.limiter import AdaptiveLimiter

if TYPE_CHECKING:
    from types import TracebackType

    from downloader.protocols import Limiter

__all__ = ["JobLimiter"]


class JobLimiter:
    """`seams.Limiter`: passes on to the shared one, and keeps the job's own bound besides.

    Jobs are served in the order in which their requests ask, so that each gets its part.
    """

    def __init__(
        self,
        shared: AdaptiveLimiter,
        concurrency: int,
        listeners: set[Callable[[str], None]],
        notice: Callable[[str], None],
    ) -> None:
        """A place, taken by entering it.

        Args:
            shared: the limiter of all.
            concurrency: requests of this job in flight, at most.
            listeners: who hears of the shared limiter.
            notice: added to them while the place is taken.
        """
        self._shared = shared
        self._concurrency = concurrency
        self._slots = anyio.Semaphore(concurrency)
        self._listeners = listeners
        self._notice = notice

    def __enter__(self) -> Self:
        self._listeners.add(self._notice)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listeners.discard(self._notice)

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
        await self._slots.acquire()
        try:
            return await self._shared.acquire()
        except BaseException:
            self._slots.release()
            raise

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """See `Limiter`."""
        self._slots.release()
        self._shared.release(ticket, problem)

    def restrict(self) -> None:
        """See `Limiter`."""
        self._shared.restrict()


if TYPE_CHECKING:

    def _conforms(limiter: JobLimiter) -> Limiter:
        return limiter
