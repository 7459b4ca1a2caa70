"""The benchmark's table, its targets, and what counts as worse than the baseline."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.benchmarks.results import Row, Scenario, compare, markdown, text
from scripts.benchmarks.scenarios import SCENARIOS

BASELINE = Path(__file__).resolve().parents[4] / "scripts" / "bench-baseline.json"


def scenario(**ratios: float) -> Scenario:
    return Scenario("quota", "a title", ratios=dict(ratios))


def test_a_ratio_is_worse_only_beyond_the_tolerance() -> None:
    before = {"quota": {"a": 1.0, "b": 2.0}}
    assert compare([scenario(a=1.24, b=2.0)], before, 0.25) == []
    (line,) = compare([scenario(a=1.26, b=1.0)], before, 0.25)
    assert line.startswith("quota, a: 1.26, was 1")


def test_a_ratio_that_is_no_longer_measured_is_worse() -> None:
    (line,) = compare([scenario(a=1.0)], {"quota": {"a": 1.0, "gone": 1.0}}, 0.25)
    assert "gone" in line
    assert "not measured" in line


def test_without_a_rival_its_ratios_are_not_compared() -> None:
    before = {"quota": {"a": 1.0, "wall ÷ rival": 1.0}}
    made = scenario(a=2.0)
    assert len(compare([made], before, 0.25)) == 2
    assert len(compare([made], before, 0.25, alone=True)) == 1
    made.rows = [Row("rival", note="no such module")]
    (line,) = compare([made], before, 0.25)
    assert line.startswith("quota, a")


def test_what_did_not_run_says_why_and_what_was_scaled_says_so() -> None:
    made = Scenario(
        "quota",
        "a title",
        [
            Row("one", 12.5, 1.5, 100, 3, "bit-exact"),
            Row("two", note="no such call"),
            Row("three", 5.0, scale=8.0),
        ],
        {"a": 1.2, "b": 0.5},
        {"a": 1.1, "b": 1},
    )
    for shown in (text(made), markdown(made)):
        assert "did not run: no such call" in shown
        assert "own window × 8" in shown
        assert "a: 1.2 (target ≤ 1.1: MISSED)" in shown
        assert "b: 0.5 (target ≤ 1: met)" in shown
    assert made.missed() == ["a"]


def test_the_committed_baseline_fits_the_scenarios() -> None:
    document = json.loads(BASELINE.read_text())
    assert 0 < document["tolerance"] <= 1
    for kind in ("full", "quick"):
        assert set(document[kind]) <= set(SCENARIOS)
        assert all(value > 0 for ratios in document[kind].values() for value in ratios.values())
