"""Rows of figures: as a table, as JSON, and against a baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Row", "Scenario", "compare", "markdown", "text"]


@dataclass(slots=True)
class Row:
    """One contender in one scenario."""

    name: str
    seconds: float | None = None
    """Wall clock for the whole task; scaled where `scale` is above 1. None where it did not run."""
    cpu_ms_per_mb: float | None = None
    """Processor time of the contender's process for each 10⁶ bytes of pixels."""
    peak_mb: float | None = None
    requests: int | None = None
    pixels: str = ""
    """Whether what it stored is right."""
    scale: float = 1.0
    """How many times its own window the whole is."""
    note: str = ""
    slots: list[float] = field(default_factory=list)
    """Requests that the service had under way, the mean of each quarter second from the first on; empty where not looked at."""


@dataclass(slots=True)
class Scenario:
    """All rows of one scenario, and the ratios drawn from them."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    """Named so that smaller is better."""
    targets: dict[str, float] = field(default_factory=dict)
    """Ratio → what it may be at most."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def absent(self) -> list[Row]:
        """Who did not run: without a rival no ratio to it is drawn."""
        return [row for row in self.rows if row.seconds is None]

    def missed(self) -> list[str]:
        """Ratios above their target."""
        return [name for name, most in self.targets.items() if self.ratios.get(name, most) > most]


HEAD = ("", "wall", "÷ floor", "CPU ms/MB", "peak MB", "requests", "pixels", "")
FLOOR = "best list schedule"
"""Name of the row that the others are compared with."""


def table(scenario: Scenario) -> list[tuple[str, ...]]:
    """The scenario's rows in cells, the head first."""
    floor_s = next((row.seconds for row in scenario.rows if row.name == FLOOR), None)
    return [HEAD, *(cells(row, floor_s) for row in scenario.rows)]


def cells(row: Row, floor_s: float | None) -> tuple[str, ...]:
    """One row of the table."""
    if row.seconds is None:
        return (row.name, "–", "", "", "", "", "", f"did not run: {row.note}")
    note = "; ".join(filter(None, (f"own window × {row.scale:.3g}" if row.scale > 1.001 else "", row.note)))
    return (
        row.name,
        f"{row.seconds:.2f} s" if row.seconds < 100 else f"{row.seconds:.0f} s",
        f"{row.seconds / floor_s:.3g}" if floor_s else "",
        "" if row.cpu_ms_per_mb is None else f"{row.cpu_ms_per_mb:.2f}",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        "" if row.requests is None else f"{row.requests:,}",
        row.pixels,
        note,
    )


def ratio_lines(scenario: Scenario) -> list[str]:
    """One line for each ratio, with its target."""
    lines = []
    for name, value in scenario.ratios.items():
        most = scenario.targets.get(name)
        verdict = "" if most is None else f" (target ≤ {most:g}: {'met' if value <= most else 'MISSED'})"
        lines.append(f"{name}: {value:.3g}{verdict}")
    return lines


def text(scenario: Scenario) -> str:
    """The scenario for a terminal."""
    rows = table(scenario)
    widths = [max(len(line[k]) for line in rows) for k in range(len(HEAD))]
    lines = [f"\n{scenario.name}: {scenario.title}"]
    for line in rows:
        padded = [
            cell.ljust(width) if k in (0, 6, 7) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  " + "  ".join(padded).rstrip())
    return "\n".join([*lines, *(f"  · {line}" for line in ratio_lines(scenario))])


def markdown(scenario: Scenario) -> str:
    """The scenario for `docs/performance.md`."""
    head, *rows = ["| " + " | ".join(line) + " |" for line in table(scenario)]
    lines = [
        f"### {scenario.name}: {scenario.title}",
        "",
        head,
        "|---|---:|---:|---:|---:|---:|---|---|",
        *rows,
    ]
    return "\n".join([*lines, "", *(f"- {line}" for line in ratio_lines(scenario)), ""])


def compare(
    scenarios: Iterable[Scenario],
    baseline: dict[str, dict[str, float]],
    tolerance: float,
    *,
    alone: bool = False,
) -> list[str]:
    """What is worse than the baseline by more than `tolerance` (0.25: a quarter); empty where nothing is.

    Args:
        scenarios: what was measured.
        baseline: scenario → ratio → value.
        tolerance: share by which a ratio may be above its baseline.
        alone: whether rivals were left out, so that ratios to them are not there.
    """
    worse = []
    for scenario in scenarios:
        for name, before in baseline.get(scenario.name, {}).items():
            now = scenario.ratios.get(name)
            if now is None:
                if not alone and not scenario.absent():
                    worse.append(f"{scenario.name}, {name}: not measured, was {before:.3g}")
            elif now > before * (1 + tolerance):
                worse.append(
                    f"{scenario.name}, {name}: {now:.3g}, was {before:.3g} ({now / before - 1:+.0%})"
                )
    return worse
