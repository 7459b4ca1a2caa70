"""Shards between their first request and their commit, bounded in number and in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from downloader.flow.memory import MemoryBudget
from downloader.planning import Plan, ShardKey
from downloader.protocols import Mosaic


@dataclass(slots=True)
class OpenShard:
    """A shard between its first request and its commit."""

    key: ShardKey
    nbytes: int
    """Bytes of memory reserved for it."""
    pending: int = 0
    """Requests handed out or queued and not ended."""
    handed_out: bool = False
    """Whether all of its requests are with the pool."""
    closing: bool = False
    """Whether its last commit is under way."""
    parked: bool = False
    """Whether it was committed as far as it is, so that others may open."""


class OpenShards:
    """The open shards of a worker. They are few, so that a kill costs little; see docs/contract.md on what it may cost."""

    def __init__(
        self, plan: Plan, mosaic: Mosaic, concurrency: int, memory: int, *, whole: bool = True
    ) -> None:
        """Start with none.

        Args:
            plan: whose shards are opened.
            mosaic: commits them.
            concurrency: requests in flight at most.
            memory: bytes of pixels that all of them may hold.
            whole: whether all of each shard is fetched; else a shard may be one request.
        """
        self._plan = plan
        self._mosaic = mosaic
        self._most = {
            group.name: math.ceil(
                concurrency / max(1, group.count_requests() // group.tiling.shards if whole else 1)
            )
            + 1
            for group in plan.groups
        }
        """Group → shards of it that may be open: so many that all requests in flight find work."""
        self._shards: dict[ShardKey, OpenShard] = {}
        self.memory = MemoryBudget(memory)

    def __getitem__(self, key: ShardKey) -> OpenShard:
        return self._shards[key]

    @property
    def is_pending(self) -> bool:
        """Whether requests of any of them have not ended."""
        return any(shard.pending for shard in self._shards.values())

    def has_room(self, key: ShardKey) -> bool:
        """Return whether one more shard may be open."""
        most = self._most[key.group]
        counted = sum(not shard.parked for shard in self._shards.values())
        return counted < most and self.memory.used + self._nbytes(key) <= self.memory.limit

    async def open(self, key: ShardKey) -> None:
        """Open a shard for which there is room."""
        nbytes = self._nbytes(key)
        await self.memory.reserve(nbytes)
        self._shards[key] = OpenShard(key, nbytes)

    def _nbytes(self, key: ShardKey) -> int:
        group = self._plan.group(key.group)
        return min(group.shard_bytes, self.memory.limit)

    async def park(self) -> None:
        """Commit the oldest shard that waits for slow requests as far as it is, and give its memory back."""
        shards = [shard for shard in self._shards.values() if not shard.parked]
        if any(shard.closing for shard in shards):
            return
        for shard in shards:
            if shard.handed_out and shard.pending:
                await self._mosaic.commit(shard.key)
                shard.parked = True
                self._release(shard)
                return

    async def close(self, shard: OpenShard) -> None:
        """Commit a shard for the last time."""
        shard.closing = True
        await self._mosaic.commit(shard.key)
        self._release(shard)
        del self._shards[shard.key]

    async def commit(self) -> None:
        """Commit all of them as far as they are; the first error ends it. Raises DownloadError."""
        for key in list(self._shards):
            if key in self._shards:
                await self._mosaic.commit(key)

    def _release(self, shard: OpenShard) -> None:
        """Release a shard's memory, once: its last request may end while the shard is being parked."""
        nbytes, shard.nbytes = shard.nbytes, 0
        self.memory.release(nbytes)
