"""A picture of the slots in use: how many requests the service had under way, by quarter second, run by run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scripts.benchmarks.results import Row

BIN_S = 0.25
LEFT, RIGHT, TOP, PANEL, GAP, BOTTOM = 44, 12, 26, 110, 30, 34
WIDTH = 720
BLUE, RED, GREY, BLACK = "#1b6ca8", "#c0143c", "#d9d9d9", "#333333"


def drawn(rows: Sequence[Row], slots: int = 40) -> str:
    """Return an SVG with a panel for each row that was looked at: a bar for each quarter second, red below nine of ten slots.

    Args:
        rows: of one scenario.
        slots: of the quota.
    """
    seen = [row for row in rows if row.slots]
    seconds = max(4, *(math.ceil(len(row.slots) * BIN_S) for row in seen))
    height = TOP + len(seen) * (PANEL + GAP) - GAP + BOTTOM
    wide = (WIDTH - LEFT - RIGHT) / seconds
    size = f'viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="12" fill="{BLACK}">',
        "<title>Requests under way, by quarter second</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, row in enumerate(seen):
        top = TOP + number * (PANEL + GAP)
        lines.append(
            f'<text x="{LEFT}" y="{top - 8}">{row.name}: {row.seconds:.2f} s, {row.requests} requests</text>'
        )
        lines += [_level(top, level, slots) for level in (0, slots // 2, slots)]
        lines += [_bar(top, k, used, slots, wide * BIN_S) for k, used in enumerate(row.slots)]
    below = height - BOTTOM + 16
    lines += [
        f'<text x="{LEFT + second * wide:.1f}" y="{below}" text-anchor="middle">{second}</text>'
        for second in range(0, seconds + 1, 2)
    ]
    lines.append(f'<text x="{WIDTH / 2}" y="{height - 4}" text-anchor="middle">seconds</text>')
    return "\n".join([*lines, "</svg>", ""])


def _level(top: int, level: int, slots: int) -> str:
    y = top + PANEL * (1 - level / slots)
    return (
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GREY}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level}</text>'
    )


def _bar(top: int, number: int, used: float, slots: int, wide: float) -> str:
    tall = PANEL * used / slots
    colour = BLUE if used >= 0.9 * slots else RED
    return (
        f'<rect x="{LEFT + number * wide:.1f}" y="{top + PANEL - tall:.1f}" width="{wide - 1:.1f}" '
        f'height="{tall:.1f}" fill="{colour}"/>'
    )
