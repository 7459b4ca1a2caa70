"""One process: the order in which it works through a plan, and what its one worker is given."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from downloader.job import Job
from downloader.planning import Plan, ShardKey

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectSendStream

    from downloader.engine.connect import Connection
    from downloader.engine.resources import Parts, Share
    from downloader.engine.shared_budget import Allowance
    from downloader.engine.stop import Stop
    from downloader.events import Outcome
    from downloader.flow.retry import RetryPolicy
    from downloader.protocols import Executor, Limiter, Mosaic, Progress

__all__ = ["Known", "LocalExecutor", "engine", "order", "retry_policy"]


class Known(Protocol):
    """What a mosaic knows of shards that are neither untouched nor done."""

    def partial(self) -> list[ShardKey]:
        """Shards of which some tiles are stored and some are not."""
        ...

    def failed(self) -> list[ShardKey]:
        """Shards whose every missing tile failed before."""
        ...


def order(plan: Plan, known: Known) -> Iterator[ShardKey]:
    """Every shard once: nearest to done first, those that failed before last."""
    failed = known.failed()
    first = [key for key in known.partial() if key not in set(failed)]
    yield from first
    apart = {*first, *failed}
    yield from (key for key in plan.shards() if key not in apart)
    yield from failed


def retry_policy(job: Job) -> RetryPolicy:
    """How long one request of the job is repeated."""
    from downloader.flow.retry import RetryPolicy

    return RetryPolicy(retries=job.limits.retries, total_s=max(3600.0, 2 * job.limits.give_up_after))


def engine(
    job: Job,
    plan: Plan,
    memory: int,
    sink: Mosaic,
    connection: Connection,
    progress: Progress,
    stop: Stop,
    allowance: Allowance | None = None,
    outcomes: MemoryObjectSendStream[Outcome] | None = None,
) -> tuple[Share, Parts]:
    """What a worker of this process needs to fetch tiles of `plan` into `sink`, within the job's limits.

    Args:
        job: what is fetched.
        plan: the same, settled.
        memory: bytes for pixels on their way.
        sink: where they go.
        connection: where they come from.
        progress: told what happens.
        stop: who may ask to stop.
        allowance: what it shares with other jobs of this process; None for a job alone.
        outcomes: takes what becomes of each request, and is waited for.
    """
    from downloader.earthengine import RestPixelSource
    from downloader.engine.resources import Parts, Share
    from downloader.flow.clock import MonotonicClock
    from downloader.flow.limiter import AdaptiveLimiter
    from downloader.flow.retry import RetryBudget

    clock = MonotonicClock()
    rng = random.Random()  # noqa: S311  # jitter, not a secret
    limits = job.limits
    limiter: Limiter = (
        AdaptiveLimiter(
            concurrency=limits.concurrency,
            requests_per_second=limits.requests_per_second,
            clock=clock,
            rng=rng,
            give_up_after_s=limits.give_up_after,
            notice=progress,
        )
        if allowance is None
        else allowance.limiter(job, connection.client, progress)
    )
    connection.client.on_restricted = limiter.restrict
    if connection.client.restricted:
        limiter.restrict()
    share = Share(
        plan=plan,
        concurrency=limits.concurrency,
        memory=memory,
        policy=retry_policy(job),
        checkpoint_s=job.mosaic.checkpoint,
        max_requests=limits.max_requests,
        max_bytes=limits.max_bytes,
        max_time_s=limits.max_time,
    )
    source = RestPixelSource(connection.client)
    budget = RetryBudget() if allowance is None else allowance.budget
    return share, Parts(source, sink, limiter, clock, rng, progress, budget, stop, outcomes)


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """An `Executor` of one worker, in this process."""

    share: Share
    parts: Parts

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`."""
        from downloader.engine.worker import Listed, work

        await work(self.share, self.parts, Listed(shards))

    @property
    def peak_memory(self) -> int:
        """See `Executor`."""
        return 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


if TYPE_CHECKING:

    def _conforms(executor: LocalExecutor) -> Executor:
        return executor
