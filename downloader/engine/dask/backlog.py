"""Queue of the shards to be handed out, which is never read whole."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import anyio.lowlevel

from downloader.engine.resources import Spending, Used, reached
from downloader.events import Outcome, Split
from downloader.job.sections.service import Limits
from downloader.planning import Plan, ShardKey
from downloader.planning.compute_cost import most_seconds

_SCANNED: Final = 256
"""Shards looked at in a row before others get a turn: a rerun passes many that are done."""


@dataclass
class Backlog:
    """Shards to hand out, in their order; those that were put back come first."""

    plan: Plan
    shards: Iterable[ShardKey]
    missing: Callable[[ShardKey], Mapping[int, int]]
    """Returns, of a shard, band index → bits of the tiles to fetch."""
    limits: Limits = field(default_factory=Limits)
    spending: Spending = field(default_factory=Spending)
    """What counts against them already, to which the requests are added that workers made, as far as they told."""
    limit: str | None = None
    """The limit of the job that was reached: nothing more is handed out."""
    _planned: dict[ShardKey, Used] = field(default_factory=dict)
    """Shard that a worker has → what is still to come of it."""
    _ahead: deque[ShardKey] = field(default_factory=deque)
    _is_read: bool = False

    def __post_init__(self) -> None:
        self._rest = iter(self.shards)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to hand out."""
        return self.limit is not None or (self._is_read and not self._ahead)

    @property
    def left(self) -> float:
        """Requests that are left; infinite as long as the end is not in sight."""
        if self.limit is not None:
            return 0.0
        return float(sum(map(self.cost, self._ahead))) if self._is_read else math.inf

    def cost(self, key: ShardKey) -> int:
        """Return about how many requests a shard takes."""
        group = self.plan.group(key.group)
        together = 0
        for mask in self.missing(key).values():
            together |= mask
        return max(1, -(-together.bit_count() // math.prod(group.shape)))

    async def look_ahead(self, shards: int) -> None:
        """Look up shards until so many are at hand, or all."""
        number = 0
        while not self._is_read and len(self._ahead) < shards:
            key = next(self._rest, None)
            if key is None:
                self._is_read = True
            elif self.missing(key):
                self._ahead.append(key)
            number += 1
            if number % _SCANNED == 0:
                await anyio.lowlevel.checkpoint()

    def take(self, cost: float) -> dict[ShardKey, Mapping[int, int]]:
        """Return a run of shards for one worker and what is missing of them, worth about so many requests.

        At least one, where one is at hand.
        """
        run: dict[ShardKey, Mapping[int, int]] = {}
        spent = 0
        while self._ahead and spent < cost and self.limit is None:
            key = self._ahead.popleft()
            if missing := self._within_limits(key, self.missing(key)):
                spent += self.cost(key)
                run[key] = missing
        return run

    def heard(self, outcome: Outcome) -> None:
        """Count what became of a request: calls that were made stay counted, whatever becomes of their worker."""
        request = outcome.request
        told = Used(len(outcome.parts) - 1) if isinstance(outcome, Split) else Used.by(self.plan, request)
        made = replace(told, requests=int(outcome.attempts > 0))
        self.spending.used += made + Used(eecu_s=most_seconds(outcome.wasted_eecu_s))
        if request.shard in self._planned:
            self._planned[request.shard] += told if isinstance(outcome, Split) else Used() - told

    def done(self, key: ShardKey) -> None:
        """Forget a shard that is finished."""
        self._planned.pop(key, None)

    def put_back(self, keys: Iterable[ShardKey]) -> None:
        """Take shards back that a worker did not finish; they come next.

        What was not made of them is not counted, but for what the service may have computed and nobody told of.
        """
        keys = tuple(keys)
        for key in keys:
            self.spending.used += Used(eecu_s=max(0.0, self._planned.pop(key, Used()).eecu_s))
        self._ahead.extendleft(key for key in keys if self.missing(key))
        if keys:
            self.limit = None

    def _within_limits(self, key: ShardKey, missing: Mapping[int, int]) -> Mapping[int, int]:
        """Return as much of a shard as `limits` still allow; where that is not all, note the limit that is reached."""
        if self.limits.max_requests is self.limits.max_bytes is self.limits.max_eecu is None:
            return missing
        group = self.plan.group(key.group)
        used, planned = self.spending.used, Used()
        for one in self._planned.values():
            used += Used(max(0, one.requests), max(0, one.nbytes), max(0.0, one.eecu_s))
        allowed: dict[int, int] = {}
        for request in group.requests(key, missing):
            more = Used.by(self.plan, request)
            self.limit = reached(self.limits, used, more)
            if self.limit is not None:
                break
            used, planned = used + more, planned + more
            for band in request.bands:
                allowed[band] = allowed.get(band, 0) | request.block.mask(group.tiling)
        self._planned[key] = planned
        return allowed
