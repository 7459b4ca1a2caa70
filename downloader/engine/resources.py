"""Resources of one worker: its share of the job's limits, and the objects it works with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from anyio.streams.memory import MemoryObjectSendStream

from downloader.engine.limits import Spending
from downloader.engine.stop import Stop
from downloader.events import Outcome
from downloader.flow.retry import RetryBudget
from downloader.job.sections.service import Limits
from downloader.planning import Plan
from downloader.protocols import Clock, Limiter, Mosaic, PixelSource, Progress


@dataclass(frozen=True, slots=True)
class Share:
    """Plan and limits of one worker, as plain values."""

    plan: Plan
    limits: Limits
    """Its part of the job's: what makes it stop, resumable, how many requests are in flight, how often they are repeated."""
    memory: int
    """Bytes for pixels on their way: answers, and shards that are open."""
    checkpoint_s: float
    """Open shards are committed as far as they are at least so often."""
    is_piecemeal: bool = False
    """Whether a few tiles of each shard are wanted, as readers come to them: requests have the plan's shape from the first
    on, and as many shards may be open as requests are in flight."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Source, destination and surroundings of one worker."""

    source: PixelSource
    mosaic: Mosaic
    limiter: Limiter
    clock: Clock
    rng: random.Random
    progress: Progress
    budget: RetryBudget
    stop: Stop
    outcomes: MemoryObjectSendStream[Outcome] | None = None
    """Takes what becomes of each request; as long as it is full, its worker starts no further requests."""
    spending: Spending = field(default_factory=Spending)
    """What counts as used already; the worker adds what it used."""
