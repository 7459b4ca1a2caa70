"""Cloud scores as inputs: frozen and pinned with the images that they mask, and missed or told of when they change."""

from __future__ import annotations

import json

import numpy as np
import pytest

import downloader
from downloader.errors import DriftError
from downloader.mosaic.verify.verify import verify
from tests.harness import cli, end, job, ledger_lines, running, wait_until, write_job

SURFACE, SCORES = "COPERNICUS/S2_SR_HARMONIZED", "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
FIRST, SECOND = ("20170401T184921_20170401T184921_T10SEG", "20170406T184921_20170406T184921_T10SEG")
NAME = f"projects/earthengine-public/assets/{SCORES}/"
LATER = "2031-05-06T07:08:09Z"


def values(emulator, path, **source):
    values = job(emulator, path, region={"bbox": [-122.19, 37.40, -122.18, 37.41]})
    values["source"] = {
        "collection": SURFACE, "start": "2017-04-01", "end": "2017-04-10", "filter": 'MGRS_TILE = "10SEG"',
        "mask": "clouds", "bands": ["B4"], "dtype": "float32", **source,
    }  # fmt: skip
    return values


def run(made, **options):
    return downloader.download(made, progress=False, **options)


def change(emulator, index=FIRST, to=None):
    emulator.control("configure", {"assets": {NAME + index: to and {"updateTime": to}}})


def asked(emulator):
    """Images that each computed request of more than a pixel loads."""
    records = emulator.control("requests?since=0")["requests"]
    return [
        [index for index in (FIRST, SECOND) if index in json.dumps(record["body"])]
        for record in records
        if record["method"] == "image.computePixels" and record["size"] != [1, 1]
    ]


def test_a_score_that_changed_is_refused_kept_or_fetched_again(emulator, tmp_path):
    path = tmp_path / "m"
    first = run(values(emulator, path)).open(chunks=None)["B4"].values
    marker = (path / ".downloader/mosaic.json").read_text()
    assert marker.count(f"{SCORES}/{FIRST}") == 2, "name and id, beside the image's"
    document = downloader.plan(values(emulator, path)).to_json()
    partners = [[one["name"] for one in part["partners"]] for part in document["slices"]]
    assert partners == [[NAME + FIRST], [NAME + SECOND]]
    change(emulator, to=LATER)
    with pytest.raises(DriftError, match=rf"image {SCORES}/{FIRST}.updateTime: 2020-.* → {LATER}"):
        run(values(emulator, path))
    kept = run(values(emulator, path, on_update="keep"))
    assert kept.requests == 0
    assert f"{SCORES}/{FIRST} changed since" in "".join(kept.notices)
    assert run(values(emulator, path)).requests == 0
    emulator.control("reset", {})
    before = len(asked(emulator))
    again = run(values(emulator, path, on_update="refetch"))
    assert [one for one in asked(emulator)[before:] if one] == [[FIRST]]
    np.testing.assert_array_equal(again.open(chunks=None)["B4"].values, first)
    assert verify(path).is_clean


def test_a_score_that_changes_while_it_is_used_is_told_at_the_end(emulator, tmp_path):
    made = values(emulator, tmp_path / "m", end="2017-05-01")
    made["limits"] = {"concurrency": 1}
    emulator.control("configure", {"latency_ms": 200})
    with running("run", write_job(tmp_path, made)) as process:
        wait_until(lambda: ledger_lines(tmp_path / "m") > 0, process)
        change(emulator, "20170426T184921_20170426T184921_T10SEG", LATER)
        ended = end(process)
    assert ended.status == 5, ended
    assert (
        f"{SCORES}/20170426T184921_20170426T184921_T10SEG changed while it was fetched"
        in ended.out + ended.err
    )


def test_a_score_that_arrives_late_joins_where_that_is_accepted(emulator, tmp_path):
    path = tmp_path / "m"
    change(emulator)
    with pytest.raises(downloader.JobError, match=rf"{FIRST} has no partner of the same index in {SCORES}"):
        run(values(emulator, path))
    asking = {"on_missing_band": "nodata"}
    before = run(values(emulator, path, **asking)).open(chunks=None)["B4"].values
    assert np.isnan(before[0]).all()
    assert not np.isnan(before[1]).all()
    emulator.control("reset", {})
    told = run(values(emulator, path, **asking))
    assert told.requests == 0
    assert f"{SCORES}/{FIRST}: appeared after" in "".join(told.notices)
    report = run(values(emulator, path, **asking), accept=["new-images"])
    assert report.requests == 1
    whole = run(values(emulator, tmp_path / "whole")).open(chunks=None)["B4"].values
    np.testing.assert_array_equal(report.open(chunks=None)["B4"].values, whole)
    assert run(values(emulator, path, **asking)).requests == 0
    assert verify(path).is_clean


def test_a_score_that_is_gone_leaves_what_is_stored(emulator, tmp_path):
    path = tmp_path / "m"
    run(values(emulator, path))
    change(emulator)
    assert run(values(emulator, path)).requests == 0
    assert cli("run", write_job(tmp_path, values(emulator, path))).status == 0


def test_images_named_one_by_one_and_of_two_collections_find_their_scores(emulator, tmp_path):
    ids = [f"{where}/{FIRST}" for where in (SURFACE, "COPERNICUS/S2_HARMONIZED")]
    made = values(emulator, tmp_path / "m")
    made["source"] = {"images": ids, "mask": "clouds", "bands": ["B4"], "dtype": "float32"}
    run(made)
    listings = [
        r for r in emulator.control("requests?since=0")["requests"] if r["method"].endswith("listImages")
    ]
    assert listings == []
    both = values(emulator, tmp_path / "both", collection=[SURFACE, "COPERNICUS/S2_HARMONIZED"])
    found = run(both).open(chunks=None)["B4"].values
    assert found.shape[0] == 4
    assert np.isfinite(found).any(axis=(1, 2)).all()
