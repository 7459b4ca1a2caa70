"""What the scenarios draw from their rows."""

from __future__ import annotations

from scripts.benchmarks.scenarios import idle


def test_the_first_and_the_last_second_say_nothing_of_idle_slots() -> None:
    ramp, end = [5, 20, 30, 38], [30, 12, 4, 0.5]
    assert idle([*ramp, 40, 37.5, 40, 40, *end], 40) == 2.5
