"""What the jobs of one process share: a limiter for each project and host, one budget of retries, the memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.earthengine.pixels import RestPixelSource
from downloader.engine.memory import HEADROOM, base_memory, needed_memory
from downloader.errors import Action, FetchProblem, JobError, TileError
from downloader.flow.clock import MonotonicClock
from downloader.flow.limiter import CANCELLED, AdaptiveLimiter
from downloader.flow.retry import RetryBudget
from downloader.flow.shared_limiter import JobLimiter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.earthengine.client import EarthEngine
    from downloader.events import Notice
    from downloader.job import Job
    from downloader.planning import PixelRequest, Plan

__all__ = ["Allowance"]


@dataclass(slots=True)
class Allowance:
    """One for all jobs of a session. Belongs to one event loop."""

    jobs: int
    """Jobs at once, at most; each may use so large a part of the memory."""
    memory: int
    """Resident bytes of the process, at most."""
    concurrency: int | None = None
    """Requests in flight at most, over all jobs of one project; None for what the first of them asks for."""
    requests_per_second: float | None = None
    """The same of starts per second."""
    budget: RetryBudget = field(default_factory=RetryBudget)
    _base: int = field(default_factory=base_memory)
    """Resident bytes before there was any job."""
    _limiters: dict[tuple[str, str], tuple[AdaptiveLimiter, set[Callable[[Notice], object]]]] = field(
        default_factory=dict
    )

    def limiter(self, job: Job, client: EarthEngine, notice: Callable[[Notice], object]) -> JobLimiter:
        """A job's place at the limiter of its project and host; within the job's own limits as well.

        Args:
            job: whose limits count besides.
            client: says which project and host.
            notice: told what the limiter has to say, while the job runs.
        """
        limits = job.limits
        key = (client.project or client.credentials_in_use, urlsplit(client.high_volume).netloc)
        limiter, listeners = self._limiters.get(key, (None, set()))
        if limiter is None or (limiter.has_given_up and not listeners):
            listeners = set()
            limiter = AdaptiveLimiter(
                concurrency=self.concurrency or limits.concurrency,
                requests_per_second=self.requests_per_second or limits.requests_per_second,
                clock=MonotonicClock(),
                rng=random.Random(),  # noqa: S311  # jitter, not a secret
                give_up_after_s=limits.give_up_after,
                notice=_telling(listeners),
            )
            self._limiters[key] = limiter, listeners
        return JobLimiter(limiter, limits.concurrency, listeners, notice)

    def canaries(self, job: Job, client: EarthEngine) -> RestPixelSource:
        """A source of pixels for the job's canaries, which ask when the others let them."""
        return _Limited(client, self.limiter(job, client, lambda _: None))

    def memory_of(self, job: Job, plan: Plan) -> int:
        """Bytes that one job may use for pixels. Raises JobError where they are too few."""
        have = min(job.limits.memory, self.memory) - self._base - HEADROOM
        have //= self.jobs
        if have < needed_memory(plan):
            total = (self._base + HEADROOM + self.jobs * needed_memory(plan)) // 2**20 + 1
            raise JobError(
                f"too little for {self.jobs} jobs at once; give this job and the session at least {total} MiB,"
                " or run fewer at once",
                key="limits.memory",
            )
        return have


class _Limited(RestPixelSource):
    """Pixels that are asked for when a limiter says so."""

    def __init__(self, client: EarthEngine, limiter: JobLimiter) -> None:
        super().__init__(client)
        self._limiter = limiter

    async def fetch_as_answered(self, request: PixelRequest) -> NDArray[np.void]:
        """See `RestPixelSource`."""
        ticket = await self._limiter.acquire()
        problem: FetchProblem | None = FetchProblem(Action.RETRY, CANCELLED, "given up on this side")
        try:
            pixels = await super().fetch_as_answered(request)
            problem = None
        except TileError as error:
            problem = error.problem
            raise
        finally:
            self._limiter.release(ticket, problem)
        return pixels


def _telling(listeners: set[Callable[[Notice], object]]) -> Callable[[Notice], object]:
    def tell(notice: Notice) -> None:
        for listener in tuple(listeners):
            listener(notice)

    return tell
