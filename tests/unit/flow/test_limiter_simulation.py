"""The limiter and the retries against a simulated service, in virtual time: the numbers of docs/flow.md and the faults."""

import itertools

import pytest

from downloader.errors import Action, StoppedError
from tests.simulation import Phase, Scenario, Trace, simulate


@pytest.mark.parametrize(("quota", "seed"), [(4, 1), (8, 2), (10, 1), (39, 2), (40, 1)])
def test_less_than_one_percent_is_refused_once_adapted_and_the_full_quota_comes_back(quota: int, seed: int):
    trace = simulate(Scenario([Phase(0, quota), Phase(100, 40)], seconds=135, latency_s=0.6, seed=seed))

    assert trace.share("429 concurrency", 0, 100, after=100) < 0.01
    assert trace.mean_level(20, 100) > 0.85 * quota
    assert trace.reached(40, 100) <= 30
    assert not trace.failed


@pytest.fixture(scope="module")
def changing() -> Trace:
    """A quota that goes 40 → 10 → 0 → 40 in mid-job."""
    phases = [Phase(0, 40), Phase(30, 10), Phase(90, 0), Phase(150, 40)]
    return simulate(Scenario(phases, seconds=190, latency_s=0.5))


def test_concurrency_follows_a_changing_quota(changing: Trace):
    assert changing.mean_level(10, 30) > 35
    assert 8.5 < changing.mean_level(40, 90) <= 10
    assert changing.mean_level(95, 150) == 0
    assert changing.reached(40, 150) <= 30
    assert changing.mean_level(181, 190) > 35


def test_a_changing_quota_costs_few_refusals(changing: Trace):
    assert changing.share("429 concurrency", 0, 30, after=100) < 0.01
    assert changing.share("429 concurrency", 30, 90, after=100) < 0.01
    assert changing.share("429 concurrency", 150, 190, after=100) < 0.01
    refused_while_zero = [kind for at, kind in changing.answers if 91 <= at < 150 and kind != "ok"]
    assert len(refused_while_zero) <= 15
    assert changing.retries <= 0.2 * changing.calls + 100
    assert not changing.failed


def test_a_changing_quota_is_told_in_two_lines(changing: Trace):
    (stopped, first), (resumed, second) = changing.notices
    assert 90 < stopped < 120
    assert first.startswith("no pixels for ")
    assert "429: concurrency exceeded" in first
    assert 150 < resumed < 170
    assert second.startswith("pixels arrive again after ")


def test_a_quota_of_nothing_for_minutes_fails_no_tile():
    trace = simulate(Scenario([Phase(0, 0), Phase(600)], seconds=640))
    assert trace.done > 500
    assert not trace.failed
    assert trace.reached(40, 600) <= 30


def test_starts_never_exceed_the_rate_in_any_window(changing: Trace):
    starts = changing.starts
    burst = 5
    for span in (1, 5, 20, 90, 450, 1800):
        for first, last in zip(starts, starts[span:], strict=False):
            assert span + 1 <= 90 * (last - first) + burst + 1e-6


def test_a_rate_quota_is_found_and_left_again():
    phases = [Phase(0, per_minute=300), Phase(250)]
    trace = simulate(Scenario(phases, seconds=430, latency_s=0.3, requests_per_second=20))
    assert trace.share("429 rate", 70, 250) < 0.01
    assert sum(70 <= at < 250 for at in trace.starts) > 0.8 * 3 * 300
    assert sum(410 <= at < 430 for at in trace.starts) > 0.95 * 20 * 20
    assert not trace.failed


def test_a_refused_connection_at_the_start_ends_within_give_up_after():
    trace = simulate(Scenario([Phase(0, reachable=False)], seconds=1000, give_up_after_s=60))
    assert isinstance(trace.ended, StoppedError)
    assert trace.ended_at == pytest.approx(60, abs=1)
    assert "connection refused" in str(trace.ended)
    assert "run the job again" in str(trace.ended)
    assert len(trace.starts) < 40
    assert [line for _, line in trace.notices if line.startswith("no pixels")] == [trace.notices[0][1]]


def test_connections_refused_for_30_s_are_waited_for():
    trace = simulate(Scenario([Phase(0), Phase(20, reachable=False), Phase(50)], seconds=80))
    assert trace.ended is None
    assert not trace.failed
    assert trace.reached(38, 50) < 20
    assert sum(21 < at < 50 for at in trace.starts) < 60


@pytest.mark.parametrize("phase", [Phase(0, errors=1.0), Phase(0, quota=0)], ids=["503", "429"])
def test_a_service_that_never_answers_well_ends_the_job_resumable(phase: Phase):
    trace = simulate(Scenario([phase], seconds=3000))
    assert isinstance(trace.ended, StoppedError)
    assert 900 <= trace.ended_at < 950
    assert trace.retries <= 0.2 * trace.calls + 100
    assert not trace.failed


def test_errors_now_and_then_cost_no_tile():
    trace = simulate(Scenario([Phase(0, errors=0.1)], seconds=40))
    assert trace.done > 1500
    assert not trace.failed
    assert trace.mean_level(5, 40) > 35


def test_too_many_errors_spend_the_budget_and_then_fail_tiles():
    trace = simulate(Scenario([Phase(0, errors=0.4)], seconds=40))
    assert trace.retries <= 0.2 * trace.calls + 100
    assert trace.failed
    assert {problem.action for problem in trace.failed} == {Action.FAIL_TILE}
    assert trace.ended is None


def test_stray_refusals_slow_down_but_lose_nothing():
    trace = simulate(Scenario([Phase(0, stray=0.01)], seconds=100))
    assert trace.done > 500
    assert not trace.failed


def test_retry_after_pauses_everybody():
    trace = simulate(Scenario([Phase(0, 8, retry_after_s=7.0)], seconds=60))
    gaps = [last - first for first, last in itertools.pairwise(trace.starts)]
    assert max(gaps) >= 7
    assert trace.most_in_flight <= 12


def test_a_simulation_is_the_same_each_time():
    scenario = Scenario([Phase(0, 8)], seconds=20)
    assert simulate(scenario).answers == simulate(scenario).answers
