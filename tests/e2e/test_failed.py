"""Tiles that could not be had: told in the report, in `coverage` and in the ledger; a rerun tries only those."""

from __future__ import annotations

import json

import pytest
import zarr

from tests.harness import asked, cli, compare, getpixels, job, key_of, snapshot, window, write_job
from tests.oracle import QUICKSTART

FAULTY = {"fault": "internal-500", "on": "pixels", "covers": [300, 300], "above_pixels": 1, "band": "B3"}
"""One tile of one band, for ever."""


@pytest.fixture
def failed(emulator, tmp_path):
    """A mosaic of 3×3 tiles of which the one in the middle failed."""
    values = job(emulator, tmp_path / "m", region=window(0, 0, 768, 768))
    values["source"]["bands"] = ["B2", "B3"]
    values["request"] = {"tiles": 1}
    values["limits"] = {"retries": 1}
    job_file = write_job(tmp_path, values)
    emulator.control("configure", {"faults": [FAULTY]})
    ended = cli("run", job_file, "--report", tmp_path / "report.json")
    assert ended.status == 3, ended
    emulator.control("reset", {})
    return job_file


def test_a_failed_tile_is_told_everywhere(failed, tmp_path) -> None:
    mosaic = tmp_path / "m"
    (told,) = json.loads((tmp_path / "report.json").read_text())["failed"]
    assert (told["row"], told["column"], told["bands"]) == (1, 1, ["B2", "B3"])
    assert told["cause"]
    assert told["message"]
    coverage = zarr.open_array(mosaic / "coverage/tiles", mode="r")
    meanings = coverage.attrs["flag_meanings"].split()
    values = list(coverage.attrs["flag_values"])
    assert coverage[1, 1] == values[meanings.index("failed")]
    assert (coverage[:] == values[meanings.index("stored")]).sum() == 8
    lines = [
        json.loads(x) for f in (mosaic / ".downloader/ledger").iterdir() for x in f.read_bytes().splitlines()
    ]
    (line,) = [x for x in lines if x.get("failed")]
    assert line["failed"][0]["cause"] == told["cause"]
    status = cli("status", mosaic, "--json").document
    assert status["failures"][0]["cause"] == told["cause"]
    looked = cli("verify", mosaic, "--json")
    assert looked.status == 3
    assert looked.document["intact"]
    assert [looked.document["failures"][0][name] for name in ("slice", "row", "column")] == [0, 1, 1]
    assert looked.document["failures"][0]["cause"] == told["cause"]
    assert "failed: tile / 0/1/1 (B2, B3)" in cli("verify", mosaic).out


def test_a_rerun_tries_only_those(failed, emulator, tmp_path) -> None:
    emulator.control("configure", {"faults": [FAULTY]})
    again = cli("run", failed)
    assert again.status == 3, again
    assert {tuple(record["window"]) for record in getpixels(emulator)} == {(256, 256, 256, 256)}
    allowed = cli("run", failed, "--allow-failed")
    assert allowed.status == 0, allowed
    assert "1 failed" in allowed.out
    emulator.control("reset", {})
    assert cli("run", failed).status == 0
    assert asked(emulator) == {(QUICKSTART, "B2", 1, 1): 1, (QUICKSTART, "B3", 1, 1): 1}
    compare(tmp_path / "m")
    assert cli("verify", tmp_path / "m").status == 0


def test_repair_fetches_what_is_damaged_and_leaves_what_failed(failed, emulator, tmp_path) -> None:
    mosaic = tmp_path / "m"
    (mosaic / "B2/c/0/2").write_bytes(b"")
    repaired = cli("verify", mosaic, *key_of(emulator), "--repair", "--json")
    assert repaired.status == 3, repaired
    assert asked(emulator) == {(QUICKSTART, "B2", 0, 2): 1}
    after = repaired.document["repair"]["after"]
    assert after["intact"]
    assert after["groups"][""] == {"tiles": 9, "stored": 8, "failed": 1, "missing": 0}
    assert [after["failures"][0][name] for name in ("slice", "row", "column")] == [0, 1, 1]


def test_the_cause_of_a_failure_is_all_that_is_lost_with_the_folder(failed, emulator, tmp_path) -> None:
    import shutil

    shutil.rmtree(tmp_path / "m/.downloader")
    looked = cli("verify", tmp_path / "m", "--json").document
    assert looked["groups"][""] == {"tiles": 9, "stored": 8, "failed": 0, "missing": 1}
    assert cli("run", failed).status == 0
    assert set(asked(emulator)) == {(QUICKSTART, "B2", 1, 1), (QUICKSTART, "B3", 1, 1)}
    compare(tmp_path / "m")


def test_overwrite_knows_its_own_by_the_attributes_and_spares_what_is_not(failed, emulator, tmp_path) -> None:
    import shutil

    mosaic = tmp_path / "m"
    shutil.rmtree(mosaic / ".downloader")
    (mosaic / "notes.txt").write_text("mine")
    (mosaic / "mine").mkdir()
    (mosaic / "mine/zarr.json").write_text("{}")
    values = json.loads(failed.read_text())
    values["region"] = window(512, 512, 300, 300)
    other = write_job(tmp_path, values, "other.yaml")
    assert cli("run", other).status == 5
    ended = cli("run", other, "--overwrite", "--yes")
    assert ended.status == 0, ended
    assert (mosaic / "notes.txt").read_text() == "mine"
    assert (mosaic / "mine/zarr.json").read_text() == "{}"
    assert zarr.open_array(mosaic / "B2", mode="r").shape == (300, 300)


@pytest.mark.parametrize("kind", ["files", "zarr"])
def test_overwrite_deletes_nothing_that_is_not_ours(emulator, tmp_path, kind) -> None:
    mosaic = tmp_path / "m"
    if kind == "files":
        mosaic.mkdir()
        (mosaic / "notes.txt").write_text("mine")
    else:
        zarr.create_array(mosaic / "B2", shape=(4,), dtype="u1")
        zarr.open_group(mosaic, mode="a").attrs["downloader"] = '{"kind": "some other downloader"}'
    before = snapshot(mosaic)
    ended = cli("run", write_job(tmp_path, job(emulator, mosaic)), "--overwrite", "--yes")
    assert ended.status == 5, ended
    assert snapshot(mosaic) == before
