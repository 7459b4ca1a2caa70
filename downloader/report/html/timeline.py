"""Run over time, as charts and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.report.html.charts import Chart, line_chart, time_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.progress.history import Timeline


_POINTS: Final = 120
"""Points of a chart at most; more could not be told apart."""

_ROWS: Final = 30
"""Rows of the table at most."""


@dataclass(frozen=True, slots=True)
class TimelineView:
    """Charts and table of a run over time."""

    charts: tuple[Chart, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def timeline_view(timeline: Timeline) -> TimelineView | None:
    """Return the charts and the table of a run; None where nothing was asked for."""
    if not sum(timeline.answers) and not sum(timeline.retries):
        return None
    spans = _stretches(timeline, _POINTS)
    times = ((spans["begin"] + spans["end"]) / 2).tolist()
    if len(times) == 1:  # a line has two ends
        times = [0.0, timeline.seconds]
    rates, under_way, allowed = (
        np.resize(spans[name], len(times)).tolist() for name in ("MB/s", "under way", "allowed")
    )
    mean = sum(timeline.wire_bytes) / 1e6 / max(timeline.seconds, 1e-9)
    charts = (
        line_chart(
            "throughput", "Throughput", "MB/s", times, timeline.seconds,
            [("pixels received", "one", rates, True)],
            f"Line chart of the megabytes of pixels received a second: {mean:,.1f} on average, {max(rates):,.1f} at most.",
        ),
        line_chart(
            "concurrency", "Requests at once", "requests", times, timeline.seconds,
            [("under way", "one", under_way, True), ("allowed", "two", allowed, False)],
            f"Line chart of the requests under way, {max(under_way):,.0f} at most, and of those allowed at once, "
            f"{min(allowed[1:-1] or allowed):,.0f} to {max(allowed):,.0f}.",
        ),
    )  # fmt: skip
    word, length = time_unit(timeline.seconds)
    table = _stretches(timeline, _ROWS)
    columns = {
        f"from, {word}": [f"{value:,.4g}" for value in table.pop("begin") / length],
        f"to, {word}": [f"{value:,.4g}" for value in table.pop("end") / length],
        **{name: [f"{round(value, 1):,.7g}" for value in values.tolist()] for name, values in table.items()},
    }
    return TimelineView(charts, tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _stretches(timeline: Timeline, most: int) -> dict[str, NDArray[np.float64]]:
    """Return the bins of a timeline joined to at most `most` stretches: their begin and end in seconds, and what happened."""
    bins = len(timeline.wire_bytes)
    join = -(-bins // most)
    lengths = np.array([timeline.seconds_of(number) for number in range(bins)])
    first = list(range(0, bins, join))
    if len(first) > 1 and lengths[first[-1] :].sum() < 0.25 * join * timeline.bin_s:
        first.pop()  # too short a rest for a rate of its own

    def joined(values: object) -> NDArray[np.float64]:
        return np.add.reduceat(np.asarray(values, np.float64), first)

    begin, seconds = np.array(first) * timeline.bin_s, joined(lengths)
    return {
        "begin": begin,
        "end": begin + seconds,
        "MB/s": joined(timeline.wire_bytes) / 1e6 / seconds,
        "answers/s": joined(timeline.answers) / seconds,
        "under way": joined(timeline.in_flight * lengths) / seconds,
        "allowed": joined(timeline.ceiling * lengths) / seconds,
        "made again": joined(timeline.retries),
        "failed": joined(timeline.failures),
    }
