"""Line charts as coordinates of SVG, which the template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 480
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 44
"""Margins around the plot, for labels."""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line of a chart."""

    name: str
    kind: str
    """Class of the style sheet."""
    points: str
    """As a polyline takes them."""
    area: str = ""
    """`d` of the area beneath it; empty for none."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready to be drawn in `WIDTH` × `HEIGHT`."""

    id: str
    title: str
    words: str
    """Text alternative."""
    unit: str
    """Of the vertical axis."""
    time_unit: str
    lines: tuple[ChartLine, ...]
    across: tuple[tuple[float, str], ...]
    """(x, text) of the marks."""
    up: tuple[tuple[float, str], ...]
    """(y, text) of the marks."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 × 10ⁿ that divides a span into at most `most` parts."""
    if span <= 0 or not math.isfinite(span):
        return 1.0
    rough = span / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit for a time axis, and its length in seconds."""
    for name, length in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return name, length
    return "s", 1.0


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
    step_x, step_y = nice_step(span, 6), nice_step(top, 4)
    ceiling = math.ceil(top / step_y - 1e-9) * step_y
    across, up = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return round(_LEFT + across * value / span, 1)

    def y(value: float) -> float:
        return round(_TOP + up * (1 - value / ceiling), 1)

    drawn = []
    for label, kind, values, filled in lines:
        places = [(x(time / length), y(value)) for time, value in zip(times, values, strict=True)]
        points = " ".join(f"{px:g},{py:g}" for px, py in places)
        floor = HEIGHT - _BOTTOM
        area = f"M{places[0][0]:g} {floor}L{points}L{places[-1][0]:g} {floor}z" if filled and places else ""
        drawn.append(ChartLine(label, kind, points, area))
    return Chart(
        name, title, words, unit, word, tuple(drawn),
        tuple((x(n * step_x), f"{n * step_x:,.10g}") for n in range(int(span / step_x + 1e-9) + 1)),
        tuple((y(n * step_y), f"{n * step_y:,.10g}") for n in range(round(ceiling / step_y) + 1)),
    )  # fmt: skip
