"""Decisions when the end of a job is in sight: smaller requests, so that all slots of the quota end together."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from downloader.planning import Group, Plan, Request, ShardKey
from downloader.planning.request_size import Observed, tapered
from downloader.planning.split import weight
from downloader.protocols import Clock, Limiter

_WORTH_S: Final = 0.05
"""A last request is halved where that is expected to save more than this."""


class Endgame:
    """The requests under way and the time that requests take, from which the sizes of the last ones follow."""

    def __init__(self, plan: Plan, limiter: Limiter, clock: Clock) -> None:
        self._plan = plan
        self._limiter = limiter
        self._clock = clock
        self._observed = Observed(plan.model)
        self._under_way: dict[Request, float | None] = {}
        """Request → when its present call began; None while it waits for its turn."""

    def waits(self, request: Request) -> None:
        """Note that a request waits for its turn."""
        self._under_way[request] = None

    def begins(self, request: Request) -> float:
        """Note that a call begins; return the time on the clock."""
        now = self._under_way[request] = self._clock.now()
        return now

    def answered(self, request: Request, nbytes: int, seconds: float) -> None:
        """Note that a call brought `nbytes` of pixels in `seconds`."""
        self._observed.add(nbytes, seconds)
        self.ended(request)

    def ended(self, request: Request) -> None:
        """Note that a request has ended; a no-op for one that is not known."""
        self._under_way.pop(request, None)

    def tapered(
        self,
        group: Group,
        missing: Mapping[int, int],
        ahead: Iterable[tuple[ShardKey, Mapping[int, int]]],
    ) -> Group:
        """Return the group with the shape of requests in which its next shard is best asked for.

        Args:
            group: of the shard.
            missing: band index → bits of the tiles of the shard to fetch.
            ahead: all shards that come after it, with what is missing of them.
        """
        if group.shape == (1, 1):
            return group
        model = self._observed.model()
        now, free_in_s = self._clock.now(), [0.0] * max(1, self._limiter.ceiling)
        waiting_s = []
        for request, begun in self._under_way.items():
            whole_s = model.request_s(weight(self._plan.group(request.shard.group), request))
            if begun is None:
                waiting_s.append(whole_s)
            else:
                heapq.heapreplace(free_in_s, max(begun + whole_s - now, 0.02 * whole_s))
        for whole_s in waiting_s:
            heapq.heapreplace(free_in_s, free_in_s[0] + whole_s)
        requests, nbytes = 0, 0.0
        for key, lacks in ahead:
            other = self._plan.group(key.group)
            tiles, tile_bytes = _size(other, lacks)
            requests += -(-tiles // (math.prod(other.shape) * max(1, other.stack)))
            nbytes += tiles * tile_bytes
        later = requests, requests * model.base_s + nbytes / 1e6 * model.per_mb_s
        tiles, tile_bytes = _size(group, missing)
        stack = max(1, min(group.stack, group.tiling.slices))
        stacked = -(-tiles // stack), tile_bytes * stack
        shape = tapered(group.shape, *stacked, free_in_s, later, model, len(waiting_s))
        return group if shape == group.shape else replace(group, shape=shape)

    def is_worth_halving(self, nbytes: int) -> bool:
        """Return whether a request, with none behind it, ends sooner as two halves side by side."""
        if any(begun is None for begun in self._under_way.values()):
            return False
        limiter, model = self._limiter, self._observed.model()
        gain_s = model.request_s(nbytes) - model.request_s(nbytes / 2) - 1 / model.starts_per_s
        return limiter.in_flight < limiter.ceiling and gain_s > _WORTH_S


def _size(group: Group, missing: Mapping[int, int]) -> tuple[int, float]:
    """Tiles of which something is missing, and the bytes that one of them brings on the average."""
    together = pixels = 0
    for band, mask in missing.items():
        together |= mask
        pixels += mask.bit_count() * group.bands[band].dtype.itemsize
    tiles = together.bit_count()
    return tiles, pixels * group.tiling.tile**2 / tiles
