"""A run with a service account from end to end, and limits that hold for a whole run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import (
    ASSET,
    ROOT,
    cli,
    compare,
    end,
    environment,
    getpixels,
    job,
    ledger_lines,
    no_secret,
    running,
    secrets,
    wait_until,
    window,
    write_job,
)


def tokens(emulator):
    """Requests that the token endpoint got."""
    return [r for r in emulator.control("requests")["requests"] if r["method"] == "token"]


def test_a_token_that_expires_in_mid_run_is_renewed_once(emulator, tmp_path, mosaic):
    """Every token is suddenly too old: one refresh for all workers, and the run goes on."""
    emulator.control("configure", {"latency_ms": 100})
    job_file = write_job(tmp_path, job(emulator, mosaic, request={"tiles": 1}, limits={"concurrency": 8}))
    with running("run", job_file) as process:
        wait_until(lambda: ledger_lines(mosaic) > 16, process)
        emulator.control("expire", {})
        ended = end(process)
    assert ended.status == 0, ended
    assert len(tokens(emulator)) == 2
    refused = [r for r in getpixels(emulator) if r["status"] == 401]
    assert 1 <= len(refused) <= 8
    compare(mosaic)
    no_secret(secrets(emulator.key_file), mosaic, ended)


def test_short_tokens_are_renewed_before_they_expire(emulator, tmp_path, mosaic):
    emulator.control("configure", {"token_life_s": 3, "latency_ms": 400})
    values = job(
        emulator, mosaic, region=window(0, 0, 1024, 1024), request={"tiles": 1}, limits={"concurrency": 2}
    )
    ended = cli("run", write_job(tmp_path, values))
    assert ended.status == 0, ended
    assert len(tokens(emulator)) >= 2
    compare(mosaic)


@pytest.mark.parametrize("road", ["job", "flag", "variable", "downloader variable"])
def test_the_key_file_by_every_road(emulator, tmp_path, road):
    """Relative to the job file in a job, to the current folder on the command line."""
    key = tmp_path / "keys" / "key.json"
    key.parent.mkdir()
    shutil.copy(emulator.key_file, key)
    values = job(emulator, tmp_path / "mosaic.zarr", region=window(0, 0, 10, 10), auth=None)
    del values["service"]["project"]
    flags, env = [], {}
    if road == "job":
        values["auth"] = {"key_file": "keys/key.json"}
    elif road == "flag":
        flags = ["--key-file", "keys/key.json"]
    else:
        name = "GOOGLE_APPLICATION_CREDENTIALS" if road == "variable" else "DOWNLOADER_KEY_FILE"
        env = {name: str(key)}
    report = tmp_path / "report.json"
    ended = cli("run", write_job(tmp_path, values), "--report", report, *flags, cwd=tmp_path, env=env)
    assert ended.status == 0, ended
    assert "key.json" in json.loads(report.read_text())["credentials"]
    assert ("credentials: service account" in ended.err) is (road == "variable"), "found ones are named"
    projects = {r["project"] for r in emulator.control("requests")["requests"] if r["method"] != "token"}
    assert projects == {"p-test-1"}, "the key file's project pays"


@pytest.mark.parametrize("limits", [{"concurrency": 3}, {"requests_per_second": 20}])
def test_a_good_citizen(emulator, tmp_path, mosaic, limits):
    """Never above the configured concurrency and rate."""
    emulator.control("configure", {"latency_ms": 60})
    ended = cli("run", write_job(tmp_path, job(emulator, mosaic, request={"tiles": 1}, limits=limits)))
    assert ended.status == 0, ended
    seen = emulator.control("state")
    assert seen["max_in_flight"]["total"] <= limits.get("concurrency", 40)
    # Any second holds the rate, and one more that begins with it; metadata and canary come before.
    assert seen["max_starts_per_s"] <= limits.get("requests_per_second", 90) + 4
    assert seen["refused_429"] == {}


def test_a_lower_quota_than_asked_for(emulator, tmp_path, mosaic):
    """429s slow everybody down; nothing is lost."""
    emulator.control("configure", {"quota_concurrency": 4, "latency_ms": 60})
    ended = cli("run", write_job(tmp_path, job(emulator, mosaic, request={"tiles": 1})))
    assert ended.status == 0, ended
    compare(mosaic)


def test_memory_stays_under_its_limit(emulator, tmp_path, mosaic):
    """Several times what the limit leaves for pixels goes through."""
    values = job(
        emulator,
        mosaic,
        source={"asset": ASSET, "bands": ["B2", "B3", "B4", "B8"]},
        region=window(0, 0, 10_980, 2_000),
        mosaic={"durability": "scratch"},
        limits={"memory": "192MiB"},
    )
    report = tmp_path / "report.json"
    ended = cli("run", write_job(tmp_path, values), "--report", report)
    assert ended.status == 0, ended
    document = json.loads(report.read_text())
    assert document["wire_bytes"] > 170e6
    assert document["peak_memory_bytes"] <= 192 * 2**20
    compare(mosaic)


def test_too_little_memory_is_refused_with_the_number(emulator, tmp_path, mosaic):
    values = job(emulator, mosaic, region=window(0, 0, 2048, 2048), limits={"memory": "128MiB"})
    ended = cli("run", write_job(tmp_path, values))
    assert ended.status == 2, ended
    number = int(ended.err.partition("at least ")[2].partition(" MiB")[0])
    assert 128 < number < 256
    assert not mosaic.exists()
    # What the process takes at its start is not quite the same twice.
    values["limits"]["memory"] = f"{number + 8}MiB"
    report = tmp_path / "report.json"
    enough = cli("run", write_job(tmp_path, values), "--report", report)
    assert enough.status == 0, enough
    assert json.loads(report.read_text())["peak_memory_bytes"] <= (number + 8) * 2**20
    compare(mosaic)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_the_peak_is_the_run_s_own(emulator, tmp_path, mosaic):
    """Linux lets a process inherit the largest size of the one that started it; the report does not."""
    job_file = write_job(tmp_path, job(emulator, mosaic, region=window(0, 0, 300, 300)))
    report = tmp_path / "report.json"
    code = (
        "import subprocess, sys; ballast = bytearray(400 << 20); ballast[::4096] = b'x' * len(ballast[::4096]);"
        "sys.exit(subprocess.call([sys.executable, '-m', 'downloader', *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", code, "run", str(job_file), "--report", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=ROOT)
    assert ended.returncode == 0, ended
    assert json.loads(report.read_text())["peak_memory_bytes"] < 300 * 2**20
