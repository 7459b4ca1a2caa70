"""A run and who looks at it from another terminal; events as people and as programs read them."""

from __future__ import annotations

import json
import signal

import pytest

import downloader
from tests.harness import (
    cli,
    command,
    end,
    job,
    ledger_lines,
    running,
    secrets,
    wait_until,
    window,
    write_job,
)
from tests.terminal import on_terminal


@pytest.fixture
def slow(emulator, tmp_path):
    """A job of 9 requests, of which the emulator answers one a second until it is told to hurry."""
    emulator.control("configure", {"latency_ms": 1000})
    values = job(emulator, limits={"concurrency": 1}, region=window(0, 0, 768, 768), request={"tiles": 1})
    return write_job(tmp_path, values)


def events(text: str) -> list[dict]:
    """Each line as an object; every one has what every one must have."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "event", "message"} <= set(one) for one in found), text
    return found


# ---------------------------------------------------------------- status


def test_another_terminal_sees_how_the_run_is_doing(slow, tmp_path, emulator):
    mosaic = tmp_path / "mosaic.zarr"
    with running("run", slow) as process:
        assert wait_until(lambda: ledger_lines(mosaic) >= 1, process)
        document = command("status", slow, "--json").document
        assert document["run"]["pid"] == process.pid
        assert document["run"]["alive"]
        assert document["run"]["tiles"] == 9
        assert not document["complete"]
        text = command("status", mosaic).out
        assert f"run: process {process.pid}" in text
        status = downloader.run_status(mosaic)
        assert status.is_alive
        emulator.control("configure", {"latency_ms": 0})
        ended = end(process)
    assert ended.status == 0
    assert downloader.run_status(slow) is None
    after = command("status", slow, "--json").document
    assert after["complete"]
    assert after["run"] is None
    assert not (mosaic / ".downloader" / "heartbeat.json").exists()


def test_watch_goes_on_until_the_run_ends(slow, tmp_path, emulator):
    mosaic = tmp_path / "mosaic.zarr"
    with running("run", slow) as process:
        assert wait_until((mosaic / ".downloader" / "heartbeat.json").exists, process)
        with running("status", slow, "--watch", "--json") as watcher:
            first = watcher.stdout.readline()
            emulator.control("configure", {"latency_ms": 0})
            ended = end(process)
            seen = end(watcher)
    assert ended.status == seen.status == 0
    *states, last = [json.loads(line) for line in (first + seen.out).splitlines()]
    assert states
    assert all(one["run"]["tiles"] == 9 for one in states)
    assert last["complete"]
    assert last["run"] is None


def test_watch_may_come_before_the_run(slow, tmp_path, emulator):
    with running("status", slow, "--watch", "--json") as watcher:
        emulator.control("configure", {"latency_ms": 100})
        assert command("run", slow, "-q").status == 0
        seen = end(watcher)
    assert seen.status == 0, seen
    assert json.loads(seen.out.splitlines()[-1])["complete"]


def test_watch_without_a_run_says_so_and_ends(slow, tmp_path, monkeypatch):
    monkeypatch.setattr("downloader.cli.status._SOON_S", 0.0)
    assert command("run", slow, "-q", "--set", "limits.max_requests=1").status == 4
    ended = command("status", slow, "--watch")
    assert ended.status == 0
    assert "no run is under way" in ended.out


def test_a_killed_run_is_told_and_the_next_takes_its_place(slow, tmp_path, emulator):
    mosaic = tmp_path / "mosaic.zarr"
    with running("run", slow) as process:
        assert wait_until(lambda: ledger_lines(mosaic) >= 1, process)
        process.send_signal(signal.SIGKILL)
        end(process)
    emulator.control("configure", {"latency_ms": 0})
    assert "was killed about" in command("status", slow).out
    assert not downloader.run_status(slow).is_alive
    assert command("run", slow, "-q").status == 0
    assert downloader.run_status(slow) is None
    assert downloader.verify(mosaic).is_clean


def test_readers_are_not_disturbed_by_a_heartbeat(slow, tmp_path):
    import xarray

    mosaic = tmp_path / "mosaic.zarr"
    with running("run", slow) as process:
        assert wait_until((mosaic / ".downloader" / "heartbeat.json").exists, process)
        for _ in range(3):
            with xarray.open_dataset(mosaic, engine="zarr", consolidated=False) as found:
                assert "B4" in found


# ---------------------------------------------------------------- JSON lines


def test_everything_on_standard_error_is_an_object(emulator, tmp_path):
    values = job(emulator, region=window(0, 0, 1024, 1024))
    emulator.control("configure", {"faults": [{"fault": "html-503", "times": 2, "above_pixels": 1}]})
    ended = cli("run", write_job(tmp_path, values), "--log-format", "json", "-vv")
    assert ended.status == 0, ended
    found = events(ended.err)
    assert next(one["event"] for one in found if one["event"] not in {"phase", "log"}) == "started"
    assert found[-1]["event"] == "ended"
    assert (found[-1]["state"], found[-1]["tiles_stored"], found[-1]["tiles"]) == ("complete", 16, 16)
    assert any(one["event"] == "log" and "503" in one["message"] for one in found)
    assert "complete: 16 of 16 tiles" in ended.out
    for word in secrets(emulator.key_file):
        assert word not in ended.err.encode()


def test_errors_before_a_run_are_objects_too(tmp_path):
    ended = command("run", tmp_path / "no.yaml", "--log-format", "json")
    assert ended.status == 2
    (found,) = events(ended.err)
    assert (found["level"], found["event"], found["status"]) == ("error", "error", 2)
    assert "no.yaml" in found["message"]
    assert not command("run", tmp_path / "no.yaml").err.startswith("{"), "and no longer than for one command"


def test_the_environment_may_say_it(tmp_path):
    ended = command("run", tmp_path / "no.yaml", env={"DOWNLOADER_LOG_FORMAT": "json"})
    assert events(ended.err)


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        ({"fault": "concurrency-429", "times": 1, "above_pixels": 1}, "quota"),
        ({"fault": "memory-400", "times": 1, "above_pixels": 1}, "split"),
        ({"fault": "bad-request-400", "times": 2, "above_pixels": 1}, "failed"),
        ({"fault": "restricted", "times": 1}, "restricted"),
    ],
)
def test_what_happens_is_told_once(fault, event, emulator, tmp_path):
    values = job(emulator, region=window(0, 0, 1024, 1024))
    emulator.control("configure", {"faults": [{"on": "pixels", **fault}]})
    ended = command("run", write_job(tmp_path, values), "--log-format", "json")
    told = [one for one in events(ended.err) if one["event"] == event]
    assert len(told) == 1, ended
    assert told[0]["level"] == "warning"


# ---------------------------------------------------------------- the display


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_the_bar_keeps_to_its_line(columns, emulator, tmp_path):
    emulator.control("configure", {"latency_ms": 100})
    values = job(emulator, limits={"concurrency": 2}, region=window(0, 0, 1024, 1024), request={"tiles": 1})
    status, shown = on_terminal(
        "run", write_job(tmp_path, values), cwd=tmp_path, columns=columns, term="xterm-256color"
    )
    assert status == 0, shown
    drawn = [part for part in shown.replace("\r", "\n").split("\n") if " %" in part]
    assert drawn, shown
    assert max(len(_plain(part)) for part in drawn) <= columns


def _plain(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_credentials_found_are_told_as_an_event(emulator, tmp_path):
    values = job(emulator, region=window(0, 0, 256, 256), auth=None)
    ended = command(
        "run",
        write_job(tmp_path, values),
        "--log-format",
        "json",
        env={"GOOGLE_APPLICATION_CREDENTIALS": str(emulator.key_file)},
    )
    assert ended.status == 0, ended
    assert [one for one in events(ended.err) if one["event"] == "credentials"]
