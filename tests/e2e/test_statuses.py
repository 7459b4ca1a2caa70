"""Every exit status through the real command line, each with a message that says what to do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from downloader.__main__ import main
from tests.harness import (
    ASSET,
    BANDS,
    ROOT,
    asked,
    cli,
    command,
    compare,
    end,
    getpixels,
    ledger_lines,
    no_secret,
    repeated,
    running,
    secrets,
    wait_until,
    window,
    write_job,
)
from tests.oracle import QUICKSTART

SMALL = window(0, 0, 700, 600)


def said(ended):
    """What was said, as one text."""
    return ended.out + ended.err


def test_0_complete(emulator, tmp_path, mosaic, values):
    report = tmp_path / "report.json"
    ended = cli("run", write_job(tmp_path, values), "--report", report)
    assert ended.status == 0, ended
    assert "complete: 9 of 9 tiles" in ended.out
    assert "xarray.open_dataset(" in ended.out
    document = json.loads(report.read_text())
    assert (document["state"], document["tiles"], document["tiles_stored"]) == ("complete", 9, 9)
    assert document["requests"] == len(getpixels(emulator)) == 9
    assert document["wire_bytes"] >= 700 * 600 * 8
    compare(mosaic)
    no_secret(secrets(emulator.key_file), tmp_path / "mosaic.zarr", ended)
    no_secret(secrets(emulator.key_file)[:-1], report.parent, ended)


WRONG = {
    "an unknown key": ({"limits": {"concurency": 3}}, ["job.yaml, line", "limits.concurency", "did you mean concurrency?"]),
    "an unknown section": ({"limts": {}}, ["job.yaml, line", "limts", "did you mean limits?"]),
    "a wrong type": ({"limits": {"concurrency": "many"}}, ["job.yaml, line", "limits.concurrency", "'many'"]),
    "a wrong size": ({"limits": {"memory": "1 elephant"}}, ["job.yaml, line", "limits.memory", "1GiB"]),
    "an unknown band": ({"source": {"asset": ASSET, "bands": ["B2", "B77"]}}, ["job.yaml, line", "source.bands", "B77", "did you mean B7?"]),
    "no source": ({"source": None}, ["job.yaml", "source", "missing"]),
    "an unknown asset": ({"source": {"asset": "COPERNICUS/S2/NONE"}}, ["COPERNICUS/S2/NONE", "does not exist"]),
    "a collection in place of an image": ({"source": {"asset": "COPERNICUS/S2"}}, ["COPERNICUS/S2", "image collection"]),
    "a folder in place of an image": ({"source": {"asset": "EMULATOR"}}, ["EMULATOR", "folder"]),
    "a window outside": ({"region": window(20_000, 0, 5, 5)}, ["job.yaml, line", "region.window", "10980"]),
    "a box outside": ({"region": {"bbox": [10, 40, 11, 41]}}, ["job.yaml, line", "region.bbox", "outside the image"]),
    "a box the wrong way round": ({"region": {"bbox": [37.4, -122.1, 37.5, -122.0]}}, ["region.bbox", "[west, south, east, north]"]),
    "two regions": ({"region": {"file": "a.geojson", "bbox": [1, 2, 3, 4]}}, ["job.yaml, line", "region", "keep one"]),
    "too little memory": ({"limits": {"memory": "128MiB"}}, ["job.yaml, line", "limits.memory", "128 MiB", "MiB are needed"]),
    "a nodata that the type lacks": ({"mosaic": {"path": "mosaic.zarr", "nodata": -1}}, ["job.yaml, line", "mosaic.nodata", "-1", "uint16"]),
    "a band without nodata": ({"mosaic": {"path": "mosaic.zarr", "nodata": {"B99": 0}}}, ["job.yaml, line", "mosaic.nodata", "B99"]),
    "an unset variable": ({"service": {"project": "${NOWHERE_SET}"}}, ["job.yaml, line", "service.project", "NOWHERE_SET"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_2_a_wrong_job(emulator, tmp_path, mosaic, values, mistake):
    sections, words = WRONG[mistake]
    values = {key: value for key, value in (values | sections).items() if value is not None}
    ended = command("run", write_job(tmp_path, values))
    assert ended.status == 2, ended
    assert ended.out == ""
    for word in words:
        assert word in ended.err, f"{word!r} is not in {ended.err!r}"
    assert "Traceback" not in ended.err
    assert getpixels(emulator) == []
    assert not mosaic.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["job.yaml", "is empty"]),
        ("source: {asset: A\n", ["job.yaml, line", "not readable as YAML"]),
        ("- a\n- b\n", ["job.yaml", "keys"]),
        ("source: {asset: A}\nsource: {asset: B}\n", ["job.yaml, line 2", "twice"]),
        ("source: {asset: A}\nmosaic: {path: x}\nx: !!python/object:os.system {}\n", ["job.yaml"]),
    ],
)
def test_2_an_unreadable_job(tmp_path, text, words):
    (tmp_path / "job.yaml").write_text(text)
    ended = command("run", tmp_path / "job.yaml")
    assert ended.status == 2, ended
    assert all(word in ended.err for word in words), ended
    assert "Traceback" not in ended.err


def test_2_binary_in_place_of_a_job(tmp_path):
    (tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00")
    ended = command("run", tmp_path / "job.yaml")
    assert ended.status == 2, ended
    assert "UTF-8" in ended.err
    assert command("run", tmp_path).status == 2
    assert command("run", tmp_path / "none.yaml").status == 2


def test_3_failed_tiles_and_a_rerun_that_tries_just_those(emulator, tmp_path, mosaic, values):
    """One tile is refused for good; the others are stored, the rerun asks for one tile."""
    broken = {"fault": "bad-request-400", "covers": [300, 300], "above_pixels": 1}
    emulator.control("configure", {"faults": [broken | {"message": "This tile is cursed."}]})
    job_file, report = write_job(tmp_path, values), tmp_path / "report.json"
    ended = cli("run", job_file, "--report", report)
    assert ended.status == 3, ended
    assert "8 of 9 tiles" in said(ended)
    assert "This tile is cursed." in said(ended)
    (failed,) = json.loads(report.read_text())["failed"]
    assert (failed["row"], failed["column"]) == (1, 1)
    assert "This tile is cursed." in cli("status", mosaic).out
    allowed = cli("run", job_file, "--allow-failed")
    assert allowed.status == 0, allowed
    emulator.control("reset", {})
    last = cli("run", job_file)
    assert last.status == 0, last
    assert sorted(asked(emulator)) == [(QUICKSTART, band, 1, 1) for band in BANDS]
    assert repeated(emulator) == 0
    compare(mosaic)


@pytest.mark.parametrize(
    ("limit", "stored"),
    [({"max_requests": 4}, 4), ({"max_bytes": "2MB"}, 4), ({"max_time": "1ms"}, None)],
)
def test_4_a_limit_of_the_job(emulator, tmp_path, mosaic, values, limit, stored):
    job_file = write_job(tmp_path, values | {"limits": limit | {"concurrency": 2}})
    ended = command("run", job_file)
    assert ended.status == 4, ended
    (name,) = limit
    assert f"limits.{name}" in said(ended)
    assert "run the job again" in said(ended)
    if stored is not None:
        assert len(getpixels(emulator)) == stored
        assert command("status", mosaic, "--json").document["groups"][""]["stored"] == stored


def test_4_a_quota_that_is_used_up(emulator, tmp_path, mosaic, values):
    """What was fetched before is saved, and the message says when to come back."""
    emulator.control("configure", {"compute_s_per_day": 6, "compute_s_per_request": 1})
    job_file = write_job(tmp_path, values | {"limits": {"concurrency": 1}})
    ended = cli("run", job_file)
    assert ended.status == 4, ended
    assert "Traceback" not in ended.err
    assert 0 < cli("status", mosaic, "--json").document["groups"][""]["stored"] < 9
    emulator.control("configure", {"compute_s_per_day": None})
    assert cli("run", job_file).status == 0
    compare(mosaic)


def test_4_a_service_that_is_not_there(emulator, tmp_path, values):
    values["service"] = {"endpoint": "http://127.0.0.1:9", "project": "p-test-1"}
    values["limits"] = {"give_up_after": "1s"}
    ended = cli("run", write_job(tmp_path, values))
    assert ended.status == 4, ended
    assert "127.0.0.1:9" in ended.err
    assert "Traceback" not in ended.err


def test_5_refused(emulator, tmp_path, mosaic, values):
    mosaic.write_text("something else")
    ended = command("run", write_job(tmp_path, values))
    assert ended.status == 5, ended
    assert "choose another mosaic.path" in ended.err


AUTH = {
    "a key file that is missing": (None, ["key.json", "does not exist"]),
    "a key file that is no JSON": ("{", ["key.json"]),
    "a key file of another type": ('{"type": "authorized_user"}', ["key.json"]),
    "a key file without a key": ('{"type": "service_account", "client_email": "a@b"}', ["key.json"]),
    "an empty key file": ("", ["key.json"]),
    "a key that is no key": (
        '{"type": "service_account", "client_email": "a@b.c", "private_key": "-----BEGIN PRIVATE KEY-----\\nSECRETSECRET\\n-----END PRIVATE KEY-----\\n"}',
        ["key.json"],
    ),
}


@pytest.mark.parametrize("mistake", AUTH)
def test_6_key_files(emulator, tmp_path, mosaic, values, mistake):
    content, words = AUTH[mistake]
    if content is not None:
        (tmp_path / "key.json").write_text(content)
        (tmp_path / "key.json").chmod(0o600)
    ended = command("run", write_job(tmp_path, values | {"auth": {"key_file": "key.json"}}))
    assert ended.status == 6, ended
    assert all(word in ended.err for word in words), ended
    assert "SECRETSECRET" not in said(ended)
    assert "Traceback" not in ended.err
    assert not mosaic.exists()


@pytest.mark.parametrize(
    ("project", "words"),
    [
        ("p-denied", ["p-denied", "serviceusage"]),
        ("p-disabled", ["earthengine", "project=", "has not been used"]),
        ("p-unregistered", ["p-unregistered", "not registered"]),
    ],
)
def test_6_projects(emulator, tmp_path, mosaic, values, project, words):
    ended = command("run", write_job(tmp_path, values), "--project", project)
    assert ended.status == 6, ended
    assert all(word in ended.err for word in words), ended
    assert not mosaic.exists()


def test_6_an_asset_that_others_own(emulator, tmp_path, values):
    ended = command(
        "run", write_job(tmp_path, values | {"source": {"asset": "projects/p-private-1/assets/secret"}})
    )
    assert ended.status in (2, 6), ended
    assert "projects/p-private-1/assets/secret" in ended.err


def test_6_a_token_that_nobody_gave(emulator, tmp_path, values):
    values = values | {"auth": {"access_token_env": "BAD_TOKEN"}}
    ended = command("run", write_job(tmp_path, values), env={"BAD_TOKEN": "ya29.not-a-token"})
    assert ended.status == 6, ended
    assert "ya29.not-a-token" not in said(ended)


def test_6_no_credentials_at_all(emulator, tmp_path, values):
    del values["auth"]
    ended = cli(
        "run", write_job(tmp_path, values), env={"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)}
    )
    assert ended.status == 6, ended
    assert "auth.key_file" in ended.err
    assert "GOOGLE_APPLICATION_CREDENTIALS" in ended.err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_interrupted(emulator, tmp_path, mosaic, values, number, status):
    emulator.control("configure", {"latency_ms": 300})
    with running("run", write_job(tmp_path, values | {"limits": {"concurrency": 2}})) as process:
        wait_until(lambda: ledger_lines(mosaic) > 2, process)
        process.send_signal(number)
        ended = end(process)
    assert ended.status == status, ended
    assert "interrupted" in said(ended)


def test_143_also_where_nothing_drains(tmp_path):
    """Before a run and in commands that only read, SIGTERM ends the process with the same status."""
    with running("status", tmp_path / "m.zarr", "--watch") as process:
        wait_until(lambda: caught(process.pid) & 1 << signal.SIGTERM - 1, process)
        process.send_signal(signal.SIGTERM)
        ended = end(process)
    assert ended.status == 143, ended


def test_a_signal_while_the_process_ends_changes_no_status():
    """The interpreter takes signal handlers down before it is gone: the status would be that of a killed process."""
    program = """
import os, signal, sys
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)
last = Last()
from downloader.__main__ import main
sys.exit(main(["schema"]))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == 0, ended


def caught(pid):
    """Bits of the signals that a process handles."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_4_no_memory_or_no_threads(tmp_path, values, monkeypatch, capsys, error):
    def start(_thread):
        raise error

    monkeypatch.setattr("threading.Thread.start", start)
    assert main(["plan", str(write_job(tmp_path, values))]) == 4
    said = capsys.readouterr().err
    assert "limits.memory" in said
    assert len(said.splitlines()) == 1


def test_1_is_for_what_nobody_foresaw(emulator, tmp_path, values, monkeypatch):
    """An internal error keeps its traceback, which is what a bug report needs."""
    from downloader import exit_status

    assert exit_status(RuntimeError("unforeseen")) == 1
