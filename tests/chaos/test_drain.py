"""SIGTERM and SIGINT: what is in flight is finished and saved; a second signal stops at once; nothing is half."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.harness import (
    asked,
    cli,
    compare,
    end,
    getpixels,
    job,
    ledger_lines,
    leftovers,
    repeated,
    running,
    wait_until,
    window,
    write_job,
)

FOUR_A_SHARD = {
    "source": {"asset": job(None)["source"]["asset"], "bands": ["B4"]},
    "region": window(0, 0, 4096, 4096),
    "mosaic": {"checkpoint": "1h"},
    "request": {"tiles": 1},
}


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGINT, 130, "stopped by Ctrl-C"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
    ],
)
def test_the_first_signal_drains(emulator, tmp_path, number, status, word):
    """Everything in flight is saved, also of shards that are not full: the rerun asks for nothing twice."""
    emulator.control("configure", {"latency_ms": 150})
    mosaic, report = tmp_path / "mosaic.zarr", tmp_path / "report.json"
    job_file = write_job(tmp_path, job(emulator, mosaic, **FOUR_A_SHARD, limits={"concurrency": 8}))
    with running("run", job_file, "--report", report) as process:
        wait_until(lambda: len(getpixels(emulator)) > 24, process)
        process.send_signal(number)
        ended = end(process)
    assert ended.status == status, ended
    assert word in ended.out + ended.err
    assert "run the job again" in ended.out + ended.err
    assert "Traceback" not in ended.err
    said = json.loads(report.read_text())
    assert said["state"] == "interrupted"
    assert said["tiles_stored"] == len(asked(emulator)), "what was asked for is stored"
    assert all(record["complete"] for record in getpixels(emulator)), "nothing was cut off"
    seen = cli("status", mosaic, "--json").document
    assert seen["groups"][""]["stored"] == said["tiles_stored"]
    assert seen["complete"] is False
    emulator.control("configure", {"latency_ms": 0})
    last = cli("run", job_file)
    assert last.status == 0, last
    assert repeated(emulator) == 0
    compare(mosaic)
    assert leftovers(mosaic) == []


def test_the_second_signal_stops_at_once(emulator, tmp_path):
    """Requests that would take minutes are given up; what was stored stays."""
    mosaic = tmp_path / "mosaic.zarr"
    stalls = {"fault": "stall-before-headers", "above_pixels": 1, "skip": 8, "seconds": 300}
    emulator.control("configure", {"faults": [stalls]})
    values = job(emulator, mosaic, request={"tiles": 1}, limits={"concurrency": 4})
    job_file = write_job(tmp_path, values)
    with running("run", job_file) as process:
        wait_until(lambda: len(getpixels(emulator)) == 12 and ledger_lines(mosaic) == 9, process)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None, "it waits for what is in flight"
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        ended = end(process)
        assert time.monotonic() - begun < 15, "the grace period of 20 s was not waited for"
    assert ended.status == 143, ended
    assert cli("status", mosaic, "--json").document["groups"][""]["stored"] == 8
    emulator.control("configure", {"faults": []})
    assert cli("run", job_file).status == 0
    compare(mosaic)
    assert leftovers(mosaic) == []
    # What a fault struck is not counted as asked for: all eight that were stored stayed.
    assert repeated(emulator) == 0


def test_a_signal_while_nothing_was_fetched_yet(emulator, tmp_path):
    """A run that waits for the catalogue ends by a signal, too."""
    emulator.control("configure", {"latency_ms": 300_000})
    mosaic = tmp_path / "mosaic.zarr"
    job_file = write_job(tmp_path, job(emulator, mosaic))
    with running("run", job_file) as process:
        wait_until(lambda: emulator.control("state")["in_flight"] > 0, process)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        ended = end(process)
    assert time.monotonic() - begun < 30
    assert ended.status == 143, ended
    assert "Traceback" not in ended.err
    assert not mosaic.exists()


@pytest.mark.parametrize("command", [["plan", "JOB"], ["plan", "JOB", "--json"]])
def test_interrupting_a_plan(emulator, tmp_path, command):
    """Commands that only look end at once, although the service does not answer."""
    emulator.control("configure", {"latency_ms": 300_000})
    job_file = write_job(tmp_path, job(emulator, tmp_path / "mosaic.zarr"))
    with running(*(job_file if word == "JOB" else word for word in command)) as process:
        wait_until(lambda: emulator.control("state")["in_flight"] > 0, process)
        process.send_signal(signal.SIGINT)
        ended = end(process)
    assert ended.status == 130, ended
    assert ended.out == ""
    assert "Traceback" not in ended.err
