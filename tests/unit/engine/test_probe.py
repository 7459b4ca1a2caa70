"""Drawing tiles and fitting a line: the arithmetic of `plan --probe`."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.engine.probe import draw, fitted
from downloader.model.grid import Window
from tests.fakes import make_plan_of

times = st.floats(0, 100, allow_nan=False)


@given(base=times, slope=times, sizes=st.lists(st.floats(0.1, 40), min_size=2, max_size=20))
def test_a_line_is_found_again(base, slope, sizes):
    default = (0.25, 0.4)
    points = [(size, base + slope * size) for size in sizes]
    found = fitted(points, default)
    assert min(found) >= 0
    mean = sum(sizes) / len(sizes)
    assert found[0] + found[1] * mean == pytest.approx(base + slope * mean, rel=1e-6, abs=1e-6)
    if max(sizes) > 2 * min(sizes) and len(set(sizes)) == len(sizes) == 2:
        assert found == pytest.approx((base, slope), rel=1e-4, abs=1e-4)


@given(st.lists(st.tuples(st.floats(0.1, 40), times), min_size=1, max_size=20))
def test_times_are_never_negative(points):
    assert min(fitted(points, (0.25, 0.4))) >= 0


def test_of_one_size_the_assumed_proportions_stay():
    assert fitted([(1.0, 1.3), (1.0, 1.3)], (0.25, 0.4)) == pytest.approx((0.5, 0.8))
    assert fitted([], (0.25, 0.4)) == (0.25, 0.4)


def places(drawn):
    return [(request.block.row, request.block.column) for _, request in drawn]


def test_a_draw_is_that_of_its_seed_and_takes_no_tile_twice():
    plan = make_plan_of((6, 6))
    first, again, other = (draw(plan, 12, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(places(first))) == 12
    assert all(request.tiles == 1 and request.bands == (0, 1) for _, request in first)


def test_every_tile_can_be_drawn_about_as_often():
    plan = make_plan_of((3, 3))
    counts = Counter(place for seed in range(300) for place in places(draw(plan, 1, random.Random(seed))))
    assert len(counts) == 9
    assert min(counts.values()) > 10


def test_no_more_than_there_is_and_nothing_that_is_not_wanted():
    plan = make_plan_of((4, 4))
    assert len(draw(plan, 1000, random.Random(1))) == 16
    group = replace(plan.groups[0], extents=((Window(4, 4, 4, 4),),))
    few = replace(plan, groups=(group,))
    assert places(draw(few, 10, random.Random(1))) == [(1, 1)]


def test_the_only_tile_of_very_many_is_found():
    plan = make_plan_of((200, 200))
    group = replace(plan.groups[0], extents=((Window(4 * 77, 4 * 133, 4, 4),),))
    assert places(draw(replace(plan, groups=(group,)), 3, random.Random(5))) == [(133, 77)]


def test_whole_takes_the_runs_own_requests():
    plan = make_plan_of((4, 4), shape=(2, 2))
    ((_, request),) = draw(plan, 1, random.Random(1), whole=True)
    assert request.tiles == 4
    assert request in set(plan.groups[0].requests(request.shard))
