"""Cost of computing in EECU-hours, as a range, since the service publishes no price of an expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from downloader.planning.group import Group
from downloader.planning.plan import Plan
from downloader.planning.requests import Request

_PER_TILE_S: Final = 0.25
"""EECU-seconds that were seen in public for 512² computed pixels of one plain band of one image."""

_TILE: Final = 512 * 512

_FACTOR: Final = 4.0
"""The price may be so many times lower or higher: what an expression costs depends on it, and on the service's caches."""

TIERS: Final = {"Community": 150, "Contributor": 1_000, "Partner": 100_000}
"""Tier of a non-commercial project → EECU-hours that it has a month (since 2026-04-27)."""

SOURCE: Final = "0.25 EECU-s for 512² pixels of a band of an image, as seen in public, within a factor of 4"


@dataclass(frozen=True, slots=True)
class ComputeCost:
    """Range of the cost of computing."""

    requests: int
    """Requests that the service computes."""
    low_h: float
    """EECU-hours at least, by what is known."""
    high_h: float
    """EECU-hours at most, by what is known."""

    def shares(self) -> dict[str, tuple[float, float]]:
        """Return tier → (least, most) part of its EECU-hours of a month."""
        return {tier: (self.low_h / hours, self.high_h / hours) for tier, hours in TIERS.items()}


def cost_of(requests: int, seconds: float, wasted_s: float = 0.0) -> ComputeCost:
    """Return the cost of requests that are expected to take so many EECU-seconds.

    Args:
        requests: that are computed.
        seconds: expected of them.
        wasted_s: expected of calls that brought nothing, and may be charged or not.
    """
    return ComputeCost(requests, seconds / _FACTOR / 3600, (seconds + wasted_s) * _FACTOR / 3600)


def compute_cost(plan: Plan) -> ComputeCost:
    """Return the cost of fetching all of a plan."""
    requests, seconds = 0.0, 0.0
    for group in plan.groups:
        tiling = group.tiling
        share = group.count_tiles() / tiling.tiles
        pixels = share * group.grid.width * group.grid.height
        per_slice = share * group.count_requests() / tiling.slices
        for number in range(tiling.slices):
            price = _price(plan, group, number)
            requests += per_slice * (price > 0)
            seconds += pixels * price
    return cost_of(round(requests), seconds)


def seconds_of(plan: Plan, request: Request) -> float:
    """Return the EECU-seconds that a request is expected to take; 0 where stored pixels are read."""
    group = plan.group(request.shard.group)
    window = request.window
    share = len(request.bands) / len(group.bands)
    price = sum(_price(plan, group, number) for number in request.block.numbers)
    return window.width * window.height * share * price


def most_seconds(seconds: float) -> float:
    """Return the most EECU-seconds that may be charged where `seconds` are expected."""
    return seconds * _FACTOR


def _price(plan: Plan, group: Group, number: int) -> float:
    """Return the EECU-seconds for a pixel of all bands of a slice; 0 where it is read as it is stored."""
    part = (group.parts or plan.slices)[number]
    masked = any(band.mask_of or band.is_filled for band in group.bands)
    if part.problem or not (part.expression or masked or group.stack):
        return 0.0
    bands = sum(not band.mask_of for band in group.bands)
    return _PER_TILE_S * bands * max(1, len(part.images)) / _TILE
