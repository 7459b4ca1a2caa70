"""What is learned of the service from a job's answers."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.planning.request_size import Observed, ServiceModel

GUESS = ServiceModel(base_s=0.25, per_mb_s=0.4, concurrency=40, starts_per_s=90)
MB = 1e6


@given(st.floats(0, 3), st.floats(0, 3))
def test_latency_and_rate_are_learned_from_answers_of_different_sizes(base: float, rate: float) -> None:
    observed = Observed(GUESS)
    for number in range(200):
        nbytes = [500_000, 8_000_000][number % 2]
        observed.add(nbytes, base + rate * nbytes / MB)
    model = observed.model()
    for nbytes in (500_000, 4_000_000, 8_000_000):
        wrong = abs(GUESS.request_s(nbytes) - base - rate * nbytes / MB) + abs(GUESS.base_s - base)
        assert abs(model.request_s(nbytes) - base - rate * nbytes / MB) <= 0.2 * wrong + 1e-6


@given(st.integers(1_000, 50_000_000), st.floats(0.001, 30))  # below a thousand bytes all count as a thousand
def test_answers_of_one_size_teach_that_size_and_no_nonsense(nbytes: int, seconds: float) -> None:
    observed = Observed(GUESS)
    for _ in range(300):
        observed.add(nbytes, seconds)
    model = observed.model()
    assert model.base_s >= 0
    assert model.per_mb_s >= 0
    guessed = GUESS.request_s(nbytes)
    assert abs(model.request_s(nbytes) - seconds) <= 0.05 * abs(guessed - seconds) + 0.05 * GUESS.base_s


def test_nothing_seen_is_the_guess() -> None:
    assert Observed(GUESS).model() == GUESS


@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.3])
def test_latency_is_learned_although_durations_scatter(scatter: float) -> None:
    """Large answers scatter by more than a latency; the few small ones tell it."""
    found = []
    for seed in range(20):
        rng, observed = random.Random(seed), Observed(GUESS)
        for number in range(60):
            nbytes = 500_000 if number % 5 == 0 else 8_000_000
            least_s = 0.5 + 0.8 * nbytes / MB
            observed.add(nbytes, least_s * (1 + rng.uniform(-scatter, scatter)))
        found.append(observed.model())
    assert statistics.mean(model.base_s for model in found) == pytest.approx(0.5, abs=0.1)
    assert statistics.stdev(model.base_s for model in found) <= 0.5 * scatter + 1e-9
    assert all(model.scatter == pytest.approx(scatter / 3**0.5, abs=0.05) for model in found)


def test_one_straggler_does_not_pass_for_scatter() -> None:
    observed = Observed(GUESS)
    for number in range(50):
        observed.add(8_000_000, GUESS.request_s(8_000_000) * (5 if number == 25 else 1))
    assert observed.model().scatter <= 1.5 * GUESS.scatter
