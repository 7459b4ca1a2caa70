"""The report: text for 80 columns, a JSON document, and what it says to do next."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import pytest

from downloader.report.how_to_open import opening_line
from downloader.report.report import Report
from downloader.report.run_result import FailedTile

REPORT = Report(
    mosaic="out/quickstart.zarr",
    state="complete",
    message="",
    groups=("",),
    tiles=64,
    tiles_before=10,
    tiles_stored=64,
    tiles_failed=0,
    requests=54,
    metadata_calls=3,
    token_calls=1,
    splits=0,
    retries={},
    wire_bytes=28_311_552,
    disk_bytes=20_000_000,
    seconds=2.5,
    peak_memory_bytes=200 * 2**20,
    credentials="service account me@project",
    service="emulator",
)
FAILED = tuple(FailedTile("10m", 0, row, 7, ("B2",), "500", "Internal error.") for row in range(12))


def test_a_complete_run_in_words() -> None:
    assert str(REPORT).splitlines() == [
        "complete: 64 of 64 tiles in out/quickstart.zarr",
        "this run: 54 requests, 28.3 MB in 2.5 s (11.3 MB/s, 21.6 requests/s)",
        "20.0 MB on disk, peak memory 200 MiB",
        """open it: xarray.open_dataset('out/quickstart.zarr', engine="zarr", decode_coords="all", mask_and_scale=False)""",
    ]


def test_an_incomplete_run_in_words() -> None:
    report = replace(
        REPORT,
        state="incomplete",
        message="12 of 64 tiles failed; run the job again to try just those",
        tiles_stored=50,
        tiles_failed=12,
        retries={"reset": 2, "429 concurrency": 1234, "503": 2},
        splits=3,
        failed=FAILED,
    )
    lines = str(report).splitlines()
    assert lines[0] == "incomplete: 50 of 64 tiles, 12 failed, 2 missing in out/quickstart.zarr"
    assert lines[1] == "12 of 64 tiles failed; run the job again to try just those"
    assert lines[4:6] == ["retries: 1,234 × 429 concurrency, 2 × 503, 2 × reset", "splits: 3"]
    assert lines[6] == "failed: 10m 0/0/7: Internal error."
    assert lines[11] == "… and 7 more failed tiles (--report FILE.json lists them all)"
    assert len(lines) == 12, "an incomplete mosaic is not offered for opening as if it were whole"


def test_ordinary_reports_fit_80_columns() -> None:
    report = replace(
        REPORT,
        tiles=115_600,
        tiles_stored=115_600,
        requests=28_900,
        wire_bytes=964_483_200_000,
        disk_bytes=700_000_000_000,
        seconds=86_400.0,
    )
    assert all(len(line) <= 80 for line in str(report).splitlines()[:3])


def test_a_run_that_did_nothing_divides_by_nothing() -> None:
    report = replace(REPORT, seconds=0.0, requests=0, wire_bytes=0)
    assert "this run: no requests\n" in str(report)


def test_several_groups_are_opened_as_a_tree() -> None:
    assert opening_line(replace(REPORT, groups=("10m", "20m"))).startswith(
        "xarray.open_datatree('out/quickstart.zarr', "
    )


def test_a_notebook_shows_one_short_line() -> None:
    assert repr(REPORT) == "<Report of out/quickstart.zarr: complete, 64 of 64 tiles>"


@pytest.mark.parametrize("kind", [dict, Counter, MappingProxyType])
def test_json_holds_everything_whatever_the_mapping(kind: type) -> None:
    report = replace(REPORT, retries=kind({"reset": 2}), failed=FAILED, notices=("paused",))
    document = json.loads(json.dumps(report.to_json()))
    assert document["retries"] == {"reset": 2}
    assert len(document["failed"]) == 12
    assert document["failed"][3] == {
        "group": "10m", "slice": 0, "row": 3, "column": 7, "bands": ["B2"], "cause": "500", "message": "Internal error.", "image": "",
    }  # fmt: skip
    assert document["tiles_missing"] == 0
    assert document["notices"] == ["paused"]
    assert set(Report.__dataclass_fields__) <= set(document)
