"""Recording a run: right sums over time and place, in memory that does not grow with the job."""

from __future__ import annotations

import json
import math

import pytest

from downloader.errors import Action, Cause, FetchProblem
from downloader.events import Failed, Flow, Notice, Retried, Split, Started, Stored
from downloader.model.grid import Window
from downloader.planning import Estimate, Request, ShardKey, TileBlock
from downloader.progress.history import Latencies, Timeline
from downloader.progress.recorder import Recorder

ESTIMATE = Estimate(1, 1, 64, 1_000, 100, 10**9, 10**9, 60.0)
PROBLEM = FetchProblem(Action.RETRY, Cause.RESET, "connection reset")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(row: int = 0, column: int = 0, rows: int = 1, columns: int = 1, slice_: int = 0, group: str = "") -> Request:  # fmt: skip
    return Request(
        ShardKey(group, 0, 0, 0), TileBlock(slice_, row, column, rows, columns), Window(0, 0, 1, 1), (0,)
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(clock: Clock) -> Recorder:
    recorder = Recorder(clock)
    recorder(Started(ESTIMATE, 0))
    return recorder


def at(clock: Clock, seconds: float) -> None:
    clock.now = 1000.0 + seconds


def test_what_happens_counts_where_it_happens(recorder: Recorder, clock: Clock) -> None:
    at(clock, 0.1)
    recorder(Stored(request(), 1_000_000, 0.1))
    at(clock, 0.2)
    recorder(Retried(request(), PROBLEM, 1))
    recorder(Failed(request(), PROBLEM))
    recorder(Split(request(), PROBLEM, ()))
    at(clock, 0.3)
    timeline = recorder.history().timeline
    assert (timeline.bin_s, timeline.seconds) == (0.125, pytest.approx(0.3))
    assert timeline.wire_bytes == (1_000_000, 0, 0)
    assert timeline.answers == (1, 2, 0)
    assert timeline.retries == (0, 1, 0)
    assert timeline.failures == (0, 1, 0)
    assert timeline.rate(timeline.wire_bytes)[0] == pytest.approx(8_000_000)


def test_what_was_given_up_before_it_was_asked_is_no_answer(recorder: Recorder) -> None:
    """Tiles of an image that the service refuses as a whole; requests that are split ahead."""
    recorder(Failed(request(), PROBLEM, attempts=0))
    recorder(Split(request(), PROBLEM, (), attempts=0))
    timeline = recorder.history().timeline
    assert (timeline.answers, timeline.failures) == ((0,), (1,))


def test_requests_under_way_are_a_mean_over_time(recorder: Recorder, clock: Clock) -> None:
    at(clock, 0.0)
    recorder(Flow(10, 40))
    at(clock, 0.125 + 0.0625)  # a bin and a half at ten
    recorder(Flow(30, 20))
    at(clock, 0.3125)  # half a bin at thirty, half of the next one
    timeline = recorder.history().timeline
    assert timeline.in_flight == pytest.approx((10, 20, 30))
    assert timeline.ceiling == pytest.approx((40, 30, 20)), "the last bin was cut short by the end"


def test_a_long_hold_fills_every_bin_between(recorder: Recorder, clock: Clock) -> None:
    recorder(Flow(7, 40))
    at(clock, 10.0)
    timeline = recorder.history().timeline
    assert timeline.in_flight == pytest.approx([7] * 80)


def test_bins_stay_few_and_lose_nothing(recorder: Recorder, clock: Clock) -> None:
    """Three days, in bins that merge pairwise."""
    recorder(Flow(12, 40))
    for second in range(0, 3 * 86_400, 60):
        at(clock, second)
        recorder(Stored(request(), 100, 0.5))
    history = recorder.history()
    timeline = history.timeline
    assert 300 < len(timeline.wire_bytes) <= 600
    assert sum(timeline.wire_bytes) == 100 * 3 * 1440
    assert math.log2(timeline.bin_s / 0.125).is_integer()
    assert timeline.bin_s * (len(timeline.wire_bytes) - 1) <= timeline.seconds
    assert timeline.in_flight == pytest.approx([12] * len(timeline.in_flight))


def test_a_run_of_no_time_has_no_rates_beyond_reason(recorder: Recorder) -> None:
    assert recorder.history().timeline.wire_bytes == (0,)
    json.dumps(recorder.history().to_json(), allow_nan=False)


def test_what_was_said_before_the_start_counts_as_said_at_the_start(clock: Clock) -> None:
    recorder = Recorder(clock)
    at(clock, 5)
    recorder(Notice("credentials: mine"))
    at(clock, 9)
    recorder(Started(ESTIMATE, 0))
    at(clock, 12)
    recorder(Notice("quota reached"))
    assert [event.text for event in recorder.history().lines] == ["credentials: mine", "quota reached"]
    assert recorder.history().lines[1].seconds == 3


def test_of_many_events_the_first_and_the_last_are_kept(recorder: Recorder) -> None:
    for number in range(1000):
        recorder(Notice(f"{number}"))
    history = recorder.history()
    assert len(history.lines) == 400
    assert [history.lines[0].text, history.lines[199].text, history.lines[200].text, history.lines[-1].text] == [
        "0", "199", "800", "999",
    ]  # fmt: skip
    assert history.lines_left_out == 600


def test_a_notice_of_any_length_is_bounded(recorder: Recorder) -> None:
    recorder(Notice("x" * 10_000))
    assert len(recorder.history().lines[0].text) < 2_100


# Latency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds", [1e-9, 0.001, 0.1234, 1.0, 17.0, 359.0, 9_999.0, 1e6], ids=lambda s: f"{s:g}"
)
def test_quantiles_are_right_to_an_eighth(recorder: Recorder, seconds: float) -> None:
    for _ in range(99):
        recorder(Stored(request(), 1, seconds))
    found = recorder.history().latencies
    assert found.total == 99
    assert found.longest_s == seconds
    if 0.001 <= seconds < 10_000:
        assert found.quantile(0.5) == pytest.approx(seconds, rel=0.13)
    assert found.quantile(1.0) <= seconds


def test_quantiles_are_in_order() -> None:
    found = Latencies((0, 5, 0, 90, 5), 0.0016)
    assert found.quantile(0.01) < found.quantile(0.5) < found.quantile(0.96)
    assert Latencies().quantile(0.5) == 0


# JSON --------------------------------------------------------------------------------------------------------


def test_json_is_plain_and_small(recorder: Recorder, clock: Clock) -> None:
    for second in range(10_000):
        at(clock, second)
        recorder(Stored(request(second, second), 1_000_000, 0.5))
    text = json.dumps(recorder.history().to_json(), allow_nan=False)
    assert len(text) < 50_000
    document = json.loads(text)
    assert document["latency_seconds"]["median"] == pytest.approx(0.5, rel=0.13)
    assert sum(document["megabytes_per_second"]) * document["bin_seconds"] == pytest.approx(10_000, rel=0.01)


def test_a_course_knows_its_last_bin_is_short() -> None:
    timeline = Timeline(1.0, 2.5, (2.0, 2.0, 2.0))
    assert timeline.rate(timeline.wire_bytes) == [2.0, 2.0, 4.0]
