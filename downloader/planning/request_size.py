"""Tiles per request: the rectangle, of one or several slices, with which a simulated service finishes the group soonest.

Once nearly all is handed out, requests get smaller (`tapered`): as durations scatter, none may take longer than a share of
what is left. So where there are more requests than slots, the last wave costs what it holds and little more.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Final

import numpy as np

from downloader.planning.limits import MAX_REQUEST_BANDS, fits
from downloader.planning.tiling import Tiling

_SIMULATED = 4_096
"""Up to so many requests a schedule is simulated; beyond, waves are many and the average decides."""


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """Duration of requests as assumed before the first answer."""

    base_s: float = 0.25
    """Seconds of one request before its first byte."""
    per_mb_s: float = 0.4
    """Seconds for each 10⁶ bytes of answer."""
    concurrency: int = 40
    """Requests in flight at most."""
    starts_per_s: float = 90.0
    """Requests started each second at most."""
    longest_share: float = 1.0
    """Share of the time that is left, all slots busy, that one of the last requests may be expected to take. All of it before
    the first answer: a job of one wave ends soonest uncut unless its durations scatter."""

    def request_s(self, nbytes: float) -> float:
        """Return the seconds that one request for `nbytes` bytes takes."""
        return self.base_s + self.per_mb_s * nbytes / 1e6


def pack(
    tiling: Tiling,
    dtypes: tuple[np.dtype[np.generic], ...],
    tiles: int | None,
    model: ServiceModel,
    max_bytes: int,
    depth: int = 0,
) -> tuple[int, int]:
    """Return (rows, columns) of tiles of one request, both divisors of the shard's side.

    Args:
        tiling: the group's lattices.
        dtypes: types of the bands of one request.
        tiles: the user's number of tiles, at most; None for `auto`.
        model: what is known of the service.
        max_bytes: pixel bytes one answer may have, so that all in flight fit the memory.
        depth: images that the service holds of each pixel to compute it; 0 where pixels are read.
    """
    itemsize = sum(dtype.itemsize for dtype in dtypes)
    best, best_cost = (1, 1), float("inf")
    for rows, columns in _candidates(tiling.shard):
        width, height = columns * tiling.tile, rows * tiling.tile
        if (rows, columns) != (1, 1):
            if tiles is not None and rows * columns > tiles:
                continue
            if not fits(width, height, dtypes, depth) or width * height * itemsize > max_bytes:
                continue
        cost = -rows * columns if tiles is not None else tapered_s(tiling, (rows, columns), itemsize, model)
        if cost < best_cost:
            best, best_cost = (rows, columns), cost
    return best


_NEARLY: Final = 1.25
"""Of stacks that end a job within so many times the shortest time the fewest are taken, where a plane is one tile: there is less
to set up."""

_NO_WORSE: Final = 1.02
"""The same where planes have several tiles, of which a request has many anyway."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The boxes in which requests ask for several slices."""

    slices: int
    """Slices of one request at most; 1 where more do not end the job sooner."""
    shape: tuple[int, int]
    """(rows, columns) of tiles of each."""
    sooner: float = 1.0
    """Time that the job takes slice by slice, as a multiple of the time that it takes so."""


@dataclass(frozen=True, slots=True)
class StackLimits:
    """What bounds a stack beside the service's own limits."""

    nbytes: int
    """Bytes of pixels that one answer may have."""
    slices: int | None = None
    """The user's number, at most; None for `auto`."""
    tiles: int | None = None
    """The user's number of tiles of a slice, at most; None for `auto`."""
    held: int = 1
    """Images of which the service holds the values of each pixel to compute a slice, at most."""
    graphs: int = MAX_REQUEST_BANDS
    """Slices whose expressions are short enough together."""


def stack_of(
    tiling: Tiling, dtypes: tuple[np.dtype[np.generic], ...], limits: StackLimits, model: ServiceModel
) -> Stack:
    """Return how many slices of which rectangle one request brings best.

    Of a series a power of two, of a sample's steps an equal part, unless the user names a number.

    Args:
        tiling: the group's lattices.
        dtypes: types of what is asked for of one slice, masks included.
        limits: what bounds it.
        model: what is known of the service.
    """
    most, tiles = limits.slices, limits.tiles
    itemsize = sum(dtype.itemsize for dtype in dtypes)
    shapes = [
        one for one in _candidates(tiling.shard) if one == (1, 1) or tiles is None or math.prod(one) <= tiles
    ]

    def can_be(shape: tuple[int, int], size: int) -> bool:
        height, width = (
            min(n * tiling.tile, side) for n, side in zip(shape, (tiling.height, tiling.width), strict=True)
        )
        return (
            fits(width, height, dtypes * size, limits.held)
            and width * height * itemsize * size <= limits.nbytes
        )

    run = min(tiling.run, tiling.leading[-1])
    longest = min(run, limits.graphs)
    if most is None and tiling.steps:
        sizes = sorted({size for parts in range(1, run) if 1 < (size := -(-run // parts)) <= longest})
    elif most is None:
        sizes = [1 << power for power in range(1, longest.bit_length())]
    else:
        sizes = [next((n for n in range(min(most, longest), 1, -1) if can_be((1, 1), n)), 1)]
    boxes = [(size, shape) for size in sizes for shape in shapes if can_be(shape, size)]
    alone = [(1, shape) for shape in shapes if shape == (1, 1) or can_be(shape, 1)]
    timed = {box: _seconds(tiling, box, itemsize, model) for box in (*alone, *boxes)}
    wanted = {box: timed[box] for box in (boxes if most is not None and boxes else timed)}
    nearly = _NEARLY if tiling.tile_rows * tiling.tile_columns == 1 else _NO_WORSE
    shortest_s = min(seconds for seconds, _ in wanted.values())
    near = [box for box, (seconds, _) in wanted.items() if seconds <= nearly * shortest_s]
    best = min(near, key=lambda box: (timed[box][1], box))
    return Stack(*best, min(timed[box][0] for box in alone) / max(timed[best][0], 1e-9))


def _seconds(
    tiling: Tiling, box: tuple[int, tuple[int, int]], itemsize: int, model: ServiceModel
) -> tuple[float, int]:
    """Return the seconds that requests of (slices, rectangle) take for a group, and how many they are."""
    stack, shape = box
    kinds = _kinds(tiling, shape, itemsize, stack)
    requests = sum(count for _, count in kinds)
    end_s = schedule_s(tiling, shape, itemsize, model, stack)
    # Of many the average is known; the last one is not divided among slots.
    return end_s + (model.request_s(max(kinds)[0]) if requests > _SIMULATED else 0), requests


def tapered_s(tiling: Tiling, shape: tuple[int, int], itemsize: int, model: ServiceModel) -> float:
    """Return the seconds in which the service answers every request of the group, the last ones made smaller.

    At best, after a first wave whose starts are paced, that takes the slots' share of the work and a tile's time; it
    is never slower than without smaller ones.
    """
    kinds = _kinds(tiling, shape, itemsize)
    requests = sum(count for _, count in kinds)
    uniform_s = schedule_s(tiling, shape, itemsize, model)
    if requests <= model.concurrency:
        return uniform_s
    work_s = sum(model.request_s(nbytes) * count for nbytes, count in kinds)
    ramp_s = model.concurrency / model.starts_per_s / 2
    tile_s = model.request_s(tiling.tile**2 * itemsize)
    return min(uniform_s, max(work_s / model.concurrency + ramp_s, requests / model.starts_per_s) + tile_s)


def schedule_s(
    tiling: Tiling, shape: tuple[int, int], itemsize: int, model: ServiceModel, stack: int = 1
) -> float:
    """Return the seconds in which the service answers all requests, `model.concurrency` at a time, the longest first."""
    kinds = _kinds(tiling, shape, itemsize, stack)
    requests = sum(count for _, count in kinds)
    if requests > _SIMULATED:
        work = sum(model.request_s(nbytes) * count for nbytes, count in kinds)
        return max(work / model.concurrency, requests / model.starts_per_s)
    durations = sorted(
        (model.request_s(nbytes) for nbytes, count in kinds for _ in range(count)), reverse=True
    )
    busy: list[float] = []
    end = 0.0
    for number, duration in enumerate(durations):
        start = number / model.starts_per_s
        if len(busy) == model.concurrency:
            start = max(start, heapq.heappop(busy))
        heapq.heappush(busy, start + duration)
        end = max(end, start + duration)
    return end


def _kinds(tiling: Tiling, shape: tuple[int, int], itemsize: int, stack: int = 1) -> list[tuple[int, int]]:
    """Return (bytes, how many) of the requests of a group."""
    length = tiling.leading[-1]
    layers = {part: n * (tiling.slices // length) for part, n in _lengths(length, stack, tiling.run).items()}
    heights = _lengths(tiling.height, shape[0] * tiling.tile, tiling.shard_side)
    widths = _lengths(tiling.width, shape[1] * tiling.tile, tiling.shard_side)
    return [
        (h * w * itemsize * slices, n * m * count)
        for slices, count in layers.items()
        for h, n in heights.items()
        for w, m in widths.items()
    ]


def _candidates(side: int) -> list[tuple[int, int]]:
    """Return rectangles from large to small, squarest first, so that of equal costs the fewest requests win."""
    steps = [1 << k for k in range(side.bit_length()) if side % (1 << k) == 0]
    shapes = [(rows, columns) for rows in steps for columns in steps if rows <= columns]
    return sorted(shapes, key=lambda shape: (-shape[0] * shape[1], shape[1] - shape[0]))


def _lengths(length: int, step: int, shard: int) -> dict[int, int]:
    """Return length → number of the pieces of one axis, cut at every shard's edge and inside a shard at every step."""
    pieces: dict[int, int] = {}

    def cut(span: int, times: int) -> None:
        full, rest = divmod(span, step)
        if full:
            pieces[step] = pieces.get(step, 0) + full * times
        if rest:
            pieces[rest] = pieces.get(rest, 0) + times

    whole, last = divmod(length, shard)
    if whole:
        cut(shard, whole)
    if last:
        cut(last, 1)
    return pieces


_FORGET = 0.98
"""Factor by which one more answer reduces the weight of those before: the last fifty count."""

_GUESS = 0.1
"""Weight of each of the two points by which the first guess takes part."""

_GUIDED_SHARE = 0.75
"""`ServiceModel.longest_share` from the first answer on. Of 0.65 to 0.95 it ends a job of two to ten waves soonest where
durations scatter by 30 %."""

_LEAST_LATENCIES = 1.5
"""A request that takes no longer than so many latencies is not made smaller for the sake of that share."""

_FIRST_HALVINGS = (0, 0, 1)
"""How often the requests of the first shards are halved, in turn: half of those that start together are halves."""

_FEW_WAVES = 2
"""Where there are fewer, halves would cost more than idle slots do."""

_SLACK = 1.01
"""A larger rectangle is kept where a smaller one would end the job sooner by less than this factor."""


@dataclass(slots=True)
class Observed:
    """The service's latency and rate, from a first guess to what this job's answers showed."""

    guess: ServiceModel
    """The planner's assumption; it keeps a little weight, which separates latency from rate if all answers are of one size."""
    _weight: float = field(default=0.0, init=False)
    _x: float = field(default=0.0, init=False)
    _y: float = field(default=0.0, init=False)
    _xx: float = field(default=0.0, init=False)
    _xy: float = field(default=0.0, init=False)

    def add(self, nbytes: int, seconds: float) -> None:
        """Return a request brought `nbytes` of pixels in `seconds`."""
        x = nbytes / 1e6
        self._weight = self._weight * _FORGET + 1
        self._x = self._x * _FORGET + x
        self._y = self._y * _FORGET + seconds
        self._xx = self._xx * _FORGET + x * x
        self._xy = self._xy * _FORGET + x * seconds

    def model(self) -> ServiceModel:
        """Return the guess with both numbers corrected: a straight line through the answers, by least squares."""
        if not self._weight:
            return self.guess
        far = max(self._x / self._weight, 1e-3)
        near_s, far_s = self.guess.base_s, self.guess.request_s(far * 1e6)
        w, x = self._weight + 2 * _GUESS, self._x + _GUESS * far
        y = self._y + _GUESS * (near_s + far_s)
        xx, xy = self._xx + _GUESS * far * far, self._xy + _GUESS * far * far_s
        slope = max((w * xy - x * y) / (w * xx - x * x), 0.0)
        base_s = max((y - slope * x) / w, 0.0)
        return replace(self.guess, base_s=base_s, per_mb_s=slope, longest_share=_GUIDED_SHARE)


def smaller_shapes(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield (rows, columns) of tiles from `shape` on, each time half as many, down to one tile."""
    rows, columns = shape
    yield rows, columns
    while rows * columns > 1:
        if rows >= columns:
            rows = -(-rows // 2)
        else:
            columns = -(-columns // 2)
        yield rows, columns


def first_shapes(shape: tuple[int, int], waves: float) -> Iterator[tuple[int, int]]:
    """Yield (rows, columns) of the requests for one of the first shards after the other, without end.

    Of equal ones that start together all answers come together, and slots idle while these are encoded.

    Args:
        shape: the largest rectangle.
        waves: requests of the job, as a multiple of those in flight; under two waves nothing is cut.
    """
    shapes = list(smaller_shapes(shape))
    for halvings in cycle(_FIRST_HALVINGS if waves >= _FEW_WAVES else (0,)):
        yield shapes[min(halvings, len(shapes) - 1)]


def tapered(
    shape: tuple[int, int],
    tiles: int,
    tile_bytes: float,
    free_in_s: Sequence[float],
    later: tuple[int, float],
    model: ServiceModel,
    waiting: int = 0,
) -> tuple[int, int]:
    """Return (rows, columns) of the rectangles in which to ask for the next shard, when the end is in sight.

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
    least_s = _LEAST_LATENCIES * model.base_s
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
        paced_s = (waiting + requests + after) / model.starts_per_s
        if rows * columns > 1 and each_s > max(model.longest_share * max(level_s, paced_s) * _SLACK, least_s):
            continue
        ends_s = max(last_s, end_s, level_s, paced_s + largest_s)
        if ends_s * _SLACK < best:
            best, chosen = ends_s, (rows, columns)
    return chosen
