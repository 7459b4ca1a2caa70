"""How many tiles go into one request: the rectangle that a simulated service finishes the group with soonest.

Once nearly all is handed out, requests get smaller (`tapering`); so where there are more requests than slots, the last
wave costs what it holds and no more.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from downloader.planning.limits import fits
from downloader.planning.tiling import Tiling

__all__ = ["ServiceModel", "pack", "schedule_s", "tapered_s"]

_SIMULATED = 4_096
"""Up to so many requests a schedule is simulated; beyond, waves are many and the average decides."""


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """How long the service takes, as far as is known before the first answer."""

    base_s: float = 0.25
    """Seconds of one request before its first byte."""
    per_mb_s: float = 0.4
    """Seconds for each 10⁶ bytes of answer."""
    concurrency: int = 40
    """Requests in flight at most."""
    starts_per_s: float = 90.0
    """Requests started each second at most."""

    def request_s(self, nbytes: float) -> float:
        """Seconds that one request for `nbytes` bytes takes."""
        return self.base_s + self.per_mb_s * nbytes / 1e6


def pack(
    tiling: Tiling,
    dtypes: tuple[np.dtype[np.generic], ...],
    tiles: int | None,
    model: ServiceModel,
    max_bytes: int,
) -> tuple[int, int]:
    """(rows, columns) of tiles of one request, both divisors of the shard's side.

    Args:
        tiling: the group's lattices.
        dtypes: types of the bands of one request.
        tiles: the user's number of tiles, at most; None for `auto`.
        model: what is known of the service.
        max_bytes: pixel bytes one answer may have, so that all in flight fit the memory.
    """
    itemsize = sum(dtype.itemsize for dtype in dtypes)
    best, best_cost = (1, 1), float("inf")
    for rows, columns in _candidates(tiling.shard):
        width, height = columns * tiling.tile, rows * tiling.tile
        if (rows, columns) != (1, 1):
            if tiles is not None and rows * columns > tiles:
                continue
            if not fits(width, height, dtypes) or width * height * itemsize > max_bytes:
                continue
        cost = -rows * columns if tiles is not None else tapered_s(tiling, (rows, columns), itemsize, model)
        if cost < best_cost:
            best, best_cost = (rows, columns), cost
    return best


def tapered_s(tiling: Tiling, shape: tuple[int, int], itemsize: int, model: ServiceModel) -> float:
    """Seconds in which the service answers every request of the group, the last ones made smaller.

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


def schedule_s(tiling: Tiling, shape: tuple[int, int], itemsize: int, model: ServiceModel) -> float:
    """Seconds in which the service answers every request of the group, `model.concurrency` at a time, the longest first."""
    kinds = _kinds(tiling, shape, itemsize)
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


def _kinds(tiling: Tiling, shape: tuple[int, int], itemsize: int) -> list[tuple[int, int]]:
    """(bytes, how many) of the requests of a group."""
    heights = _lengths(tiling.height, shape[0] * tiling.tile, tiling.shard_side)
    widths = _lengths(tiling.width, shape[1] * tiling.tile, tiling.shard_side)
    return [(h * w * itemsize, n * m * tiling.slices) for h, n in heights.items() for w, m in widths.items()]


def _candidates(side: int) -> list[tuple[int, int]]:
    """Rectangles from large to small, squarest first, so that of equal costs the fewest requests win."""
    steps = [1 << k for k in range(side.bit_length()) if side % (1 << k) == 0]
    shapes = [(rows, columns) for rows in steps for columns in steps if rows <= columns]
    return sorted(shapes, key=lambda shape: (-shape[0] * shape[1], shape[1] - shape[0]))


def _lengths(length: int, step: int, shard: int) -> dict[int, int]:
    """Lengths of the pieces of one axis → how many: cut at every shard's edge, and inside a shard at every step."""
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
