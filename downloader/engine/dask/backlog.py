"""Shards that are still to be handed out, looked up as they are needed, never all of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio.lowlevel

from downloader.engine.dask.messages import Portion
from downloader.events import Outcome, Split
from downloader.mosaic.record.state import FailedTiles
from downloader.planning import Plan, Request, ShardKey
from downloader.planning.split import weight

_SCANNED: Final = 256
"""Shards looked at in a row before others get a turn: a rerun passes many that are done."""


class Seen(Protocol):
    """What a mosaic knows of a shard."""

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        """Band index → bits of the tiles not stored."""
        ...

    def known(self, key: ShardKey) -> tuple[list[int], tuple[FailedTiles, ...]]:
        """Bits of the tiles stored, band by band, and what failed."""
        ...


@dataclass
class Backlog:
    """Shards in their order, those that came back first."""

    plan: Plan
    shards: Iterable[ShardKey]
    seen: Seen
    max_requests: int | None = None
    max_bytes: int | None = None
    limit: str | None = None
    """The limit of the job that was reached: nothing more is handed out."""
    _made: list[int] = field(default_factory=lambda: [0, 0])
    """Requests that workers made, and bytes of their pixels, as far as they told."""
    _planned: dict[ShardKey, list[int]] = field(default_factory=dict)
    """Shard that a worker has → requests and bytes that are still to come of it."""
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
        """About how many requests a shard takes."""
        group = self.plan.group(key.group)
        together = 0
        for mask in self.seen.missing(key).values():
            together |= mask
        return max(1, -(-together.bit_count() // math.prod(group.shape)))

    async def look_ahead(self, shards: int) -> None:
        """Look up shards until so many are at hand, or all."""
        number = 0
        while not self._is_read and len(self._ahead) < shards:
            key = next(self._rest, None)
            if key is None:
                self._is_read = True
            elif self.seen.missing(key):
                self._ahead.append(key)
            number += 1
            if number % _SCANNED == 0:
                await anyio.lowlevel.checkpoint()

    def take(self, cost: float) -> list[Portion]:
        """A run of shards for one worker, worth about so many requests; at least one where one is at hand."""
        run: list[Portion] = []
        spent = 0
        while self._ahead and spent < cost and self.limit is None:
            key = self._ahead.popleft()
            missing = self._within_limits(key, self.seen.missing(key))
            if missing:
                spent += self.cost(key)
                stored, failed = self.seen.known(key)
                run.append(Portion(key, missing, tuple(stored) if any(stored) else (), failed))
        return run

    def heard(self, outcome: Outcome) -> None:
        """Count what became of a request: calls that were made stay counted, whatever becomes of their worker."""
        request = outcome.request
        planned = self._planned.get(request.shard, [0, 0])
        nbytes = weight(self.plan.group(request.shard.group), request)
        planned[0] -= 1
        self._made[0] += outcome.attempts > 0
        if isinstance(outcome, Split):
            planned[0] += len(outcome.parts)
        else:
            planned[1] -= nbytes
            self._made[1] += nbytes

    def done(self, key: ShardKey) -> None:
        """Forget a shard that is finished."""
        self._planned.pop(key, None)

    def put_back(self, keys: Iterable[ShardKey]) -> None:
        """Take shards back that a worker did not finish; they come next, and what was not made of them is not counted."""
        keys = tuple(keys)
        for key in keys:
            self._planned.pop(key, None)
        self._ahead.extendleft(key for key in keys if self.seen.missing(key))
        if keys:
            self.limit = None

    def _within_limits(self, key: ShardKey, missing: Mapping[int, int]) -> Mapping[int, int]:
        """As much of a shard as `limits` still allow; where that is not all, the limit is reached."""
        if self.max_requests is None and self.max_bytes is None:
            return missing
        group = self.plan.group(key.group)
        requests, nbytes = self._counted()
        planned = self._planned[key] = [0, 0]
        allowed: dict[int, int] = {}
        for request in group.requests(key, missing):
            size = weight(group, request)
            self.limit = self._reached(requests + planned[0], nbytes + planned[1], size)
            if self.limit is not None:
                break
            planned[0] += 1
            planned[1] += size
            for band in request.bands:
                allowed[band] = allowed.get(band, 0) | self._bits(request)
        return allowed

    def _counted(self) -> tuple[int, int]:
        """Requests and bytes, made and to come."""
        planned = self._planned.values()
        requests = self._made[0] + sum(max(0, requests) for requests, _ in planned)
        return requests, self._made[1] + sum(max(0, nbytes) for _, nbytes in planned)

    def _bits(self, request: Request) -> int:
        return request.block.mask(self.plan.group(request.shard.group).tiling)

    def _reached(self, requests: int, nbytes: int, size: int) -> str | None:
        if self.max_requests is not None and requests >= self.max_requests:
            return f"limits.max_requests: {self.max_requests:,} requests are made"
        if self.max_bytes is not None and nbytes + size > self.max_bytes:
            return f"limits.max_bytes: {nbytes:,} bytes are fetched and the next request would pass the limit"
        return None
