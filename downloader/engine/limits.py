"""What a run may use before it stops, resumable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from downloader.flow.retry import RetryPolicy
from downloader.job.sections.service import Limits
from downloader.planning import Plan, Request
from downloader.planning.compute_cost import most_seconds, seconds_of
from downloader.planning.split import weight


@dataclass(frozen=True, slots=True)
class Used:
    """What requests use."""

    requests: int = 0
    nbytes: int = 0
    """Bytes of pixels."""
    eecu_s: float = 0.0
    """EECU-seconds at most, by the upper end of the estimate."""

    @classmethod
    def by(cls, plan: Plan, request: Request) -> Used:
        """Return what one request uses that brings its pixels at the first call."""
        nbytes = weight(plan.group(request.shard.group), request)
        return cls(1, nbytes, most_seconds(seconds_of(plan, request)))

    def __add__(self, other: Used) -> Used:
        return Used(self.requests + other.requests, self.nbytes + other.nbytes, self.eecu_s + other.eecu_s)

    def __sub__(self, other: Used) -> Used:
        return Used(self.requests - other.requests, self.nbytes - other.nbytes, self.eecu_s - other.eecu_s)


@dataclass(slots=True)
class Spending:
    """What was used before, in runs that count as one."""

    used: Used = field(default_factory=Used)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of `limits` that are counted request by request; None for none."""

    requests: int | None = None
    nbytes: int | None = None
    eecu_h: float | None = None

    @classmethod
    def of(cls, limits: Limits) -> RunLimits:
        """Return those of a job."""
        return cls(limits.max_requests, limits.max_bytes, limits.max_eecu)

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return self.requests is None and self.nbytes is None and self.eecu_h is None

    def reached(self, used: Used, more: Used) -> str | None:
        """Return which limit keeps a run that used so much from using more, as a line; None for none."""
        if self.requests is not None and used.requests + more.requests > self.requests:
            return f"limits.max_requests: {self.requests:,} requests are made"
        if self.nbytes is not None and used.nbytes + more.nbytes > self.nbytes:
            return f"limits.max_bytes: {used.nbytes:,} bytes are fetched and the next request would pass the limit"
        if self.eecu_h is not None and more.eecu_s and used.eecu_s + more.eecu_s > 3600 * self.eecu_h:
            return (
                f"limits.max_eecu: what was computed may have cost {used.eecu_s / 3600:.3g} EECU-hours (the upper end of an"
                " estimate), and the next request would pass the limit"
            )
        return None


NO_LIMITS: Final = RunLimits()


def retry_policy(limits: Limits) -> RetryPolicy:
    """Return how often and how long one request of a job is repeated."""
    return RetryPolicy(retries=limits.retries, total_s=max(3600.0, 2 * limits.give_up_after))
