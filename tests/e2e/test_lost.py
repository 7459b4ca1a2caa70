"""A mosaic that lost what is not pixels: its own folder, its ledger, its metadata. All of it can be told anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from tests.harness import SMALL, asked, cli, getpixels, job, key_of, running, snapshot, window, write_job
from tests.harness import wait_until as wait

OWN = ".downloader"


def remake(mosaic: Path, emulator, *more: str):
    """Run the mosaic's job again from a job file elsewhere."""
    values = job(emulator, mosaic, source={"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B2", "B3"]}, region=window(*SMALL))  # fmt: skip
    return cli("run", write_job(mosaic.parent, values), *more)


def whole_folder(mosaic: Path) -> None:
    shutil.rmtree(mosaic / OWN)


def marker(mosaic: Path) -> None:
    (mosaic / OWN / "mosaic.json").unlink()


def empty_marker(mosaic: Path) -> None:
    (mosaic / OWN / "mosaic.json").write_bytes(b"")


def garbage_marker(mosaic: Path) -> None:
    (mosaic / OWN / "mosaic.json").write_bytes(b"\x00\xff{garbage")


def ledger(mosaic: Path) -> None:
    shutil.rmtree(mosaic / OWN / "ledger")


def empty_ledger(mosaic: Path) -> None:
    for file in (mosaic / OWN / "ledger").iterdir():
        file.write_bytes(b"")


def garbage_in_ledger(mosaic: Path) -> None:
    for file in (mosaic / OWN / "ledger").iterdir():
        lines = file.read_bytes().splitlines(keepends=True)
        lines[1:4] = [b'{"group": 7}\n', b"\xff\xfe\x00\n", b"[]\n", b"17\n", lines[2][:40] + b"\n"]
        file.write_bytes(b"".join(lines) + b'{"torn')


def job_file(mosaic: Path) -> None:
    (mosaic / OWN / "job.yaml").unlink()


@pytest.mark.parametrize(
    ("profile", "loss"),
    [
        *(("sharded", loss) for loss in (
            whole_folder, marker, empty_marker, garbage_marker, ledger, empty_ledger, garbage_in_ledger, job_file,
        )),
        *(("plain", loss) for loss in (whole_folder, garbage_in_ledger)),
    ],
)  # fmt: skip
def test_a_run_continues_a_mosaic_that_lost_its_own_files(make, emulator, tmp_path, profile, loss) -> None:
    made = make(profile)
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    (mosaic / "B3/c/1/1").unlink()
    pixels = snapshot(mosaic / "B2")
    loss(mosaic)
    ended = remake(mosaic, emulator, "--set", f"mosaic.profile={profile}")
    assert ended.status == 0, ended
    assert {key[1:] for key in asked(emulator, made.origin)} == {("B3", 1, 1)}
    assert snapshot(mosaic / "B2") == pixels
    made.check(mosaic)
    again = cli("verify", mosaic)
    assert again.status == 0, again


def test_verify_repairs_a_lost_folder_without_asking_for_pixels(make, emulator, tmp_path) -> None:
    made = make("sharded")
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    whole_folder(mosaic)
    looked = cli("verify", mosaic, "--json")
    assert looked.status == 3, looked
    assert {lost["object"] for lost in looked.document["lost"]} == {
        f"{OWN}/mosaic.json",
        f"{OWN}/job.yaml",
        f"{OWN}/zarr.json",
    }
    assert looked.document["groups"][""]["stored"] == 9
    assert looked.document["unledgered"] == 18
    repaired = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert repaired.status == 0, repaired
    assert emulator.control("state")["requests"] == {}
    assert remake(mosaic, emulator).status == 0
    assert getpixels(emulator) == []


def test_damage_and_a_lost_folder_are_repaired_with_the_job_of_the_attributes(
    make, emulator, tmp_path
) -> None:
    made = make("sharded")
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    whole_folder(mosaic)
    data = bytearray((mosaic / "B2/c/1/1").read_bytes())
    data[1000] ^= 1
    (mosaic / "B2/c/1/1").write_bytes(data)
    services = ("--endpoint", emulator.url, "--key-file", emulator.key_file, "--project", "p-test-1")
    repaired = cli("verify", mosaic, *key_of(emulator), "--repair", *services)
    assert repaired.status == 0, repaired
    assert {key[1:] for key in asked(emulator, made.origin)} == {("B2", 1, 1)}
    made.check(mosaic)


def test_the_attributes_hold_no_path_and_no_secret(make, emulator) -> None:
    made = make("sharded")
    attributes = json.dumps(dict(zarr.open_group(made.path, mode="r").attrs))
    assert str(made.path.parent) not in attributes
    assert "key_file" not in attributes
    assert "mosaic.zarr" not in attributes


def test_a_job_that_means_something_else_is_refused_by_the_attributes_alone(make, emulator, tmp_path) -> None:
    mosaic = make("sharded").copy(tmp_path / "m")
    whole_folder(mosaic)
    before = snapshot(mosaic)
    ended = remake(mosaic, emulator, "--set", "region.window.width=701")
    assert ended.status == 5, ended
    assert "region.window" in ended.err
    after = snapshot(mosaic)
    after.pop(f"{OWN}/lock")
    assert after == before


def test_a_ledger_of_a_newer_version_is_refused_with_the_remedy(make, emulator, tmp_path) -> None:
    mosaic = make("sharded").copy(tmp_path / "m")
    (mosaic / OWN / "ledger/99990101T000000.000000-00000000.jsonl").write_text('{"ledger": 4}\n')
    for ended in (
        cli("verify", mosaic),
        remake(mosaic, emulator),
        cli("verify", mosaic, *key_of(emulator), "--repair"),
    ):
        assert ended.status == 5, ended
        assert "ledger version 4, and this downloader reads version 3" in ended.err
        assert "use the one that wrote it" in ended.err


def metadata_losses(mosaic: Path) -> dict[str, object]:
    """Object → what happens to it: None deletes, bytes replace, a function changes the JSON."""

    def shape(document: dict) -> None:
        document["shape"] = [520, 701]

    def transform(document: dict) -> None:
        document["attributes"]["GeoTransform"] = "0 1 0 0 0 -1"

    def member(document: dict) -> None:
        del document["consolidated_metadata"]["metadata"]["y"]

    cells = np.ones((3, 3), "u1").tobytes()
    return {
        "x/c/0": None,
        "y/c/0": bytes(100),
        "coverage/tiles/c/0/0": cells,
        "coverage/zarr.json": None,
        "B2/zarr.json": None,
        "B3/zarr.json": shape,
        "x/zarr.json": b"",
        "y/zarr.json": b"{",
        "spatial_ref/zarr.json": transform,
        "zarr.json": member,
    }


@pytest.mark.parametrize("profile", ["sharded", "plain"])
def test_lost_metadata_is_found_object_by_object_and_written_anew_without_the_service(
    make, emulator, tmp_path, profile
) -> None:
    made = make(profile)
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    untouched = snapshot(mosaic)
    losses = metadata_losses(mosaic)
    for key, loss in losses.items():
        if loss is None:
            (mosaic / key).unlink()
        elif isinstance(loss, bytes):
            (mosaic / key).write_bytes(loss)
        else:
            document = json.loads((mosaic / key).read_text())
            loss(document)
            (mosaic / key).write_text(json.dumps(document))
    looked = cli("verify", mosaic, "--json")
    assert looked.status == 3, looked
    assert {lost["object"] for lost in looked.document["lost"]} == set(losses)
    assert looked.document["damaged"] == []
    repaired = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert repaired.status == 0, repaired
    assert emulator.control("state")["requests"] == {}
    after = snapshot(mosaic)
    for key in losses:
        if key.endswith("zarr.json"):
            assert json.loads(after[key]) == json.loads(untouched[key]), key
        else:
            assert after[key] == untouched[key], key
    made.check(mosaic)
    with xarray.open_dataset(mosaic, engine="zarr", chunks=None) as dataset:
        assert (dataset.sizes["y"], dataset.sizes["x"]) == (520, 700)


def test_a_root_that_is_lost_is_written_anew_and_wrong_coverage_is_told(make, emulator, tmp_path) -> None:
    made = make("sharded")
    mosaic = made.copy(tmp_path / "m")
    before = json.loads((mosaic / "zarr.json").read_text())
    (mosaic / "zarr.json").unlink()
    array = zarr.open_array(mosaic / "coverage/tiles", mode="r+")
    array[1, 2] = 0
    looked = cli("verify", mosaic)
    assert looked.status == 3
    assert "lost: zarr.json: is missing" in looked.out
    assert "coverage differs from what is stored in 1 tile" in looked.out
    assert cli("verify", mosaic, *key_of(emulator), "--repair").status == 0
    assert json.loads((mosaic / "zarr.json").read_text()) == before


def test_coverage_alone_is_mended(make, emulator, tmp_path) -> None:
    made = make("sharded")
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    before = snapshot(mosaic / "coverage/tiles")
    array = zarr.open_array(mosaic / "coverage/tiles", mode="r+")
    array[1, 2] = 4
    assert cli("verify", mosaic, "--json").document["coverage_cells"] == {"": 1}
    assert cli("verify", mosaic, *key_of(emulator), "--repair").status == 0
    assert snapshot(mosaic / "coverage/tiles") == before
    assert emulator.control("state")["requests"] == {}


def test_groups_of_several_resolutions_are_verified_each(emulator, tmp_path) -> None:
    values = job(emulator, tmp_path / "m", region=window(60, 60, 640, 580))
    values["source"]["bands"] = ["B2", "B11", "B1"]
    assert cli("run", write_job(tmp_path, values)).status == 0
    (tmp_path / "m/20m/zarr.json").unlink()
    (tmp_path / "m/60m/x/c/0").unlink()
    (tmp_path / "m/20m/B11/c/0/1").write_bytes(b"gone")
    looked = cli("verify", tmp_path / "m", "--json")
    assert {one["object"] for one in looked.document["lost"]} == {"20m/zarr.json", "60m/x/c/0"}
    assert looked.document["coverage_cells"] == {"20m": 1}
    assert [one["object"] for one in looked.document["damaged"]] == ["20m/B11/c/0/1"]
    emulator.control("reset", {})
    assert cli("verify", tmp_path / "m", *key_of(emulator), "--repair").status == 0
    assert [record["bands"] for record in getpixels(emulator)] == [["B11"]]


def test_a_mosaic_may_be_verified_while_a_run_writes_it_and_not_repaired(emulator, tmp_path) -> None:
    emulator.control("configure", {"latency_ms": 500})
    values = job(emulator, tmp_path / "m", region=window(0, 0, 2048, 2048))
    values["limits"] = {"concurrency": 1}
    values["request"] = {"tiles": 1}
    job_path = write_job(tmp_path, values)
    with running("run", job_path) as process:
        wait(lambda: len(list((tmp_path / "m/B2/c").glob("*/*"))) > 1, process)
        looked = cli("verify", tmp_path / "m", "--json")
        refused = cli("verify", tmp_path / "m", *key_of(emulator), "--repair")
        assert process.poll() is None, "the run ended before it could be watched"
    assert looked.status == 3, looked
    assert looked.document["damaged"] == []
    assert looked.document["lost"] == []
    assert 0 < looked.document["groups"][""]["missing"] < 64
    assert refused.status == 5, refused
    assert "another run is writing it" in refused.err
