"""docs/scale.md: its closed figures are the planner's, its simulated ones come again, and large plans cost nothing."""

from __future__ import annotations

import re
import tracemalloc
from itertools import islice

import pytest

from scripts.scaling import tables
from scripts.scaling.books import books_of
from scripts.scaling.stretch import NEAR, SLOW, Service, stretch
from scripts.scaling.undertakings import UNDERTAKINGS, plan_of
from tests.harness import ROOT

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
DECADE = UNDERTAKINGS[-1]
MINUTES = 0.5


def shown(name: str) -> str:
    """A table of the page."""
    return re.search(rf"<!-- table: {name} -->\n\n(.*?\n)\n", PAGE, re.DOTALL)[1]


def cells(name: str, row: str) -> list[str]:
    (line,) = (line for line in shown(name).splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_closed_figures_are_the_planners():
    assert shown("amounts") == tables.amounts()
    assert shown("books") == tables.bookkeeping()


@pytest.mark.parametrize(("service", "column"), [(NEAR, 0), (SLOW, 2)], ids=["near", "slow"])
def test_simulated_rates_come_again(service, column):
    """A shorter stretch gives the same within a twelfth; the quota is kept without a single refusal."""
    plan = plan_of(DECADE)
    pace = stretch(plan, service, MINUTES)
    told = float(cells("times", DECADE.name)[column].removesuffix(" MB/s"))
    assert pace.mb_per_s == pytest.approx(told, rel=1 / 12)
    assert pace.refused == 0
    least_s = service.base_s + service.per_mb_s * tables.request_bytes(plan) / 1e6
    assert pace.requests_per_s < 40 / least_s
    assert pace.shards


def test_times_follow_from_rates_and_amounts():
    for undertaking in UNDERTAKINGS:
        wire = plan_of(undertaking).estimate().wire_bytes
        row = cells("times", undertaking.name)
        for rate, time in (row[:2], row[2:4]):
            least, most = (
                wire / 1e6 / (float(rate.removesuffix(" MB/s")) + change) for change in (0.5, -0.5)
            )
            units = {"s": 1, "min": 60, "h": 3600, "days": 86400}
            number, unit = time.split()
            digit = 0.05 if "." in number else 0.5
            assert (float(number) + digit) * units[unit] >= least
            assert (float(number) - digit) * units[unit] <= most


def test_a_stretch_is_the_same_each_time():
    plan = plan_of(UNDERTAKINGS[2])
    first, again = (stretch(plan, SLOW, 0.1, seed=3) for _ in range(2))
    assert (first.requests, first.nbytes, first.shards) == (again.requests, again.nbytes, again.shards)
    assert {key.group for key in first.shards} == {"10m", "20m"}


def test_a_smaller_quota_is_slower_in_proportion():
    plan = plan_of(UNDERTAKINGS[1])
    whole = stretch(plan, NEAR, MINUTES).mb_per_s
    part = stretch(plan, Service("a quarter", NEAR.base_s, NEAR.per_mb_s, quota=10), MINUTES).mb_per_s
    assert part == pytest.approx(whole / 4, rel=0.15)


def test_billions_of_tiles_are_iterated_and_never_listed():
    tracemalloc.start()
    try:
        plan = plan_of(DECADE)
        estimate, books = plan.estimate(), books_of(plan)
        walked = sum(1 for _ in islice(plan.shards(), 2_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert estimate.tiles > 3e9
    assert books.state_bytes > 2**30, "which is why the page says to cut it"
    assert walked == 2_000
    assert peak < 2**20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.014, "0.01 s"),
        (3.57, "3.6 s"),
        (119, "119 s"),
        (121, "2.0 min"),
        (7300, "2.0 h"),
        (2e7, "231 days"),
    ],
)
def test_durations_read_well(seconds, text):
    assert tables.duration(seconds) == text


def test_what_goes_up_with_a_request():
    """The page says some 440 bytes an image of a slice."""
    from downloader.job import Job
    from downloader.model.image import Image
    from downloader.planning.recipes import steps_of

    bands = plan_of(UNDERTAKINGS[0]).groups[0].bands
    ids = [f"COPERNICUS/S2_SR_HARMONIZED/20170430T190351_20170430T190351_T10S{n:02d}" for n in range(50)]
    source = {"images": ids, "bands": ["B2"], "every": "all", "reduce": "median"}
    job = Job.from_dict({"source": source, "region": {"bbox": [0, 0, 1, 1]}, "mosaic": {"path": "m"}})
    images = [Image("name", id_, bands, "2020-01-01T00:00:00Z") for id_ in ids]
    text = steps_of(job, images).expression(images)
    assert len(text) / 50 == pytest.approx(440, rel=0.05)
