"""Rows 90 and 92 to 98 of tests/contract/acceptance.md, with the downloader: its real process against a real emulator."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.harness import cli, compare, getpixels, job, window, write_job


class Bench:
    """A small job: 3 × 3 tiles, clipped at the edges, of two bands, a request for each tile."""

    def __init__(self, emulator, folder):
        self.emulator = emulator
        self.folder = folder
        emulator.control("reset", {})

    def run(self, *faults, status=0, tiles=1, limits=None, **switches):
        values = job(
            self.emulator,
            self.folder / "mosaic.zarr",
            source={"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B2", "B3"]},
            region=window(256, 512, 600, 700),
            request={"tiles": tiles},
            limits=limits or {},
        )
        self.emulator.control("configure", {"faults": list(faults), **switches})
        ended = cli("run", write_job(self.folder, values), "--report", self.folder / "report.json")
        assert ended.status == status, ended
        self.report = json.loads((self.folder / "report.json").read_text())
        if status == 0:
            assert compare(self.folder / "mosaic.zarr", column=256, row=512) == 2 * 600 * 700
        return ended

    @property
    def statuses(self):
        return [record["status"] for record in getpixels(self.emulator)]

    @property
    def state(self):
        return self.emulator.control("state")


@pytest.fixture
def bench(emulator_process, tmp_path):
    made = Bench(emulator_process, tmp_path)
    yield made
    emulator_process.reset()


def test_row_090_a_daily_cap_stops_the_job(bench):
    ended = bench.run({"fault": "daily-429", "skip": 4}, status=4)
    assert "midnight Pacific time" in ended.out
    assert 200 in bench.statuses


def test_row_092_tries_again_and_finishes(bench):
    bench.run({"fault": "html-503", "times": 4, "skip": 1})
    assert bench.state["faults"] == {"html-503": 4}
    assert sorted(bench.statuses) == [200] * 9 + [503] * 4


def test_row_093_splits_on_memory(bench):
    """Every tile of two bands is too much; the canary's one pixel is not."""
    bench.run({"fault": "memory-400", "above_pixels": 1000, "above_bands": 1})
    assert 400 in bench.statuses
    assert {len(r["bands"]) for r in getpixels(bench.emulator) if r["status"] == 200} == {1}


def test_row_094_timed_out_once(bench):
    bench.run({"fault": "timeout-400", "times": 1, "skip": 1}, tiles="auto")
    assert bench.state["faults"] == {"timeout-400": 1}


@pytest.mark.parametrize("fault", ["short-body", "reset-in-body"])
def test_row_095_a_cut_body_is_noticed(bench, fault):
    bench.run({"fault": fault, "times": 3, "skip": 2})
    assert bench.state["faults"] == {fault: 3}
    assert sum(1 for r in getpixels(bench.emulator) if r["complete"]) == 9


def test_row_096_a_page_for_pixels_fails_its_tile(bench):
    """The page comes for ever for the requests that hold one native pixel, and now and then for others."""
    never = {"fault": "html-200", "covers": [600, 800]}
    now_and_then = {"fault": "html-200", "times": 2, "skip": 3}
    bench.run(never, now_and_then, status=3, limits={"retries": 2})
    assert len(bench.report["failed"]) == 1


def test_row_097_retry_after_is_kept(bench):
    """No request starts within seven seconds of the refusal, of whichever tile."""
    bench.run({"fault": "concurrency-429", "times": 1, "skip": 3, "retry_after": 7})
    records = getpixels(bench.emulator)
    (refused,) = [r for r in records if r["status"] == 429]
    later = [r["at_s"] - refused["at_s"] for r in records if r["at_s"] > refused["at_s"] + 0.5]
    assert later
    assert min(later) >= 6.9
    starts = sorted(r["at_s"] for r in records)
    assert max(b - a for a, b in itertools.pairwise(starts)) < 60


def test_row_098_one_refresh_for_all(bench):
    bench.run({"fault": "expire-tokens", "times": 1, "skip": 4}, latency_ms=50)
    assert 401 in bench.statuses
    assert bench.state["requests"]["token"] == 2
