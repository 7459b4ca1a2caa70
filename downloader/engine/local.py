"""Fetching in this process, by one worker."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.earthengine.pixels import RestPixelSource
from downloader.engine.context import FetchContext
from downloader.engine.resources import Parts, Share
from downloader.engine.worker import ListedShards, work
from downloader.flow.clock import MonotonicClock
from downloader.flow.retry import RetryBudget
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from downloader.protocols import Mosaic


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """An `Executor` of one worker, in this process."""

    context: FetchContext
    """What is fetched, where from, and how much may be used."""
    sink: Mosaic
    """Takes the pixels."""
    peak_memory: int = 0
    """See `Executor`."""

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`; a feed of the run's options takes the place of `shards`."""
        context, options = self.context, self.context.options
        job = context.job
        share = Share(
            plan=context.plan,
            limits=job.limits,
            memory=context.memory,
            checkpoint_s=job.mosaic.checkpoint,
            is_piecemeal=options.feed is not None,
        )
        parts = Parts(
            RestPixelSource(context.connection.client),
            self.sink,
            context.connection.limiter,
            MonotonicClock(),
            random.Random(),  # noqa: S311  # jitter, not a secret
            context.progress,
            RetryBudget() if options.budget is None else options.budget.retries,
            context.stop,
            options.outcomes,
            options.spending,
        )
        await work(share, parts, options.feed or ListedShards(shards))
