"""Rows 75 to 82: texts and silences that the real service was seen to answer with, most of them to expressions."""

from __future__ import annotations

import json

import pytest

import downloader
from downloader.earthengine import pixels
from downloader.errors import Cause
from tests import harness
from tests.chaos.kit import Lab
from tests.oracle import PASSES, PUBLIC, oracle_window

ONE = ("B2",)
LARGE = {"above_pixels": 256 * 256}
"""Strikes requests of more than one tile."""

B2 = {
    "result": "0",
    "values": {
        "0": {
            "functionInvocationValue": {
                "functionName": "Image.select",
                "arguments": {
                    "input": {
                        "functionInvocationValue": {
                            "functionName": "Image.load",
                            "arguments": {"id": {"constantValue": harness.ASSET}},
                        }
                    },
                    "bandSelectors": {"constantValue": ["B2"]},
                },
            }
        }
    },
}
"""An image's band, as an expression."""


SIDE = 3600
"""Pixels; just enough for shards of 2 × 2 tiles."""


def wide(lab: Lab, concurrency: int = 4) -> None:
    """A job whose requests are rectangles of 2 × 2 tiles."""
    limits = {"concurrency": concurrency}
    lab.job(SIDE, ONE, request={"tiles": 4}, limits=limits, mosaic={"durability": "scratch"})


@pytest.mark.slow
def test_row_75_too_many_aggregations(lab):
    """Everybody slows down; the request that meets it for the third time is split."""
    wide(lab, 2)  # so few that one of them meets it three times before ten in a row look like an outage
    lab.faults({"fault": "aggregations-429", "above_pixels": 2 * 256 * 256})
    run = lab.run()
    lab.right(side=SIDE, bands=ONE)
    assert run.retries["aggregations"] > 0
    assert run.report["splits"] > 0


@pytest.mark.parametrize("status", [503, 400])
def test_row_76_memory_capacity(lab, status):
    """The service as a whole is short of memory: once more, then the halves."""
    wide(lab)
    lab.faults({"fault": "memory-capacity-503", "status": status, **LARGE})
    run = lab.run()
    lab.right(side=SIDE, bands=ONE)
    assert run.report["splits"] > 0
    assert run.retries["memory capacity"] > 0


def test_row_76_memory_capacity_once(lab):
    wide(lab)
    lab.faults({"fault": "memory-capacity-503", "times": 1, "skip": 1, **LARGE})
    run = lab.run()
    lab.right(side=SIDE, bands=ONE)
    assert (run.report["splits"], run.retries["memory capacity"]) == (0, 1)


@pytest.mark.parametrize(
    "fault", ["output-too-large-400", "reprojection-too-large-400", "reproject-exceeds-400"]
)
def test_row_77_computed_values_are_too_many(lab, fault):
    """Split at once, and learned."""
    wide(lab)
    lab.faults({"fault": fault, **LARGE})
    run = lab.run()
    lab.right(side=SIDE, bands=ONE)
    assert run.report["splits"] > 0
    assert run.retries.total() == 0
    assert lab.fault_counts()[fault] <= 2 * 4, "those of the pool, at each size, and no more"


def test_row_77_too_many_even_for_one_tile(lab):
    lab.faults({"fault": "output-too-large-400", "covers": [400, 400]})
    run = lab.run(status=3)
    assert run.causes() == {"output size"}
    lab.heal()


@pytest.mark.parametrize(
    ("fault", "cause"), [("no-bands-400", "empty collection"), ("load-not-found-400", "asset not found")]
)
def test_row_78_one_image_is_not_there_or_empty(lab, fault, cause):
    """Of a series: recorded with its cause; the others go on, and a rerun asks for it alone."""
    gone = next(iter(PASSES))
    asset = f"{PUBLIC}EMULATOR/PASSES/{gone}"
    region = {"bbox": [560000, 4176000, 568000, 4180000], "crs": "EPSG:32610"}
    values = harness.job(
        lab.emulator,
        lab.mosaic,
        source={
            "collection": "EMULATOR/PASSES",
            "start": "2020-01-01",
            "end": "2020-03-01",
            "bands": ["red"],
            "on_missing_band": "nodata",
        },
        region=region,
        mosaic={"nodata": {"red": 65535}},
    )
    lab.faults({"fault": fault, "asset": asset})
    with pytest.raises(downloader.IncompleteError) as caught:
        downloader.download(values, progress=False)
    failed = caught.value.report.failed
    assert {(tile.image, str(tile.cause)) for tile in failed} == {(f"EMULATOR/PASSES/{gone}", cause)}
    before = len(harness.getpixels(lab.emulator))
    lab.faults()
    assert downloader.download(values, progress=False).state == "complete"
    assert {r["resource"] for r in harness.getpixels(lab.emulator)[before:]} == {asset}


@pytest.mark.parametrize(
    ("fault", "says"),
    [("no-bands-400", "take a longer period, a larger region"), ("load-not-found-400", "not found")],
)
def test_row_79_an_expression_of_nothing(lab, fault, says):
    """The one image of a job: the end before anything is made, with the service's words."""
    lab.faults({"fault": fault})
    run = lab.run(status=2)
    assert says in run.said
    assert not lab.mosaic.exists()


@pytest.mark.parametrize("fault", ["no-bands-400", "load-not-found-400"])
def test_row_79_the_one_image_is_lost_in_mid_job(lab, fault):
    """As where the service answers 404: the job cannot go on as it is, and what came is saved."""
    lab.job(limits={"concurrency": 2})  # when the sixth is sent, four answers have come
    lab.faults({"fault": fault, "skip": 5}, latency_ms=50)
    run = lab.run(status=2)
    assert 0 < lab.stored_tiles_are_right() == run.report["tiles_stored"]
    lab.heal()


@pytest.fixture
def impatient(monkeypatch):
    """Computed pixels may take half a second in place of five minutes."""
    monkeypatch.setattr(pixels, "COMPUTE_S", 0.5)


def computed(lab):
    left, top = 499_980 + 10 * 300, 4_200_000 - 10 * 300
    return harness.job(
        lab.emulator,
        lab.mosaic,
        source={"expression": json.dumps(B2)},
        region={"bbox": [left, top - 10 * SIDE, left + 10 * SIDE, top], "crs": "EPSG:32610"},
        request={"tiles": 4},
        limits={"concurrency": 4},
        mosaic={"durability": "scratch"},
    )


def test_row_80_silence_twice_for_a_computed_request(lab, impatient):
    """No first byte twice in a row: what cannot be computed in time comes no sooner the third time, half of it may."""
    lab.faults({"fault": "hang", **LARGE})
    report = downloader.download(computed(lab), progress=False)
    assert report.state == "complete"
    assert report.splits > 0
    again = report.retries[Cause.NO_FIRST_BYTE]
    assert 0 < again < lab.fault_counts()["hang"] <= 2 * again, "no request is silent a third time"
    found = harness.band_arrays(lab.mosaic)["B2"][:]
    harness.same_bits(found, oracle_window(harness.QUICKSTART, "B2", 300, 300, SIDE, SIDE), "B2")


def test_row_80_silence_once_is_repeated(lab, impatient):
    lab.faults({"fault": "hang", "times": 1, **LARGE})
    report = downloader.download(computed(lab), progress=False)
    assert (report.state, report.splits, dict(report.retries)) == ("complete", 0, {"no first byte": 1})


@pytest.mark.parametrize(
    "faults",
    [
        [
            {"fault": "reset-before-headers", "probability": 0.3},
            {"fault": "unauthenticated-401", "every": 25},
        ],
        [{"fault": "reset-before-headers", "on": "asset", "times": 2}, {"fault": "close-after", "every": 2}],
        [{"fault": "internal-500", "above_pixels": 1, "skip": 4, "times": 14}],
    ],
    ids=["resets and 401s", "of documents", "an outage"],
)
def test_row_82_the_report_counts_what_the_server_counted(lab, faults):
    lab.job(1500)
    lab.faults(*faults, seed=4)
    run = lab.run()
    lab.right(side=1500)
    requests = dict(lab.emulator.control("state")["requests"])
    assert run.report["token_calls"] == requests.pop("token") > 0
    assert run.report["requests"] + run.report["metadata_calls"] == sum(requests.values())
    assert run.report["metadata_calls"] > requests["assets.get"], "the first pixel is one of them"
    assert sum(lab.fault_counts().values()) > 0
