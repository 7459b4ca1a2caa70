import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.flow.rate import StartRate


def start_all(pace: StartRate, asked: list[float]) -> list[float]:
    """The times at which requests start that are asked for at these times."""
    starts, now = [], 0.0
    for at in asked:
        now = max(now, at, pace.ready_at())
        pace.start(now)
        starts.append(now)
    return starts


@given(
    rate=st.floats(0.1, 2000),
    gaps=st.lists(st.one_of(st.just(0.0), st.floats(0, 100)), min_size=1, max_size=60),
)
def test_no_window_holds_more_than_rate_times_time_and_a_burst(rate: float, gaps: list[float]):
    asked = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    pace = StartRate(rate, 0.0)
    starts = start_all(pace, asked)
    assert pace.burst == max(1, -int(-rate * 0.05 // 1))
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            assert last - first + 1 <= rate * (starts[last] - starts[first]) + pace.burst + 1e-6


def test_starts_are_spaced_and_idle_time_is_not_saved_up():
    pace = StartRate(10, 0.0)
    assert start_all(pace, [0.0] * 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    pace = StartRate(10, 0.0)
    pace.start(0.0)
    assert start_all(pace, [3600.0] * 3) == pytest.approx([3600, 3600.1, 3600.2])


def test_late_timers_are_made_up_for():
    """At 1000 a second a timer that is 5 ms late must not cost 5 starts."""
    pace = StartRate(1000, 0.0)
    starts = start_all(pace, [round(n * 0.001 / 0.006) * 0.006 for n in range(1000)])
    assert starts[-1] <= 1.01


def test_a_refusal_lowers_to_what_passed_in_the_last_minute():
    pace = StartRate(90, 0.0)
    for second in range(60):
        for _ in range(20):
            pace.passed(second)
    pace.refused(60.0)
    assert pace.rate == 45
    pace.refused(60.5)
    pace.refused(61.0)
    assert 17 < pace.rate < 20


def test_a_refusal_never_raises_the_rate_and_never_stops_it():
    pace = StartRate(0.5, 0.0)
    for _ in range(50):
        pace.passed(0.0)
    before = pace.rate
    pace.refused(1.0)
    assert pace.rate <= before
    for n in range(100):
        pace.refused(1000.0 + n)
    assert pace.rate > 0.05


def test_the_rate_comes_back_after_a_minute_by_growing_steps():
    pace = StartRate(90, 0.0)
    pace.refused(0.0)
    rates = []
    for second in range(200):
        pace.passed(second)
        rates.append(pace.rate)
    assert set(rates[:60]) == {45}
    steps = sorted(set(rates))
    assert [b - a for a, b in itertools.pairwise(steps[:-1])] == pytest.approx([2.25, 4.5, 9, 18])
    assert rates[-1] == 90


def test_a_rate_that_is_divided_anew_counts_at_once():
    pace = StartRate(100, 0.0)
    pace.set_most(10)
    assert (pace.rate, pace.burst) == (10, 1)
    assert start_all(pace, [0, 0, 0]) == [0, pytest.approx(0.1), pytest.approx(0.2)]
    pace.set_most(50)
    assert (pace.rate, pace.burst) == (50, 3)


def test_a_larger_share_does_not_undo_what_a_refusal_taught():
    pace = StartRate(100, 0.0)
    pace.refused(0.0)
    pace.set_most(200)
    assert pace.rate == 50
    pace.set_most(20)
    assert pace.rate == 20
