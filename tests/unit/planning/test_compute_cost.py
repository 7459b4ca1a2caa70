"""What computing may cost: a range by pixels, bands and images; nothing for what is read as it is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downloader.model.grid import Window
from downloader.planning.compute_cost import compute_cost, cost_of, most_seconds, seconds_of
from downloader.report.cost_text import cost_document, cost_lines
from tests.mosaics import day, one_group, series

WHOLE = Window(0, 0, 1024, 512)
"""Two squares of 512²."""


def test_stored_pixels_cost_nothing_that_is_known() -> None:
    plan = one_group(window=WHOLE)
    cost = compute_cost(plan)
    assert (cost.requests, cost.low_h, cost.high_h) == (0, 0, 0)
    assert cost_lines(cost, 8) == [
        "compute   nothing: reading stored pixels (getPixels) is not known to be charged"
    ]
    request = next(plan.groups[0].requests(next(plan.shards())))
    assert seconds_of(plan, request) == 0


def test_computed_slices_cost_by_pixels_bands_and_images() -> None:
    """Slice 0 is read, 1 is computed of one image, 2 of ten; two bands, two squares: (1 + 10) × 2 × 2 × 0.25 EECU-s."""
    plan = series([day(3), day(6), day(9)], window=WHOLE)
    read, one, ten = plan.slices
    ten_images = tuple((f"I{k}", "") for k in range(10))
    plan = replace(
        plan,
        slices=(read, replace(one, expression="{}"), replace(ten, expression="{}", images=ten_images)),
    )
    cost = compute_cost(plan)
    seconds = 11 * 2 * 2 * 0.25
    assert (cost.low_h, cost.high_h) == pytest.approx((seconds / 4 / 3600, seconds * 4 / 3600))
    assert cost.requests == plan.groups[0].count_requests() * 2 // 3
    total = sum(
        seconds_of(plan, request) for key in plan.shards() for request in plan.groups[0].requests(key)
    )
    assert total == pytest.approx(seconds)
    assert most_seconds(total) / 3600 == pytest.approx(cost.high_h)


def test_a_part_of_the_bands_costs_a_part() -> None:
    plan = series([day(3)], window=WHOLE)
    plan = replace(plan, slices=(replace(plan.slices[0], expression="{}"),))
    request = next(plan.groups[0].requests(next(plan.shards())))
    assert seconds_of(plan, replace(request, bands=(0,))) == pytest.approx(seconds_of(plan, request) / 2)


def test_the_range_is_told_with_its_source_and_its_share_of_each_tier() -> None:
    cost = cost_of(4_000, 3600 * 60)
    lines = cost_lines(cost, 5_000)
    assert lines == [
        "compute   4,000 requests, 15 to 240 EECU-hours (an estimate)",
        "          0.25 EECU-s for 512² pixels of a band of an image, as seen in public, within a factor of 4;",
        "          of a month: 10 % to 160 % of Community; 1.5 % to 24 % of Contributor; 0.015 % to 0.24 % of Partner",
        "read      1,000 requests for stored pixels, not known to be charged",
    ]
    document = cost_document(cost)
    assert document["eecu_hours"] == [15, 240]
    assert document["share_of_month"]["Contributor"] == [0.015, 0.24]
