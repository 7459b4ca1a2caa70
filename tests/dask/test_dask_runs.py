"""Jobs on workers of Dask: the same bytes, one quota, and what is left when a worker, the run or the scheduler dies."""

from __future__ import annotations

import json
import signal

import pytest

from downloader import StoppedError, download
from downloader.errors import JobError
from downloader.mosaic.format.header import ShardHeader
from tests.buckets.server import BUCKET, s3_server, variables
from tests.dask.conftest import dask_processes
from tests.harness import (
    COPY,
    Duplicates,
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


def arrays(folder):
    """The objects of all arrays without their headers, which name the mosaic; not what tells of runs."""
    return {
        key: behind_header(data)
        for key, data in snapshot(folder).items()
        if not key.startswith(".downloader") and not COPY.search(key)
    }


def behind_header(data: bytes) -> bytes:
    """The chunks and the index of a shard's object; other objects as they are."""
    return data[ShardHeader.parse(data).nbytes :] if data.startswith(b"EEDSHARD") else data


def peak(emulator) -> int:
    return emulator.statistics()["max_in_flight"]["total"]


def test_the_same_bytes_as_a_local_run(emulator, dask_cluster, tmp_path):
    """Three groups with clipped edges, several requests a shard."""
    sections = {
        "source": {"asset": job(None)["source"]["asset"], "bands": ["B2", "B5", "B1"]},
        "region": window(1000, 3001, 3000, 2000),
        "limits": {"concurrency": 8},
    }
    local = write_job(tmp_path, job(emulator, tmp_path / "local.zarr", **sections), "local.json")
    assert command("run", local).status == 0
    values = job(emulator, tmp_path / "dask.zarr", **sections, executor=dask_cluster.executor)
    report = tmp_path / "report.json"
    ended = command("run", write_job(tmp_path, values), "--report", report)
    assert ended.status == 0, ended
    ours, theirs = arrays(tmp_path / "dask.zarr"), arrays(tmp_path / "local.zarr")
    assert sum("/c/" in key for key in theirs) > 100
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    # The statement names the job, and the job its executor.
    assert {key for key in differing if not key.endswith("zarr.json")} == set()
    said = json.loads(report.read_text())
    assert (said["state"], said["tiles_failed"]) == ("complete", 0)
    assert said["tiles_stored"] == said["tiles"]
    assert not (tmp_path / "dask.zarr" / ".downloader" / "workers").exists()
    again = command("run", write_job(tmp_path, values), "--report", report)
    assert again.status == 0
    assert json.loads(report.read_text())["requests"] == 0


def test_a_bucket_holds_the_same_bytes(emulator, tmp_path, monkeypatch):
    """Workers and run reach it by the same variables; the ledger is the run's alone."""
    from obstore.store import S3Store

    sections = {"region": window(0, 0, 1024, 1024), "limits": {"concurrency": 6}}
    local = write_job(tmp_path, job(emulator, tmp_path / "local.zarr", **sections), "local.json")
    assert command("run", local).status == 0
    with s3_server() as port:
        env = variables(port)
        values = job(emulator, f"s3://{BUCKET}/m.zarr", **sections, executor={"dask": {"workers": 2}})
        ended = cli("run", write_job(tmp_path, values), env=env)
        assert ended.status == 0, ended
        store = S3Store(
            BUCKET, endpoint=env["AWS_ENDPOINT_URL"], access_key_id="test", secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            region="us-east-1", allow_http=True,
        )  # fmt: skip
        keys = [meta["path"] for batch in store.list("m.zarr") for meta in batch]
        assert not [key for key in keys if "/workers/" in key]
        there = {
            key.removeprefix("m.zarr/"): behind_header(bytes(store.get(key).bytes()))
            for key in keys
            if "/c/" in key
        }
    assert there == {key: data for key, data in arrays(tmp_path / "local.zarr").items() if "/c/" in key}


def test_row_46_a_killed_worker_costs_its_open_shards(emulator, dask_cluster, tmp_path):
    """Its shards are done elsewhere; nobody ever has more than the quota, and a worker that comes gets its part."""
    emulator.control("configure", {"latency_ms": 150})
    mosaic = tmp_path / "mosaic.zarr"
    values = job(
        emulator,
        mosaic,
        region=window(0, 0, 4096, 4096),
        request={"tiles": 1},
        limits={"concurrency": 8},
        executor=dask_cluster.executor,
    )
    with running("run", write_job(tmp_path, values)) as process:
        wait_until(lambda: ledger_lines(mosaic) > 8, process)
        dask_cluster.kill_a_worker()
        ended = end(process)
    assert ended.status == 0, ended
    assert "is gone" in ended.err
    compare(mosaic)
    assert peak(emulator) <= 8
    assert emulator.statistics()["refused_429"] == {}
    assert 0 < repeated(emulator) <= Duplicates(8, 1, 1, 4).allowed(1)
    assert leftovers(mosaic) == []


def test_row_46_the_scheduler_is_lost(emulator, tmp_path):
    """The run stops resumable; another, without Dask, goes on once the workers are gone."""
    emulator.control("configure", {"latency_ms": 100})
    mosaic = tmp_path / "mosaic.zarr"
    values = job(emulator, mosaic, request={"tiles": 1}, limits={"concurrency": 4})
    with dask_processes(tmp_path) as processes:
        lost = write_job(tmp_path, values | {"executor": processes.impatient})
        with running("run", lost) as process:
            wait_until(lambda: ledger_lines(mosaic) > 8, process)
            processes.scheduler.kill()
            ended = end(process)
        assert ended.status == 4, ended
        assert "scheduler" in ended.out + ended.err
        assert "run the job again" in ended.out + ended.err
        assert "Traceback" not in ended.err, "distributed's own words"
        last = cli("run", write_job(tmp_path, values))
    assert last.status == 0, last
    compare(mosaic)
    assert repeated(emulator) <= Duplicates(4, 1, 1, 4).allowed(1) * 2


def test_a_killed_run_leaves_workers_that_leave_by_themselves(emulator, dask_cluster, tmp_path):
    """SIGKILL for the run: its workers notice, let go of the mosaic, and only then the next run begins."""
    emulator.control("configure", {"latency_ms": 100})
    mosaic = tmp_path / "mosaic.zarr"
    values = job(
        emulator, mosaic, request={"tiles": 1}, limits={"concurrency": 6}, executor=dask_cluster.impatient
    )
    job_file = write_job(tmp_path, values)
    with running("run", job_file) as process:
        wait_until(lambda: ledger_lines(mosaic) > 8, process)
        process.kill()
        process.wait()
    assert list((mosaic / ".downloader" / "workers").iterdir()), "they are still there"
    last = cli("run", job_file)
    assert last.status == 0, last
    compare(mosaic)
    assert peak(emulator) <= 6
    assert repeated(emulator) <= Duplicates(6, 1, 1, 4).allowed(1)
    assert leftovers(mosaic) == []


def test_workers_that_a_run_started_die_with_it(emulator, tmp_path):
    """SIGKILL for a run with processes of its own, then another one."""
    emulator.control("configure", {"latency_ms": 100})
    mosaic = tmp_path / "mosaic.zarr"
    values = job(
        emulator, mosaic, request={"tiles": 1}, limits={"concurrency": 6}, executor={"dask": {"workers": 2}}
    )
    job_file = write_job(tmp_path, values)
    with running("run", job_file) as process:
        wait_until(lambda: ledger_lines(mosaic) > 8, process)
        process.kill()
        process.wait()
    last = cli("run", job_file)
    assert last.status == 0, last
    compare(mosaic)
    # Both workers die, each with open shards of its own: a pool of three requests, made a quarter larger.
    assert repeated(emulator) <= 2 * Duplicates(4, 1, 1, 4).allowed(1)


def test_a_signal_drains_the_workers(emulator, dask_cluster, tmp_path):
    """What is in flight is finished and saved, also of shards that are not full."""
    emulator.control("configure", {"latency_ms": 150})
    mosaic, report = tmp_path / "mosaic.zarr", tmp_path / "report.json"
    values = job(
        emulator,
        mosaic,
        source={"asset": job(None)["source"]["asset"], "bands": ["B4"]},
        region=window(0, 0, 4096, 4096),
        mosaic={"checkpoint": "1h"},
        request={"tiles": 1},
        limits={"concurrency": 8},
        executor=dask_cluster.executor,
    )
    job_file = write_job(tmp_path, values)
    with running("run", job_file, "--report", report) as process:
        wait_until(lambda: len(getpixels(emulator)) > 24, process)
        process.send_signal(signal.SIGTERM)
        ended = end(process)
    assert ended.status == 143, ended
    assert "Traceback" not in ended.err
    said = json.loads(report.read_text())
    assert said["state"] == "interrupted"
    assert all(record["complete"] for record in getpixels(emulator)), "nothing was cut off"
    assert said["tiles_stored"] == len(getpixels(emulator))
    emulator.control("configure", {"latency_ms": 0})
    assert command("run", job_file).status == 0
    assert repeated(emulator) == 0
    compare(mosaic)


def test_a_dead_job_ends_as_a_local_one(emulator, dask_cluster, tmp_path):
    """Permission is lost in mid-job: the same status and words, and what was stored is saved."""
    emulator.control(
        "configure", {"faults": [{"fault": "service-disabled-403", "skip": 12, "above_pixels": 1}]}
    )
    values = job(emulator, tmp_path / "m.zarr", request={"tiles": 1}, limits={"concurrency": 4})
    local = command("run", write_job(tmp_path, values))
    emulator.control("reset", {})
    emulator.control(
        "configure", {"faults": [{"fault": "service-disabled-403", "skip": 12, "above_pixels": 1}]}
    )
    values = job(
        emulator,
        tmp_path / "d.zarr",
        request={"tiles": 1},
        limits={"concurrency": 4},
        executor=dask_cluster.executor,
    )
    report = tmp_path / "report.json"
    ended = command("run", write_job(tmp_path, values), "--report", report)
    assert ended.status == local.status == 6, ended
    words, locals_ = (one.out.splitlines()[1].partition(" (at ")[0] for one in (ended, local))
    assert words == locals_
    assert json.loads(report.read_text())["tiles_stored"] > 0


def test_limits_of_the_job_hold_over_all_workers(emulator, dask_cluster, tmp_path):
    """`max_requests` stops the run within a shard; a rerun goes on there."""
    mosaic = tmp_path / "mosaic.zarr"
    values = job(
        emulator,
        mosaic,
        region=window(0, 0, 4096, 4096),
        source={"asset": job(None)["source"]["asset"], "bands": ["B4"]},
        request={"tiles": 1},
        limits={"concurrency": 4, "max_requests": 21},
        executor=dask_cluster.executor,
    )
    ended = command("run", write_job(tmp_path, values))
    assert ended.status == 4, ended
    assert "limits.max_requests: 21" in ended.out + ended.err
    assert len(getpixels(emulator)) == 21
    values["limits"] = {"concurrency": 4}
    assert command("run", write_job(tmp_path, values)).status == 0
    assert repeated(emulator) == 0
    compare(mosaic)


# Refusals -----------------------------------------------------------------------------------------------------


def test_nobody_at_the_schedulers_address(emulator, tmp_path, monkeypatch):
    from downloader.engine.dask import cluster

    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    values = job(emulator, tmp_path / "m.zarr", executor={"dask": {"scheduler": "tcp://127.0.0.1:1"}})
    with pytest.raises(StoppedError, match="nobody answers at tcp:"):
        download(values, progress=False)


def test_what_workers_cannot_have_is_refused(emulator, tmp_path):
    values = job(emulator, "memory://here", executor={"dask": {"workers": 2}})
    with pytest.raises(JobError, match="this process's memory"):
        download(values, progress=False)
    values = job(emulator, tmp_path / "m.zarr", executor={"dask": {"workers": 2}})
    with pytest.raises(JobError, match="credentials object"):
        download(values, credentials=object(), progress=False)
    values["executor"] = {"dask": {"workers": 500}}
    del values["region"]
    with pytest.raises(JobError, match="too little for 500 workers"):
        download(values, progress=False)
    assert not (tmp_path / "m.zarr").exists()
