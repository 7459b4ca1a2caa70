"""Cost of computing, as text and as plain values."""

from __future__ import annotations

from typing import Any

from downloader.planning.compute_cost import SOURCE, ComputeCost
from downloader.text import counted


def cost_text(cost: ComputeCost) -> str:
    """Return a cost in a few words: requests and a range."""
    return f"{counted(cost.requests, 'request')}, {hours(cost)}"


def hours(cost: ComputeCost) -> str:
    """Return the range of a cost."""
    return f"{_number(cost.low_h)} to {_number(cost.high_h)} EECU-hours (an estimate)"


def cost_lines(cost: ComputeCost, requests: int) -> list[str]:
    """Return the lines of a plan's text on the cost of its computed requests.

    Args:
        cost: of those that compute.
        requests: in all.
    """
    if not cost.requests:
        return ["compute   nothing: reading stored pixels (getPixels) is not known to be charged"]
    shares = "; ".join(
        f"{_percent(low)} to {_percent(high)} of {tier}" for tier, (low, high) in cost.shares().items()
    )
    lines = [f"compute   {cost_text(cost)}", f"          {SOURCE};", f"          of a month: {shares}"]
    if (rest := requests - cost.requests) > 0:
        lines.append(f"read      {counted(rest, 'request')} for stored pixels, not known to be charged")
    return lines


def cost_document(cost: ComputeCost) -> dict[str, Any]:
    """Return a cost as plain values."""
    return {
        "requests": cost.requests,
        "eecu_hours": [cost.low_h, cost.high_h],
        "source": SOURCE,
        "share_of_month": {tier: list(share) for tier, share in cost.shares().items()},
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:,.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
