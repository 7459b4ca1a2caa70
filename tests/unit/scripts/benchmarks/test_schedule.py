"""The benchmark's floor: a list schedule against a step-by-step simulation, and the rectangles it considers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.benchmarks.schedule import LIMIT_BYTES, Service, best_schedule, list_schedule, pieces, shapes

services = st.builds(
    Service,
    base_s=st.floats(0, 2),
    per_mb_s=st.floats(0, 2),
    concurrency=st.integers(1, 20),
    starts_per_s=st.floats(1, 200),
)


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=60), services)
def test_no_slot_runs_two_requests_and_no_second_starts_too_many(
    durations: list[float], service: Service
) -> None:
    end = list_schedule(durations, service)
    assert end >= max(durations) - 1e-9
    assert end >= sum(durations) / service.concurrency - 1e-9
    assert end >= (len(durations) - 1) / service.starts_per_s
    # Graham: no list schedule is more than a longest request above the slots' share, pacing apart.
    paced = len(durations) / service.starts_per_s
    assert end <= sum(durations) / service.concurrency + max(durations) + paced + 1e-9


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 9), st.integers(1, 9), st.integers(1, 16))
def test_pieces_cover_the_window_once(
    width: int, height: int, rows: int, columns: int, itemsize: int
) -> None:
    assert sum(pieces(width, height, rows, columns, itemsize)) == width * height * itemsize


def test_rectangles_stay_under_the_services_limit_and_reach_it() -> None:
    found = list(shapes(10980, 10980, 4, 8))
    assert (8, 8) in found  # 2048² × 4 × (2 + 1) bytes are the limit exactly
    assert (8, 9) not in found
    assert all(r * c * 256 * 256 * 12 <= LIMIT_BYTES for r, c in found)


def test_the_designs_service_and_scene() -> None:
    seconds, shape = best_schedule(10980, 10980, 4, 8, Service(0.25, 0.4))
    assert seconds == pytest.approx(10.656, abs=0.001)
    assert shape == (6, 8)


@given(st.integers(256, 4000), services)
def test_the_best_is_no_worse_than_any_rectangle(side: int, service: Service) -> None:
    best, _ = best_schedule(side, side, 1, 2, service)
    for rows, columns in ((1, 1), (2, 2), (4, 4)):
        answers = [service.request_s(n) for n in pieces(side, side, rows, columns, 2)]
        assert best <= list_schedule(answers, service) + 1e-9
