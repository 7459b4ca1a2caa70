"""Line charts over time in shares of their axes, which the template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready to be drawn."""

    id: str
    title: str
    words: str
    """Text alternative."""
    unit: str
    """Unit of the vertical axis."""
    time_unit: str
    lines: Sequence[tuple[str, str, Sequence[tuple[float, float]], bool]]
    """(name, class of the style sheet, points, whether the area beneath is filled); a point is two shares of the axes."""
    across: Sequence[tuple[float, str]]
    """(share of the time axis, text) of its marks."""
    up: Sequence[tuple[float, str]]
    """(share of the vertical axis, text) of its marks."""


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 × 10ⁿ that divides a span into at most `most` parts."""
    if span <= 0 or not math.isfinite(span):
        return 1.0
    rough = span / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit for a time axis, and its length in seconds."""
    units = (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0))
    return next(((name, length) for name, length in units if seconds >= 2 * length), ("s", 1.0))


def line_chart(
    name: str,
    title: str,
    unit: str,
    times: Sequence[float],
    seconds: float,
    lines: Sequence[tuple[str, str, Sequence[float], bool]],
    words: str,
) -> Chart:
    """Return a chart over time.

    Args:
        name: its id in the page.
        title: above it.
        unit: of the values.
        times: the moments of the points, in seconds.
        seconds: where the time axis ends.
        lines: (name, class, values at `times`, whether the area beneath is filled).
        words: what it shows.
    """
    word, length = time_unit(seconds)
    span = max(seconds, 1e-3) / length
    top = max((value for _, _, values, _ in lines for value in values), default=0.0) or 1.0
    step = nice_step(top, 4)
    ceiling = math.ceil(top / step - 1e-9) * step
    drawn = [
        (label, kind, [(t / length / span, v / ceiling) for t, v in zip(times, values, strict=True)], filled)
        for label, kind, values, filled in lines
    ]
    across, up = _marks(nice_step(span, 6), span), _marks(step, ceiling)
    return Chart(name, title, words, unit, word, drawn, across, up)


def _marks(step: float, end: float) -> list[tuple[float, str]]:
    return [(n * step / end, f"{n * step:,.10g}") for n in range(int(end / step + 1e-9) + 1)]
