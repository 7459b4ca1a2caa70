"""The floor: the best list schedule over all uniform rectangles of tiles that the service's size limit allows.

Longest first, each request on the slot that is free first, starts paced. Written for itself, apart from the planner:
it knows no shards and no memory limit, so no downloader whose requests are uniform can be quicker.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TILE: Final = 256
LIMIT_BYTES: Final = 50_331_648
"""Of one answer, with the byte per pixel that the service adds for its mask."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service with a fixed latency."""

    base_s: float
    """Seconds of every request."""
    per_mb_s: float
    """Seconds for each 10⁶ bytes of its answer."""
    concurrency: int = 40
    """Requests in flight at most."""
    starts_per_s: float = 100.0
    """Requests started each second at most."""

    def request_s(self, nbytes: int) -> float:
        """Seconds of one request."""
        return self.base_s + self.per_mb_s * nbytes / 1e6


def list_schedule(durations: list[float], service: Service) -> float:
    """Seconds from the first start to the last end, longest first."""
    slots = [0.0] * min(service.concurrency, len(durations))
    end = 0.0
    for number, duration in enumerate(sorted(durations, reverse=True)):
        start = max(heapq.heappop(slots), number / service.starts_per_s)
        heapq.heappush(slots, start + duration)
        end = max(end, start + duration)
    return end


def pieces(width: int, height: int, rows: int, columns: int, itemsize: int) -> list[int]:
    """Bytes of each answer where a rectangle of `rows` × `columns` tiles is laid over the window, clipped at its edge."""
    heights = [min(rows * TILE, height - top) for top in range(0, height, rows * TILE)]
    widths = [min(columns * TILE, width - left) for left in range(0, width, columns * TILE)]
    return [h * w * itemsize for h in heights for w in widths]


def shapes(width: int, height: int, bands: int, itemsize: int) -> Iterator[tuple[int, int]]:
    """(rows, columns) of tiles of every rectangle whose answer the service gives."""
    for rows in range(1, -(-height // TILE) + 1):
        for columns in range(1, -(-width // TILE) + 1):
            side = min(rows * TILE, height) * min(columns * TILE, width)
            if side * (itemsize + bands) <= LIMIT_BYTES:
                yield rows, columns


def best_schedule(
    width: int, height: int, bands: int, itemsize: int, service: Service
) -> tuple[float, tuple[int, int]]:
    """Seconds of the best list schedule, and its rectangle (rows, columns).

    Args:
        width: columns of the window, in pixels.
        height: its rows.
        bands: number of bands, each of which adds a byte per pixel to what the service counts.
        itemsize: bytes of one pixel over all bands.
        service: how long it takes.
    """
    best, chosen = float("inf"), (1, 1)
    for rows, columns in shapes(width, height, bands, itemsize):
        answers = pieces(width, height, rows, columns, itemsize)
        work = sum(map(service.request_s, answers)) / service.concurrency
        if max(work, (len(answers) - 1) / service.starts_per_s) >= best:
            continue
        seconds = list_schedule([service.request_s(nbytes) for nbytes in answers], service)
        if seconds < best:
            best, chosen = seconds, (rows, columns)
    return best, chosen
