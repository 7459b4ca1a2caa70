"""Limits of what a run may use, and what its requests use."""

from __future__ import annotations

from dataclasses import dataclass, field

from downloader.flow.retry import RetryPolicy
from downloader.job.sections.service import Limits
from downloader.planning import Plan, Request
from downloader.planning.compute_cost import most_seconds, seconds_of
from downloader.planning.split import weight


@dataclass(frozen=True, slots=True)
class Used:
    """Requests, bytes and compute that were used, or will be."""

    requests: int = 0
    nbytes: int = 0
    """Bytes of pixels."""
    eecu_s: float = 0.0
    """EECU-seconds at most, by the upper end of the estimate."""

    @classmethod
    def by(cls, plan: Plan, request: Request) -> Used:
        """Return the use of a request that brings its pixels at the first call."""
        nbytes = weight(plan.group(request.shard.group), request)
        return cls(1, nbytes, most_seconds(seconds_of(plan, request)))

    def __add__(self, other: Used) -> Used:
        return Used(self.requests + other.requests, self.nbytes + other.nbytes, self.eecu_s + other.eecu_s)

    def __sub__(self, other: Used) -> Used:
        return Used(self.requests - other.requests, self.nbytes - other.nbytes, self.eecu_s - other.eecu_s)


@dataclass(slots=True)
class Spending:
    """What was used so far by runs that count as one."""

    used: Used = field(default_factory=Used)


def reached(limits: Limits, used: Used, more: Used) -> str | None:
    """Return a line about the limit that `used` and `more` together would pass; None where there is none."""
    if limits.max_requests is not None and used.requests + more.requests > limits.max_requests:
        return f"limits.max_requests: {limits.max_requests:,} requests are made"
    if limits.max_bytes is not None and used.nbytes + more.nbytes > limits.max_bytes:
        return (
            f"limits.max_bytes: {used.nbytes:,} bytes are fetched and the next request would pass the limit"
        )
    if limits.max_eecu is not None and more.eecu_s and used.eecu_s + more.eecu_s > 3600 * limits.max_eecu:
        return (
            f"limits.max_eecu: what was computed may have cost {used.eecu_s / 3600:.3g} EECU-hours (the upper end of an"
            " estimate), and the next request would pass the limit"
        )
    return None


def retry_policy(limits: Limits) -> RetryPolicy:
    """Return how often and how long one request of a job is repeated."""
    return RetryPolicy(retries=limits.retries, total_s=max(3600.0, 2 * limits.give_up_after))
