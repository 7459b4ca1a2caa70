"""A run over time: charts, and the same as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.report.html.charts import Chart, line_chart, time_unit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from downloader.progress.history import Timeline


_POINTS: Final = 120
"""Points of a chart at most: more would be a carpet."""

_ROWS: Final = 30
"""Rows of the table at most."""


@dataclass(frozen=True, slots=True)
class _Stretches:
    """A run in a few stretches of time, one after the other; arrays of a value for each."""

    begin: NDArray[np.float64]
    """Seconds since the run's start."""
    seconds: NDArray[np.float64]
    wire_bytes: NDArray[np.float64]
    answers: NDArray[np.float64]
    retries: NDArray[np.float64]
    failures: NDArray[np.float64]
    in_flight: NDArray[np.float64]
    ceiling: NDArray[np.float64]

    @classmethod
    def of(cls, timeline: Timeline, most: int) -> _Stretches:
        """Return the bins of a timeline, joined to at most `most` stretches."""
        bins = len(timeline.wire_bytes)
        join = -(-bins // most)
        lengths = np.array([timeline.seconds_of(number) for number in range(bins)])
        first = list(range(0, bins, join))
        if len(first) > 1 and lengths[first[-1] :].sum() < 0.25 * join * timeline.bin_s:
            first.pop()  # too short a rest for a rate of its own

        def joined(values: ArrayLike) -> NDArray[np.float64]:
            return np.add.reduceat(np.asarray(values, np.float64), first)

        seconds = joined(lengths)
        return cls(
            np.array(first) * timeline.bin_s,
            seconds,
            joined(timeline.wire_bytes),
            joined(timeline.answers),
            joined(timeline.retries),
            joined(timeline.failures),
            joined(timeline.in_flight * lengths) / seconds,
            joined(timeline.ceiling * lengths) / seconds,
        )

    @property
    def megabytes_per_s(self) -> NDArray[np.float64]:
        return self.wire_bytes / 1e6 / self.seconds

    @property
    def end(self) -> NDArray[np.float64]:
        return self.begin + self.seconds


@dataclass(frozen=True, slots=True)
class TimelineView:
    """What the page shows of it."""

    charts: tuple[Chart, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def timeline_view(timeline: Timeline) -> TimelineView | None:
    """The charts and the table of a run; None where nothing was asked for."""
    if not sum(timeline.answers) and not sum(timeline.retries):
        return None
    spans = _Stretches.of(timeline, _POINTS)
    times = (spans.begin + spans.seconds / 2).tolist()
    rates, under_way, allowed = (
        spans.megabytes_per_s.tolist(),
        spans.in_flight.tolist(),
        spans.ceiling.tolist(),
    )
    mean = sum(timeline.wire_bytes) / 1e6 / max(timeline.seconds, 1e-9)
    charts = [
        line_chart(
            "throughput", "Throughput", "MB/s", times, timeline.seconds,
            [("pixels received", "one", rates, True)],
            f"Line chart of the megabytes of pixels received a second: {mean:,.1f} on the average, {max(rates):,.1f} at "
            "the highest.",
        ),
        line_chart(
            "concurrency", "Requests at once", "requests", times, timeline.seconds,
            [("under way", "one", under_way, True), ("allowed", "two", allowed, False)],
            f"Line chart of the requests under way, {max(under_way):,.0f} at the highest, and of those allowed at once, "
            f"{min(allowed[1:-1] or allowed):,.0f} to {max(allowed):,.0f}.",
        ),
    ]  # fmt: skip
    if sum(timeline.retries) or sum(timeline.failures):
        again, failed = spans.retries.cumsum().tolist(), spans.failures.cumsum().tolist()
        charts.append(
            line_chart(
                "trouble", "Trouble so far", "in all", [0.0, *spans.end.tolist()], timeline.seconds,
                [
                    ("calls made again", "three", [0.0, *again], True),
                    ("requests failed", "four", [0.0, *failed], False),
                ],
                f"Line chart of the calls made again until then, {again[-1]:,.0f} at the end, and of the requests that "
                f"failed for good, {failed[-1]:,.0f} at the end.",
            )
        )  # fmt: skip
    return TimelineView(tuple(charts), *_table(timeline))


def _table(timeline: Timeline) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    word, length = time_unit(timeline.seconds)
    header = (
        f"from, {word}", f"to, {word}", "MB/s", "answers/s", "under way", "allowed", "made again", "failed",
    )  # fmt: skip
    spans = _Stretches.of(timeline, _ROWS)
    columns = (
        (spans.begin / length, ",.4g"),
        (spans.end / length, ",.4g"),
        (spans.megabytes_per_s, ",.1f"),
        (spans.answers / spans.seconds, ",.1f"),
        (spans.in_flight, ",.1f"),
        (spans.ceiling, ",.1f"),
        (spans.retries, ",.0f"),
        (spans.failures, ",.0f"),
    )
    texts = ([f"{value:{form}}" for value in values.tolist()] for values, form in columns)
    return header, tuple(zip(*texts, strict=True))
