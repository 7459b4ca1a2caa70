import random

import pytest

from downloader.flow.circuit_breaker import ROW_TO_OPEN, Circuit
from downloader.text import duration


def circuit(give_up_after_s: float = 900.0) -> Circuit:
    return Circuit(give_up_after_s, random.Random(1))


def fail(it: Circuit, serial: int, now: float, *, following: int | None = None) -> str | None:
    following = serial + 1 if following is None else following
    return it.failed(serial, following, now, "503: unavailable", counts=True)


def opened(now: float = 0.0) -> Circuit:
    it = circuit()
    for serial in range(ROW_TO_OPEN):
        assert not it.is_open
        fail(it, serial, now, following=40)
    assert it.is_open
    return it


def test_a_row_of_problems_opens_it_and_an_answer_between_does_not():
    opened()
    it = circuit()
    for serial in range(100):
        fail(it, serial, serial) if serial % ROW_TO_OPEN else it.answered(serial)
    assert not it.is_open


def test_slow_problems_are_no_row():
    it = circuit()
    for serial in range(100):
        it.failed(serial, serial + 1, 0.0, "429", counts=False)
    assert not it.is_open


def test_probes_go_one_by_one_at_growing_distances():
    it, now, distances = opened(), 0.0, []
    for serial in range(40, 55):
        distances.append(it.probe_at - now)
        now = it.probe_at
        it.start(serial)
        assert it.probing
        fail(it, serial, now)
        assert not it.probing
    assert 0.4 <= distances[0] <= 0.5
    assert distances[:5] == sorted(distances[:5])
    assert all(12 <= distance <= 15 for distance in distances[6:])


def test_requests_from_before_it_opened_change_nothing():
    it = opened()
    before = it.probe_at
    fail(it, 30, 0.1, following=40)
    assert it.probe_at == before
    assert it.answered(31) == (False, None)
    assert it.is_open


def test_the_first_answer_to_a_probe_closes_it_silently_when_it_was_short():
    it = opened()
    it.start(40)
    assert it.answered(40) == (True, None)
    assert not it.is_open
    assert it.outage_s == 0


def test_a_long_outage_is_told_once_and_its_end_too():
    it, now, lines = opened(), 0.0, []
    for serial in range(40, 50):
        now = it.probe_at
        it.start(serial)
        lines.append(fail(it, serial, now))
    told = [line for line in lines if line]
    assert len(told) == 1
    assert "503: unavailable" in told[0]
    assert "15 min" in told[0]
    it.start(50)
    closed, line = it.answered(50)
    assert closed
    assert line is not None
    assert duration(now) in line


@pytest.mark.parametrize("give_up_after_s", [1.0, 60.0, 900.0, 86_400.0])
def test_it_gives_up_after_the_time_set(give_up_after_s: float):
    it = circuit(give_up_after_s)
    it.open(0, 0.0)
    serial, now = 0, 0.0
    while not it.given_up:
        it.start(serial)
        fail(it, serial, now)
        assert it.probe_at > now
        serial, now = serial + 1, it.probe_at
    assert now == pytest.approx(give_up_after_s, rel=0.05, abs=0.2) or now < give_up_after_s + 30
    assert it.outage_s >= give_up_after_s


def test_a_suspended_machine_is_no_outage():
    it = circuit()
    for serial in range(40):
        fail(it, serial, 36_000.0, following=40)
    assert not it.given_up
    it.start(40)
    fail(it, 40, 72_000.0)
    assert not it.given_up
    assert it.outage_s <= 180


def test_idle_hours_between_a_problem_and_the_next_are_no_outage():
    it = circuit()
    fail(it, 0, 0.0)
    fail(it, 1, 7200.0)
    assert not it.given_up


def test_a_cancelled_probe_frees_its_place():
    it = opened()
    it.start(40)
    it.dropped(12)
    assert it.probing
    it.dropped(40)
    assert not it.probing
