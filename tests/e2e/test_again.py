"""The same command again: continues, extends, or refuses with the differences; never fetches what is there."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import (
    ASSET,
    band_arrays,
    cli,
    command,
    compare,
    end,
    getpixels,
    job,
    ledger_lines,
    leftovers,
    repeated,
    running,
    snapshot,
    wait_until,
    window,
    write_job,
)
from tests.oracle import QUICKSTART

SMALL = window(300, 200, 600, 500)


@pytest.fixture
def made(emulator, tmp_path, mosaic):
    """A complete small mosaic of B3 and B8, and the values of its job."""
    values = job(emulator, mosaic, source={"asset": ASSET, "bands": ["B3", "B8"]}, region=SMALL)
    first = command("run", write_job(tmp_path, values))
    assert first.status == 0, first
    emulator.control("reset", {})
    return values


def test_a_complete_job_fetches_nothing(emulator, tmp_path, mosaic, made):
    before = {p: b for p, b in snapshot(mosaic).items() if "/c/" in p and "coverage" not in p}
    again = cli("run", tmp_path / "job.yaml")
    assert again.status == 0, again
    assert getpixels(emulator) == []
    after = snapshot(mosaic)
    assert before == {p: after[p] for p in before}
    compare(mosaic, column=300, row=200)


def test_a_second_run_is_refused_while_the_first_works(emulator, tmp_path, mosaic):
    emulator.control("configure", {"latency_ms": 1000})
    job_file = write_job(tmp_path, job(emulator, mosaic, limits={"concurrency": 4}, request={"tiles": 1}))
    with running("run", job_file) as first:
        wait_until(lambda: ledger_lines(mosaic) > 2, first)
        second = cli("run", job_file)
        assert second.status == 5, second
        assert "another run is writing it" in second.err
        assert f"process {first.pid}" in second.err
        assert cli("status", mosaic).status == 0, "looking is allowed"
        emulator.control("configure", {"latency_ms": 0})
        ended = end(first)
    assert ended.status == 0, ended
    assert repeated(emulator) == 0
    compare(mosaic)


def test_two_runs_started_together(emulator, tmp_path, mosaic):
    emulator.control("configure", {"latency_ms": 150})
    job_file = write_job(tmp_path, job(emulator, mosaic, limits={"concurrency": 4}, request={"tiles": 1}))
    with running("run", job_file) as one, running("run", job_file) as two:
        statuses = sorted([end(one).status, end(two).status])
    assert statuses == [0, 5]
    assert repeated(emulator) == 0
    compare(mosaic)


CHANGES = {
    "another window": ({"region": window(300, 200, 600, 501)}, ["window", "rows 200"]),
    "another asset": (
        {"source": {"asset": "COPERNICUS/S2/20170420T184921_20170420T190203_T10SEG", "bands": ["B3", "B8"]}},
        ["source.asset", "20170430T190351", "20170420T184921"],
    ),
    "another grid": ({"grid": {"resolution": 20}}, ["transform"]),
    "fewer bands": ({"source": {"asset": ASSET, "bands": ["B8"]}}, ["B3", "not in this job"]),
    "another nodata": ({"mosaic": {"nodata": 7}}, ["nodata"]),
    "another profile": ({"mosaic": {"profile": "plain"}}, ["mosaic.profile: sharded → plain"]),
    "bands of another grid": (
        {"source": {"asset": ASSET, "bands": ["B3", "B8", "B5"]}},
        ["source.bands: B8"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_drift_is_refused_with_the_differences(emulator, tmp_path, mosaic, made, change):
    sections, words = CHANGES[change]
    if "mosaic" in sections:
        sections = {"mosaic": {"path": str(mosaic), **sections["mosaic"]}}
    other = write_job(tmp_path, made | sections, "other.yaml")
    before = snapshot(mosaic)
    refused = command("run", other)
    assert refused.status == 5, refused
    for word in [*words, "--overwrite", str(mosaic)]:
        assert word in refused.err
    assert getpixels(emulator) == []
    assert unlocked(snapshot(mosaic)) == unlocked(before), "refused means untouched"


def unlocked(files):
    """All but the lock, which holds who last asked for it."""
    return {path: content for path, content in files.items() if path != ".downloader/lock"}


def test_an_update_of_the_asset_is_drift(emulator, tmp_path, mosaic, made):
    emulator.control("configure", {"assets": {QUICKSTART: {"updateTime": "2026-01-02T03:04:05Z"}}})
    refused = command("run", tmp_path / "job.yaml")
    assert refused.status == 5, refused
    assert "source.updateTime" in refused.err
    assert "2026-01-02T03:04:05Z" in refused.err


def test_pixels_of_an_emulator_and_of_another_service_never_meet(emulator, tmp_path, mosaic, made):
    """Here the mosaic is said to be of Earth Engine, and the emulator refused."""
    marker = mosaic / ".downloader" / "mosaic.json"
    document = json.loads(marker.read_text())
    assert document["service"].startswith("emulator ")
    marker.write_text(json.dumps(document | {"service": "earth-engine"}))
    refused = command("run", tmp_path / "job.yaml")
    assert refused.status == 5, refused
    assert f"service: earth-engine → {document['service']}" in refused.err


def test_rasters_of_the_embedded_emulator_are_part_of_its_data_set(tmp_path, mosaic):
    """The same id with another file behind it is another source."""
    import rasterio

    def raster(name, value):
        import numpy as np

        path = tmp_path / name
        transform = rasterio.Affine(10, 0, 500000, 0, -10, 4000000)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=40,
            height=30,
            count=1,
            dtype="uint8",
            crs="EPSG:32610",
            transform=transform,
        ) as file:
            file.write(np.full((1, 30, 40), value, "u1"))
        return str(path)

    def values(file):
        rasters = {"projects/p-test-1/assets/local": file}
        return job(
            None,
            mosaic,
            source={"asset": "projects/p-test-1/assets/local"},
            region=None,
            service={"endpoint": "emulator", "emulator": {"rasters": rasters}},
        )

    first = command("run", write_job(tmp_path, values(raster("a.tif", 1))))
    assert first.status == 0, first
    other = command("run", write_job(tmp_path, values(raster("b.tif", 2))))
    assert other.status == 5, other
    assert set(np_unique(mosaic)) == {1}


def np_unique(mosaic):
    (array,) = band_arrays(mosaic).values()
    return array[:].ravel().tolist()


@pytest.mark.parametrize(
    "bands", [["B3", "B8", "B2"], ["B2", "B3", "B8"], ["B8", "B2", "B3"], ["B4", "B8", "B2", "B3"]]
)
def test_more_bands_are_an_extension(emulator, tmp_path, mosaic, made, bands):
    """In any order, none of the bands that are there is fetched again, and every band holds its own pixels."""
    made["source"]["bands"] = bands
    job_file = write_job(tmp_path, made)
    extended = command("run", job_file)
    assert extended.status == 0, extended
    new = set(bands) - {"B3", "B8"}
    assert {band for record in getpixels(emulator) for band in record["bands"]} == new
    assert set(band_arrays(mosaic)) == set(bands)
    compare(mosaic, column=300, row=200)
    emulator.control("reset", {})
    assert command("run", job_file).status == 0
    assert getpixels(emulator) == [], "the extension is on record"
    seen = command("status", mosaic, "--json").document["groups"][""]
    assert sorted(seen["bands"]) == sorted(bands)
    assert seen["stored"] == seen["tiles"] == 6


def test_the_same_bands_in_another_order_are_the_same_job(emulator, tmp_path, mosaic, made):
    made["source"]["bands"] = ["B8", "B3"]
    again = command("run", write_job(tmp_path, made))
    assert again.status == 0, again
    assert getpixels(emulator) == []
    compare(mosaic, column=300, row=200)


def test_another_order_of_bands_in_the_middle_of_a_job(emulator, tmp_path, mosaic):
    """Half is stored in one order, the rest comes in the other."""
    values = job(
        emulator,
        mosaic,
        source={"asset": ASSET, "bands": ["B3", "B8", "B2"]},
        region=window(0, 0, 1024, 1024),
        request={"tiles": 1},
        limits={"max_requests": 7, "concurrency": 2},
    )
    assert command("run", write_job(tmp_path, values)).status == 4
    values["source"]["bands"] = ["B2", "B3", "B8"]
    del values["limits"]
    assert command("run", write_job(tmp_path, values)).status == 0
    assert repeated(emulator) == 0
    compare(mosaic)


def test_more_bands_before_the_first_ones_are_complete(emulator, tmp_path, mosaic):
    """Tiles that some bands have and others lack."""
    values = job(
        emulator,
        mosaic,
        source={"asset": ASSET, "bands": ["B3"]},
        region=window(0, 0, 1024, 1024),
        request={"tiles": 1},
        limits={"max_requests": 7, "concurrency": 2},
    )
    assert command("run", write_job(tmp_path, values)).status == 4
    values["source"]["bands"] = ["B8", "B3"]
    del values["limits"]
    assert command("run", write_job(tmp_path, values)).status == 0
    assert repeated(emulator) == 0
    compare(mosaic)


def test_a_moved_mosaic_continues(emulator, tmp_path, mosaic):
    values = job(emulator, mosaic, request={"tiles": 1}, limits={"max_requests": 20, "concurrency": 2})
    stopped = cli("run", write_job(tmp_path, values))
    assert stopped.status == 4, stopped
    moved = tmp_path / "elsewhere" / "renamed.zarr"
    moved.parent.mkdir()
    shutil.move(mosaic, moved)
    values["mosaic"]["path"] = str(moved)
    del values["limits"]
    last = cli("run", write_job(tmp_path, values))
    assert last.status == 0, last
    assert repeated(emulator) == 0
    assert not mosaic.exists()
    compare(moved)
    named = [str(mosaic).encode(), str(moved).encode()]
    inside = b"".join(content for path, content in snapshot(moved).items() if not path.endswith("job.yaml"))
    assert not any(path in inside for path in named), "the mosaic does not know where it lies"


def test_speed_and_credentials_never_matter(emulator, tmp_path, mosaic):
    values = job(emulator, mosaic, request={"tiles": 1}, limits={"max_requests": 20, "concurrency": 2})
    assert cli("run", write_job(tmp_path, values)).status == 4
    token = emulator.control("tokens", {"project": "p-test-1"})["access_token"]
    values |= {
        "request": {"tiles": 4, "timeout": "10s"},
        "limits": {"concurrency": 7, "requests_per_second": 50, "memory": "512MiB", "retries": 2},
        "auth": {"access_token_env": "A_TOKEN"},
        "service": {"endpoint": emulator.url.replace("127.0.0.1", "localhost"), "workload_tag": "again"},
    }
    values["mosaic"] |= {"checkpoint": "1s", "durability": "scratch"}
    last = cli("run", write_job(tmp_path, values), env={"A_TOKEN": token})
    assert last.status == 0, last
    assert repeated(emulator) == 0
    assert token not in last.out + last.err
    compare(mosaic)


def test_overwrite_replaces_what_is_ours(emulator, tmp_path, mosaic, made):
    made["region"] = window(0, 0, 300, 300)
    job_file = write_job(tmp_path, made)
    assert cli("run", job_file).status == 5
    (mosaic / "notes.txt").write_text("mine")
    replaced = cli("run", job_file, "--overwrite")
    assert replaced.status == 0, replaced
    assert band_arrays(mosaic)["B3"].shape == (300, 300)
    compare(mosaic)
    assert (mosaic / "notes.txt").read_text() == "mine", "what is not ours stays"
    assert len(list((mosaic / ".downloader" / "ledger").iterdir())) == 1


@pytest.mark.parametrize("flags", [[], ["--overwrite"], ["--overwrite", "--yes"]])
@pytest.mark.parametrize("kind", ["folder", "zarr", "file"])
def test_something_else_is_refused_untouched(emulator, tmp_path, mosaic, kind, flags):
    if kind == "file":
        mosaic.write_text("precious")
    else:
        mosaic.mkdir()
        (mosaic / ("zarr.json" if kind == "zarr" else "precious.txt")).write_text("{}")
    before = mosaic.read_text() if kind == "file" else snapshot(mosaic)
    refused = command("run", write_job(tmp_path, job(emulator, mosaic, region=SMALL)), *flags)
    assert refused.status == 5, refused
    assert str(mosaic) in refused.err
    assert "choose another mosaic.path" in refused.err
    assert before == (mosaic.read_text() if kind == "file" else snapshot(mosaic))
    assert getpixels(emulator) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place_is_refused(emulator, tmp_path):
    place = tmp_path / "closed"
    place.mkdir(mode=0o500)
    refused = cli("run", write_job(tmp_path, job(emulator, place / "mosaic.zarr", region=SMALL)))
    assert refused.status == 5, refused


def test_a_mosaic_of_a_newer_version_is_refused(emulator, tmp_path, mosaic, made):
    marker = mosaic / ".downloader" / "mosaic.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"format": 99}))
    refused = command("run", tmp_path / "job.yaml")
    assert refused.status == 5, refused
    assert "is of format 99" in refused.err


def test_another_emulator_with_the_same_data_set_continues(emulator, tmp_path, mosaic):
    """Where it listens is no part of what it serves."""
    values = job(emulator, mosaic, request={"tiles": 1}, limits={"max_requests": 20, "concurrency": 2})
    assert cli("run", write_job(tmp_path, values)).status == 4
    with EmulatorProcess(arguments(quota_per_minute=0)) as other:
        last = cli("run", write_job(tmp_path, job(other, mosaic)))
        assert last.status == 0, last
        assert len(getpixels(other)) < 64
    embedded = cli("run", write_job(tmp_path, job(None, mosaic)))
    assert embedded.status == 0, embedded
    compare(mosaic)


def test_a_run_with_partial_shards_tops_them_up(emulator, tmp_path, mosaic):
    """Shards of four tiles, stopped in their middle: what is there is kept, and unfetched tiles have no index entry."""
    values = job(
        emulator,
        mosaic,
        source={"asset": ASSET, "bands": ["B2"]},
        region=window(0, 0, 4096, 4096),
        request={"tiles": 1},
        limits={"max_requests": 101, "concurrency": 3},
    )
    assert command("run", write_job(tmp_path, values)).status == 4
    assert leftovers(mosaic) == []
    seen = command("status", mosaic, "--json").document["groups"][""]
    assert (seen["stored"], seen["missing"]) == (101, 155)
    assert index_entries(mosaic) == 101
    del values["limits"]
    assert command("run", write_job(tmp_path, values)).status == 0
    assert repeated(emulator) == 0
    assert index_entries(mosaic) == 256
    compare(mosaic)


def index_entries(mosaic):
    """Entries in the indices of all of B2's shards, read from their bytes (Zarr v3 sharding, index at the end)."""
    import numpy as np

    count = 0
    for path in (mosaic / "B2" / "c").rglob("*"):
        if path.is_file():
            index = np.frombuffer(path.read_bytes()[-(16 * 4 + 4) : -4], "<u8").reshape(4, 2)
            count += int((index[:, 0] != 2**64 - 1).sum())
    return count


def test_lost_and_damaged_objects_are_fetched_again(emulator, tmp_path, mosaic):
    """A shard that vanished between runs, and one cut short."""
    job_file = write_job(tmp_path, job(emulator, mosaic, region=window(0, 0, 1024, 512)))
    assert command("run", job_file).status == 0
    (mosaic / "B3" / "c" / "0" / "1").unlink()
    cut = mosaic / "B4" / "c" / "1" / "2"
    cut.write_bytes(cut.read_bytes()[:100])
    emulator.control("reset", {})
    assert command("run", job_file).status == 0
    asked = {(tuple(r["bands"]), tuple(r["window"])) for r in getpixels(emulator)}
    assert asked == {(("B3",), (256, 0, 256, 256)), (("B4",), (512, 256, 256, 256))}
    compare(mosaic)
