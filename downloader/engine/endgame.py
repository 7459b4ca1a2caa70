"""Decisions when the end of a job is in sight: smaller requests, so that all slots of the quota end together."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Final

from downloader.planning import Group, Plan, Request, ServiceModel, ShardKey
from downloader.planning.request_size import Observed
from downloader.planning.split import cut, weight
from downloader.protocols import Clock, Limiter

_HEDGE: Final = 0.85
"""By so many standard deviations of its duration a request is to end before the job. Of 0.5 to 1.2 it ends jobs of one to
ten waves soonest where durations scatter by 30 %."""

_LATE_LATENCIES: Final = 1.3
"""By so many latencies a job ends later than if what is left were shared evenly: what is cut costs them, and the last
answers do not come at once."""

_LEAST_LATENCIES: Final = 2.0
_LEAST_S: Final = 0.1
"""A request is not made smaller than so many latencies or seconds: it would cost more than it saves."""

_STILL: Final = 0.03
"""Share of a request's duration that is still expected of one that takes longer than any should."""


class Endgame:
    """The requests under way and the time that requests take, from which the sizes of the last ones follow."""

    def __init__(self, plan: Plan, limiter: Limiter, clock: Clock) -> None:
        self._plan = plan
        self._limiter = limiter
        self._clock = clock
        self._observed = Observed(plan.model)
        self._under_way: dict[Request, float | None] = {}
        """Request → when its present call began; None while it waits for its turn."""
        self._aside: list[tuple[int, int, Request]] = []
        """Heap of parts that were cut off and wait until all larger requests have begun: (-bytes, number, request)."""
        self._numbers = count()

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

    @property
    def unanswered(self) -> int:
        """Requests that wait for their turn or their answer."""
        return len(self._under_way)

    def set_aside(self, request: Request) -> None:
        """Keep a part that was cut off until `take_aside`."""
        heapq.heappush(self._aside, (-self._weight(request), next(self._numbers), request))

    @property
    def has_aside(self) -> bool:
        """Whether parts are kept."""
        return bool(self._aside)

    def take_aside(self) -> Request:
        """Return the largest part that is kept, and keep it no longer. Raises IndexError where there is none."""
        return heapq.heappop(self._aside)[2]

    def in_time(
        self, request: Request, ahead: Iterable[tuple[ShardKey, Mapping[int, int]]]
    ) -> tuple[Request, ...]:
        """Return a request whose turn has come, in parts of which the first is asked for now and the rest at the end.

        The first ends before the job does, as far as can be told: its duration is at most what is left to do, shared evenly
        among the slots, less what durations scatter by.

        Args:
            request: waits for its turn.
            ahead: all shards of which nothing is handed out yet, with what is missing of them.
        """
        if request.tiles == 1:
            return (request,)
        model = self._observed.model()
        requests, busy_s = self._left(model, ahead)
        share_s = busy_s / max(1, self._limiter.ceiling) + _LATE_LATENCIES * model.base_s
        left_s = max(share_s, requests / model.starts_per_s)
        longest_s = max((1 - _HEDGE * model.scatter) * left_s, _LEAST_LATENCIES * model.base_s, _LEAST_S)
        if model.request_s(self._weight(request)) <= longest_s:
            return (request,)
        return cut(self._plan.group(request.shard.group), request, model.bytes_in(longest_s))

    def _left(
        self, model: ServiceModel, ahead: Iterable[tuple[ShardKey, Mapping[int, int]]]
    ) -> tuple[float, float]:
        """Return the requests still to begin, and the seconds for which all that is left keeps one slot busy."""
        now, requests, nbytes, busy_s = self._clock.now(), 0.0, 0.0, 0.0
        for request, begun in self._under_way.items():
            if begun is None:
                requests += 1
                nbytes += self._weight(request)
            else:
                busy_s += _remaining_s(model.request_s(self._weight(request)), now - begun, model.scatter)
        requests += len(self._aside)
        nbytes -= sum(negative for negative, _, _ in self._aside)
        for key, lacks in ahead:
            group = self._plan.group(key.group)
            tiles, tile_bytes = _size(group, lacks)
            requests += -(-tiles // (math.prod(group.shape) * max(1, group.stack)))
            nbytes += tiles * tile_bytes
        return requests, busy_s + requests * model.base_s + nbytes / 1e6 * model.per_mb_s

    def _weight(self, request: Request) -> int:
        return weight(self._plan.group(request.shard.group), request)


def _remaining_s(expected_s: float, elapsed_s: float, scatter: float) -> float:
    """Return the seconds that a request is still expected to take, by a uniform distribution of durations."""
    spread = math.sqrt(3) * scatter
    earliest_s = max(elapsed_s, expected_s * (1 - spread))
    return max((earliest_s + expected_s * (1 + spread)) / 2 - elapsed_s, _STILL * expected_s)


def _size(group: Group, missing: Mapping[int, int]) -> tuple[int, float]:
    """Return the tiles of which something is missing, and the mean bytes of one of them."""
    together = pixels = 0
    for band, mask in missing.items():
        together |= mask
        pixels += mask.bit_count() * group.bands[band].dtype.itemsize
    tiles = together.bit_count()
    return tiles, pixels * group.tiling.tile**2 / tiles
