"""A run over time: charts, and the same as a table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from downloader.report.html.charts import Chart, line_chart, time_unit

if TYPE_CHECKING:
    from downloader.progress.history import Timeline


_POINTS: Final = 120
"""Points of a chart at most: more would be a carpet."""

_ROWS: Final = 30
"""Rows of the table at most."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of time."""

    begin: float
    """Seconds since the run's start."""
    seconds: float
    wire_bytes: float
    answers: float
    retries: float
    failures: float
    in_flight: float
    ceiling: float

    @property
    def megabytes_per_s(self) -> float:
        return self.wire_bytes / 1e6 / self.seconds

    @property
    def answers_per_s(self) -> float:
        return self.answers / self.seconds

    @property
    def middle(self) -> float:
        return self.begin + self.seconds / 2


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
    spans = _spans(timeline, _POINTS)
    times = [span.middle for span in spans]
    rates = [span.megabytes_per_s for span in spans]
    under_way, allowed = [span.in_flight for span in spans], [span.ceiling for span in spans]
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
        ends = [span.begin + span.seconds for span in spans]
        again = list(accumulate(span.retries for span in spans))
        failed = list(accumulate(span.failures for span in spans))
        charts.append(
            line_chart(
                "trouble", "Trouble so far", "in all", [0.0, *ends], timeline.seconds,
                [
                    ("calls made again", "three", [0.0, *again], True),
                    ("requests failed", "four", [0.0, *failed], False),
                ],
                f"Line chart of the calls made again until then, {again[-1]:,.0f} at the end, and of the requests that "
                f"failed for good, {failed[-1]:,.0f} at the end.",
            )
        )  # fmt: skip
    return TimelineView(tuple(charts), *_table(timeline))


def _spans(timeline: Timeline, most: int) -> list[_Span]:
    """The bins, joined to no more than so many stretches."""
    bins = len(timeline.wire_bytes)
    join = -(-bins // most)
    spans: list[_Span] = []
    for first in range(0, bins, join):
        part = slice(first, min(first + join, bins))
        lengths = [timeline.seconds_of(number) for number in range(part.start, part.stop)]
        seconds = sum(lengths)
        held = [
            sum(value * length for value, length in zip(values[part], lengths, strict=True)) / seconds
            for values in (timeline.in_flight, timeline.ceiling)
        ]
        counts = [
            sum(values[part])
            for values in (timeline.wire_bytes, timeline.answers, timeline.retries, timeline.failures)
        ]
        if spans and seconds < 0.25 * join * timeline.bin_s:
            # Too short a rest for a rate of its own.
            last = spans.pop()
            both = last.seconds + seconds
            old = (last.wire_bytes, last.answers, last.retries, last.failures)
            counts = [before + count for before, count in zip(old, counts, strict=True)]
            held = [
                (before * last.seconds + value * seconds) / both
                for before, value in zip((last.in_flight, last.ceiling), held, strict=True)
            ]
            spans.append(_Span(last.begin, both, *counts, *held))
            continue
        spans.append(_Span(first * timeline.bin_s, seconds, *counts, *held))
    return spans


def _table(timeline: Timeline) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    word, length = time_unit(timeline.seconds)
    header = (
        f"from, {word}", f"to, {word}", "MB/s", "answers/s", "under way", "allowed", "made again", "failed",
    )  # fmt: skip
    rows = tuple(
        (
            f"{span.begin / length:,.4g}",
            f"{(span.begin + span.seconds) / length:,.4g}",
            f"{span.megabytes_per_s:,.1f}",
            f"{span.answers_per_s:,.1f}",
            f"{span.in_flight:,.1f}",
            f"{span.ceiling:,.1f}",
            f"{span.retries:,.0f}",
            f"{span.failures:,.0f}",
        )
        for span in _spans(timeline, _ROWS)
    )
    return header, rows
