"""The budget that the jobs of one process share: a limiter for each project and host, retries, and memory."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.engine.memory import HEADROOM, base_memory, needed_memory
from downloader.errors import JobError
from downloader.flow.clock import MonotonicClock
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget

if TYPE_CHECKING:
    from downloader.earthengine.client import EarthEngine
    from downloader.job import Job
    from downloader.job.sections.service import Limits
    from downloader.planning import Plan


@dataclass(slots=True)
class SharedBudget:
    """Limits that all jobs of a session keep together. Belongs to one event loop."""

    jobs: int
    """Jobs at once, at most; each may use so large a part of the memory."""
    memory: int
    """Resident bytes of the process, at most."""
    concurrency: int | None = None
    """Requests in flight at most, over all jobs of one project; None for what the first of them asks for."""
    requests_per_second: float | None = None
    """The same of starts per second."""
    retries: RetryBudget = field(default_factory=RetryBudget)
    _base: int = field(default_factory=base_memory)
    """Resident bytes before there was any job."""
    _limiters: dict[tuple[str, str], AdaptiveLimiter] = field(default_factory=dict)

    def limiter(self, limits: Limits, client: EarthEngine) -> AdaptiveLimiter:
        """Return the limiter of a client's project and host.

        Args:
            limits: of the job; they count where the session names none, and the job is the first of its project.
            client: names project and host.
        """
        key = (client.project or client.credentials_in_use, urlsplit(client.high_volume).netloc)
        limiter = self._limiters.get(key)
        if limiter is None or (limiter.has_given_up and not limiter.is_listened_to):
            limiter = new_limiter(limits, self.concurrency, self.requests_per_second)
            self._limiters[key] = limiter
        return limiter

    def memory_of(self, job: Job, plan: Plan) -> int:
        """Return the bytes that one job may use for pixels.

        Raises:
            JobError: they are too few for one shard.
        """
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


def new_limiter(
    limits: Limits, concurrency: int | None = None, requests_per_second: float | None = None
) -> AdaptiveLimiter:
    """Return a limiter of a job's limits, or of these in their place."""
    return AdaptiveLimiter(
        concurrency=concurrency or limits.concurrency,
        requests_per_second=requests_per_second or limits.requests_per_second,
        clock=MonotonicClock(),
        rng=random.Random(),  # noqa: S311  # jitter, not a secret
        give_up_after_s=limits.give_up_after,
    )
