"""Tiles per request: the rectangle, of one or several slices, with which a simulated service finishes the group soonest.

Once nearly all is handed out, requests get smaller (`engine/endgame.py`): so where there are more requests than slots, the
last wave costs what it holds and little more.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace
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
    scatter: float = 0.17
    """Standard deviation of the duration of a request, as a share of what is expected of it."""

    def request_s(self, nbytes: float) -> float:
        """Return the seconds that one request for `nbytes` bytes takes."""
        return self.base_s + self.per_mb_s * nbytes / 1e6

    def bytes_in(self, seconds: float) -> float:
        """Return the bytes that one request brings in `seconds`: inf where size costs no time, 0 where latency is longer."""
        if not self.per_mb_s:
            return math.inf
        return max(0.0, seconds - self.base_s) / self.per_mb_s * 1e6


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


_FORGET: Final = 0.98
"""Factor by which one more answer reduces the weight of those before: the last fifty count."""

_GUESSED_NEAR: Final = 0.4
_GUESSED_FAR: Final = 0.05
"""Weights of the two answers by which the first guess takes part: one without pixels, one of the size of the others."""

_GUESSED_SCATTER: Final = 2.0
"""Weight of the first guess of the scatter, in answers."""

_FAR_OFF: Final = 1.0
"""An answer that took longer than expected by a larger share counts as one of this share: stragglers tell little of others."""


@dataclass(slots=True)
class Observed:
    """The service's latency, rate and scatter, from a first guess to what this job's answers showed."""

    guess: ServiceModel
    """The planner's assumption; it keeps a little weight, which separates latency from rate if all answers are of one size."""
    _answers: float = field(default=0.0, init=False)
    _off: float = field(default=0.0, init=False)
    """Sum of the squares of how far answers were off, as shares of what was expected."""
    _weight: float = field(default=0.0, init=False)
    """As durations scatter in proportion to themselves, quick answers weigh more."""
    _x: float = field(default=0.0, init=False)
    _y: float = field(default=0.0, init=False)
    _xx: float = field(default=0.0, init=False)
    _xy: float = field(default=0.0, init=False)

    def add(self, nbytes: int, seconds: float) -> None:
        """Note that a request brought `nbytes` of pixels in `seconds`."""
        x, weight = nbytes / 1e6, self._weight_of(nbytes)
        self._weight = self._weight * _FORGET + weight
        self._x = self._x * _FORGET + weight * x
        self._y = self._y * _FORGET + weight * seconds
        self._xx = self._xx * _FORGET + weight * x * x
        self._xy = self._xy * _FORGET + weight * x * seconds
        self._answers = self._answers * _FORGET + 1
        off = min(seconds / max(self.model().request_s(nbytes), 1e-3) - 1, _FAR_OFF)
        self._off = self._off * _FORGET + off * off

    def model(self) -> ServiceModel:
        """Return the guess corrected: a straight line through the answers, by least squares, and how far they lie off it."""
        if not self._answers:
            return self.guess
        far = max(self._x / self._weight, 1e-3)
        near_s, far_s = self.guess.base_s, self.guess.request_s(far * 1e6)
        near_weight, far_weight = (
            _GUESSED_NEAR * self._weight_of(0),
            _GUESSED_FAR * self._weight_of(far * 1e6),
        )
        w, x = self._weight + near_weight + far_weight, self._x + far_weight * far
        y = self._y + near_weight * near_s + far_weight * far_s
        xx, xy = self._xx + far_weight * far * far, self._xy + far_weight * far * far_s
        slope = max((w * xy - x * y) / (w * xx - x * x), 0.0)
        base_s = max((y - slope * x) / w, 0.0)
        scatter = math.sqrt(
            (self._off + _GUESSED_SCATTER * self.guess.scatter**2) / (self._answers + _GUESSED_SCATTER)
        )
        return replace(self.guess, base_s=base_s, per_mb_s=slope, scatter=scatter)

    def _weight_of(self, nbytes: float) -> float:
        return 1 / max(self.guess.request_s(nbytes), 1e-3) ** 2
