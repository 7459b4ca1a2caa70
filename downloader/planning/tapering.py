"""The end of a job: requests that get smaller, so that all slots of the quota end together.

Large requests cost the least work; but where 121 of them go through 40 slots the last one runs alone. So once the
end is in sight each shard is asked for in the largest rectangles that end, as far as can be foreseen, no later than
all the rest does. How long a request takes is learned from the answers of the job itself. The layout of shards and
tiles never changes, only how many tiles one request asks for.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from downloader.planning.packing import ServiceModel

__all__ = ["Observed", "smaller_shapes", "tapered"]

_FORGET = 0.98
"""What one more answer leaves of the weight of those before: the last fifty count."""

_GUESS = 0.1
"""Weight of each of the two points by which the first guess takes part."""

_SLACK = 1.01
"""A larger rectangle is kept where a smaller one would end the job sooner by less than this factor."""


@dataclass(slots=True)
class Observed:
    """The service's latency and rate, from a first guess to what this job's answers showed."""

    guess: ServiceModel
    """What the planner assumed; it keeps a little weight, which tells latency from rate where all answers are of one size."""
    _weight: float = field(default=0.0, init=False)
    _x: float = field(default=0.0, init=False)
    _y: float = field(default=0.0, init=False)
    _xx: float = field(default=0.0, init=False)
    _xy: float = field(default=0.0, init=False)

    def add(self, nbytes: int, seconds: float) -> None:
        """A request brought `nbytes` of pixels in `seconds`."""
        x = nbytes / 1e6
        self._weight = self._weight * _FORGET + 1
        self._x = self._x * _FORGET + x
        self._y = self._y * _FORGET + seconds
        self._xx = self._xx * _FORGET + x * x
        self._xy = self._xy * _FORGET + x * seconds

    def model(self) -> ServiceModel:
        """The guess with its two numbers put right: a straight line through the answers, by least squares."""
        if not self._weight:
            return self.guess
        far = max(self._x / self._weight, 1e-3)
        near_s, far_s = self.guess.base_s, self.guess.request_s(far * 1e6)
        w, x = self._weight + 2 * _GUESS, self._x + _GUESS * far
        y = self._y + _GUESS * (near_s + far_s)
        xx, xy = self._xx + _GUESS * far * far, self._xy + _GUESS * far * far_s
        slope = max((w * xy - x * y) / (w * xx - x * x), 0.0)
        return replace(self.guess, base_s=max((y - slope * x) / w, 0.0), per_mb_s=slope)


def smaller_shapes(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(rows, columns) of tiles from `shape` on, each time half as many, down to one tile."""
    rows, columns = shape
    yield rows, columns
    while rows * columns > 1:
        if rows >= columns:
            rows = -(-rows // 2)
        else:
            columns = -(-columns // 2)
        yield rows, columns


def tapered(
    shape: tuple[int, int],
    tiles: int,
    tile_bytes: float,
    free_in_s: Sequence[float],
    later: tuple[int, float],
    model: ServiceModel,
    waiting: int = 0,
) -> tuple[int, int]:
    """(rows, columns) of the rectangles in which to ask for the next shard, when the end is in sight.

    Args:
        shape: the largest rectangle.
        tiles: tiles that the shard misses.
        tile_bytes: bytes of one tile over its bands.
        free_in_s: for each slot of the quota, the seconds until it has ended what it has.
        later: requests of `shape` that follow after this shard, and the seconds that they take one after the other.
        model: how long a request takes, and how many may start in a second.
        waiting: requests that start before those of this shard.
    """
    best, chosen, slots = math.inf, shape, len(free_in_s)
    busy_s, last_s = sum(free_in_s), max(free_in_s)
    after, after_s = later
    largest_s = model.request_s(math.prod(shape) * tile_bytes) if after else 0.0
    for rows, columns in smaller_shapes(shape):
        requests = -(-tiles // (rows * columns))
        each_s = model.request_s(min(rows * columns, tiles) * tile_bytes)
        heap = list(free_in_s)
        heapq.heapify(heap)
        end_s = 0.0
        for number in range(requests):
            end_s = max(heap[0], (waiting + number) / model.starts_per_s) + each_s
            heapq.heapreplace(heap, end_s)
        level_s = (busy_s + requests * each_s + after_s) / slots
        paced_s = (waiting + requests + after) / model.starts_per_s + largest_s
        ends_s = max(last_s, end_s, level_s, paced_s)
        if ends_s * _SLACK < best:
            best, chosen = ends_s, (rows, columns)
    return chosen
