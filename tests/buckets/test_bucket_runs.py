"""Real runs into a bucket: killed, paused, started twice, cut off, told to stop; then held against the oracle."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import obstore
import pytest
import rasterio

import downloader
from downloader.job.location import parse_place
from downloader.mosaic.storage.cloud import connect_bucket
from tests import harness
from tests.buckets.server import BUCKET, SECRET, make_bucket

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", "1"))


def lease(seconds: float) -> dict[str, str]:
    """A lease that lasts so long."""
    return {"FAULTS": f"--lease {seconds}"}


def run(cloud, job_file, *arguments, status=0, **env) -> harness.Ended:
    """One run to its end."""
    ended = harness.cli("run", job_file, *arguments, env={**cloud.env, **env})
    assert ended.status == status, ended
    assert "Traceback" not in ended.err, ended
    assert SECRET not in ended.out + ended.err
    return ended


def right(cloud, tmp_path, column=300, row=300) -> dict[str, bytes]:
    """Copy the mosaic; it must be whole and right, bit for bit, and hold no secret. Its objects."""
    copy = cloud.copy_to(tmp_path / f"copy-{time.monotonic_ns()}")
    assert harness.compare(copy, column=column, row=row) > 0
    harness.no_secret([SECRET.encode()], copy)
    return harness.snapshot(copy)


def pixels(objects: dict[str, bytes]) -> dict[str, bytes]:
    """What a Zarr reader reads."""
    return harness.without_ids({k: data for k, data in objects.items() if not k.startswith(".downloader")})


def wait_for_commits(cloud, process, more: int) -> None:
    """Wait until so many further lines are in the ledger."""
    before = cloud.ledger_puts()
    harness.wait_until(lambda: cloud.ledger_puts() >= before + more, process)


def test_the_same_bytes_as_on_a_disk(cloud, small, tmp_path) -> None:
    run(cloud, small())
    run(cloud, small(str(tmp_path / "disk.zarr"), "disk.yaml"))
    there, here = pixels(right(cloud, tmp_path)), pixels(harness.snapshot(tmp_path / "disk.zarr"))
    assert there.keys() == here.keys()
    assert [key for key in there if there[key] != here[key]] == []


def test_killed_again_and_again_it_completes(cloud, emulator, tmp_path) -> None:
    """The quickstart's job. `KILLS=10` is what an acceptance run asks for; `-s` shows the figures."""
    rng = random.Random(SEED)
    values = harness.job(emulator, cloud.url, request={"tiles": 1}, limits={"concurrency": 4})
    job_file = harness.write_job(tmp_path, values)
    emulator.control("configure", {"latency_ms": 60})
    cloud.proxy.latency_s = 0.01
    env = {**cloud.env, **lease(1.5)}
    kills = 0
    for _ in range(KILLS):
        with harness.running("run", job_file, env=env) as process:
            wait_for_commits(cloud, process, rng.randint(1, 4))
            if process.poll() is None:
                time.sleep(rng.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
                kills += 1
    run(cloud, job_file, **lease(1.5))
    assert kills == KILLS
    again = harness.repeated(emulator)
    bound = harness.Duplicates(
        concurrency=4, requests_per_shard=1, tiles_per_shard=1, bands=len(harness.BANDS)
    )
    print(f"{kills} kills: {again} tiles of a band served twice, {bound.allowed(kills)} allowed")  # noqa: T201
    assert again <= bound.allowed(kills)
    right(cloud, tmp_path, 0, 0)


def test_xarray_opens_it_straight_from_the_bucket(in_cloud, small) -> None:
    report = downloader.download(str(small()), progress=False)
    assert report.mosaic == in_cloud.url
    assert in_cloud.url in str(report)
    for chunks in ("shard", None):
        scene = report.open(chunks=chunks)
        for band in ("B2", "B3"):
            wanted = harness.oracle_window(harness.QUICKSTART, band, 300, 300, 700, 700)
            harness.same_bits(scene[band].to_numpy(), wanted, band)
        scene.close()
    assert set(report.open_tree()["/"].data_vars) == {"B2", "B3"}
    assert SECRET not in repr(scene)


def test_a_lazy_reader_fetches_into_the_bucket(emulator, in_cloud, small) -> None:
    scene = downloader.open(str(small()), chunks=None)
    for rows in (slice(0, 100), slice(400, 700), slice(50, 500)):
        wanted = harness.oracle_window(harness.QUICKSTART, "B2", 300, 300, 300, 700)[rows]
        harness.same_bits(scene["B2"][rows, :300].to_numpy(), wanted, "B2")
    again = downloader.open(in_cloud.url, chunks=None, fetch=False, missing="ignore")
    assert (again["B3"][:100, :300].to_numpy() == scene["B3"][:100, :300].to_numpy()).all()
    report = downloader.download(str(small()), progress=False)
    assert 0 < report.tiles_before < report.tiles
    assert harness.repeated(emulator, (300, 300)) == 0


def test_commands_take_the_url(emulator, in_cloud, small, tmp_path) -> None:
    env = in_cloud.env
    job_file = small()
    assert harness.command("run", job_file, env=env).status == 0
    for target in (job_file, in_cloud.url):
        shown = harness.command("status", target, "--json", env=env)
        assert shown.document["complete"] is True
        assert shown.document["path"] == in_cloud.url
    picture = harness.command("preview", in_cloud.url, "-o", tmp_path / "a.png", env=env)
    assert picture.status == 0, picture
    in_cloud.store().delete(["B2/c/1/1"])
    broken = harness.command("verify", in_cloud.url, "--json", env=env)
    assert (broken.status, broken.document["damaged_tiles"]) == (3, 1)
    mended = harness.command("verify", in_cloud.url, *harness.key_of(emulator), "--repair", env=env)
    assert mended.status == 0, mended
    compared = harness.command("verify", in_cloud.url, *harness.key_of(emulator), "--resample", "2", env=env)
    assert compared.status == 0, compared
    right(in_cloud, tmp_path)


def test_started_together_one_works_and_one_is_refused(cloud, small, tmp_path) -> None:
    job_file = small(limits={"concurrency": 1, "requests_per_second": 3})
    env = {**cloud.env, **lease(6)}
    with harness.running("run", job_file, env=env) as one, harness.running("run", job_file, env=env) as two:
        ended = sorted((harness.end(one), harness.end(two)), key=lambda e: e.status)
    assert [e.status for e in ended] == [0, 5], "\n".join(map(str, ended))
    assert "another run is writing it (process " in ended[1].err
    right(cloud, tmp_path)


def test_a_run_paused_for_longer_than_its_lease_stops_before_its_next_commit(
    cloud, emulator, small, tmp_path
) -> None:
    emulator.control("configure", {"latency_ms": 150})
    job_file = small(limits={"concurrency": 1})
    with harness.running("run", job_file, env={**cloud.env, **lease(2)}) as sleeper:
        wait_for_commits(cloud, sleeper, 2)
        sleeper.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
        heir = run(cloud, job_file, **lease(2))
        assert "held by another run (process " in heir.err
        before = right(cloud, tmp_path)
        seen = len(cloud.proxy.requests)
        sleeper.send_signal(signal.SIGCONT)
        ended = harness.end(sleeper)
    assert ended.status == 5, ended
    assert "another run took the mosaic over" in ended.out + ended.err
    assert right(cloud, tmp_path) == before
    woken = [request for request in cloud.proxy.requests[seen:] if request.method == "PUT"]
    assert all(request.is_conditional for request in woken), "nothing was put unconditionally after it woke"


def test_a_run_paused_for_less_than_its_lease_goes_on(cloud, small, tmp_path) -> None:
    with harness.running("run", small(limits={"concurrency": 1}), env={**cloud.env, **lease(2)}) as process:
        wait_for_commits(cloud, process, 1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        ended = harness.end(process)
    assert ended.status == 0, ended
    right(cloud, tmp_path)


def test_told_to_stop_while_it_waits_for_the_lease_it_stops(cloud, small) -> None:
    job_file = small()
    with harness.running("run", job_file, env=cloud.env) as dead:
        wait_for_commits(cloud, dead, 1)
        dead.kill()
    with harness.running("run", job_file, env=cloud.env) as waiting:
        harness.wait_until(lambda: b"held by" in os.read(waiting.stderr.fileno(), 4096), waiting)
        began = time.monotonic()
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(30) == 143
    assert time.monotonic() - began < 15


def test_drained_and_continued(cloud, emulator, small, tmp_path) -> None:
    emulator.control("configure", {"latency_ms": 150})
    job_file = small(limits={"concurrency": 1})
    with harness.running("run", job_file, env=cloud.env) as process:
        wait_for_commits(cloud, process, 2)
        process.send_signal(signal.SIGTERM)
        ended = harness.end(process)
    assert ended.status == 143, ended
    emulator.control("configure", {"latency_ms": 0})
    run(cloud, job_file)
    assert harness.repeated(emulator, (300, 300)) == 0
    right(cloud, tmp_path)


@pytest.mark.parametrize("kinds", [("busy",), ("lost", "busy", "stall", "lost stall")])
def test_a_bad_network_changes_nothing(cloud, small, tmp_path, kinds) -> None:
    rng = random.Random(SEED)
    weights = {"busy": 0.2, "lost": 0.05, "stall": 0.02, "lost stall": 0.02}

    def fault(request) -> str | None:
        kind = rng.choice(kinds)
        return kind if rng.random() < weights[kind] * len(kinds) else None

    cloud.proxy.fault = fault
    run(cloud, small(), AWS_TIMEOUT="1s")
    faults = dict(cloud.proxy.faults)
    cloud.proxy.reset()
    assert sum(faults.values()) >= 3, faults
    right(cloud, tmp_path)


def test_a_store_that_goes_away_stops_the_run_resumable(cloud, emulator, small, tmp_path) -> None:
    job_file = small(limits={"concurrency": 1})
    cloud.proxy.fault = lambda _: "403 ExpiredToken" if cloud.ledger_puts() >= 3 else None
    ended = run(cloud, job_file, status=6)
    assert "refused the credentials" in ended.out + ended.err
    cloud.proxy.reset()
    run(cloud, job_file, **lease(1))
    right(cloud, tmp_path)


def test_drift_is_refused_and_overwrite_deletes_what_is_ours_alone(cloud, small, tmp_path) -> None:
    store = cloud.store()
    run(cloud, small())
    store.put("notes.txt", [b"mine"])
    store.put("B2/mine.txt", [b"ours by name"])
    other = small(region=harness.window(300, 300, 600, 600))
    refused = run(cloud, other, status=5)
    assert "means something else" in refused.err
    run(cloud, other, "--overwrite", "--yes")
    objects = right(cloud, tmp_path)
    assert objects["notes.txt"] == b"mine"
    assert b'"refetching": false' in objects[".downloader/mosaic.json"]
    shapes = {name: array.shape for name, array in harness.band_arrays(next(tmp_path.glob("copy-*"))).items()}
    assert set(shapes.values()) == {(600, 600)}


def test_strangers_are_refused_untouched(cloud, small) -> None:
    store = cloud.store()
    store.put("data.csv", [b"1,2"])
    ended = run(cloud, small(), status=5)
    assert "files that this downloader did not make ('data.csv' for one)" in ended.err
    assert dict(store.list("")) == {"data.csv": 3}


@pytest.mark.parametrize(
    ("path", "env", "status", "words"),
    [
        ("s3://nowhere-at-all/a", {}, 5, "no such bucket"),
        (f"s3://{BUCKET}", {}, 2, "name a folder in it"),
        (f"s3://me:{SECRET}@{BUCKET}/a", {}, 2, "credentials do not belong into a path"),
        (f"s3://{BUCKET}/a", {"AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "none"}, 6, "none"),
        ("az://box/a", {}, 6, "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_a_place_that_cannot_be_used_is_told_at_once(cloud, small, path, env, status, words) -> None:
    ended = run(cloud, small(path), status=status, **env)
    assert words in ended.err
    assert cloud.ledger_puts() == 0


def test_a_key_that_is_refused_ends_with_six(cloud, small) -> None:
    cloud.proxy.fault = lambda _: "403 InvalidAccessKeyId"
    assert "set AWS_ACCESS_KEY_ID" in run(cloud, small(), status=6).err
    cloud.proxy.fault = lambda request: "403 AccessDenied" if request.method == "PUT" else None
    assert "may not be read or written" in run(cloud, small(), status=5).err


def test_memory_lives_as_long_as_the_process(small, emulator) -> None:
    url = "memory://test-memory"
    report = downloader.download(str(small(url)), progress=False)
    assert downloader.download(str(small(url)), progress=False).requests == 0
    scene = report.open()
    wanted = harness.oracle_window(harness.QUICKSTART, "B2", 300, 300, 700, 700)
    harness.same_bits(scene["B2"].to_numpy(), wanted, "B2")
    assert downloader.status(url).is_complete


def test_a_bucket_of_another_name_is_another_place(s3, cloud, small) -> None:
    make_bucket(s3, "second-bucket")
    run(cloud, small("s3://second-bucket/x/y.zarr"))
    assert {request.path.split("/")[1].partition("?")[0] for request in cloud.proxy.requests} == {
        "second-bucket"
    }


def test_overviews_in_a_bucket(cloud, small, tmp_path) -> None:
    run(cloud, small(mosaic={"overviews": True}))
    copy = cloud.copy_to(tmp_path / "copy")
    downloader.overviews(copy)
    made = harness.cli("overviews", cloud.url, env=cloud.env)
    assert made.status == 0, made
    there, here = pixels(harness.snapshot(cloud.copy_to(tmp_path / "again"))), pixels(harness.snapshot(copy))
    assert there == here
    assert any(key.startswith("overviews/2/B2/c/") for key in here)


EXPORT = """
import os, signal, sys, downloader
def watch(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
downloader.export(sys.argv[1], sys.argv[2], watch=watch)
"""


def test_exported_from_bucket_to_bucket_and_killed_in_between(in_cloud, small, tmp_path) -> None:
    """What is there is whole, and stays; what is not comes with the next export."""
    env = in_cloud.env
    assert harness.command("run", small(), env=env).status == 0
    store = in_cloud.store()
    out = in_cloud.url.replace("m.zarr", "m.zarr-out/{band}.tif")
    words = [sys.executable, "-c", EXPORT, in_cloud.url, out, "3"]
    assert subprocess.run(words, env=harness.environment(**env), check=False).returncode == -signal.SIGKILL

    def there() -> dict[str, object]:
        folder = connect_bucket(parse_place(in_cloud.url.replace("m.zarr", "m.zarr-out")), 10, 10)
        found = [meta for batch in obstore.list(folder) for meta in batch]
        for meta in found:
            (tmp_path / "back.tif").write_bytes(bytes(obstore.get(folder, meta["path"]).bytes()))
            with rasterio.open(tmp_path / "back.tif") as file:
                wanted = harness.oracle_window(harness.QUICKSTART, meta["path"][:2], 300, 300, 700, 700)
                harness.same_bits(file.read(1), wanted, meta["path"])
        return {meta["path"]: meta["last_modified"] for meta in found}

    first = there()
    assert list(first) == ["B2.tif"]
    shown = harness.command("export", in_cloud.url, "-o", out, "--json", env=env)
    assert shown.status == 0, shown
    assert list(there()) == ["B2.tif", "B3.tif"]
    assert there()["B2.tif"] == first["B2.tif"]
    described = harness.command("stac", in_cloud.url, "-o", tmp_path / "m.json", env=env)
    assert described.status == 0, described
    assert json.loads((tmp_path / "m.json").read_text())["assets"]["zarr"]["href"] == in_cloud.url
    assert dict(store.list("B2")), "the mosaic itself is as before"
