"""Events worth a line, and how programs and other processes hear of a run."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import time

import pytest

from downloader.errors import Action, FetchProblem
from downloader.events import Ended, Failed, Flow, Notice, Retried, Split, Started, Stored
from downloader.planning import Estimate
from downloader.progress import tally as tally_module
from downloader.progress.heartbeat import Heartbeat, read_heartbeat
from downloader.progress.highlights import Highlights
from downloader.progress.jsonlines import JsonFormatter, json_line
from downloader.progress.terminal import Lines
from tests.fakes import make_plan_of

GROUP = make_plan_of((4, 4)).groups[0]
REQUESTS = [request for key in GROUP.shards() for request in GROUP.requests(key)]
ESTIMATE = Estimate(1, 1, 4, 16, 16, 16_000_000, 16_000_000, 1.0)


def problem(action: Action = Action.RETRY, cause: str = "503", **more: object) -> FetchProblem:
    return FetchProblem(action, cause, f"{cause} happened", **more)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# ---------------------------------------------------------------- notices


def test_events_travel_between_processes():
    notice = Notice("quota reached", "quota", "warning", {"cause": "429"})
    for event in (notice, Retried(REQUESTS[0], problem(), 1), Split(REQUESTS[0], problem(), (REQUESTS[1],))):
        assert pickle.loads(pickle.dumps(event)) == event
    assert str(notice) == "quota reached"
    assert Notice("plain").name == "notice"


def test_the_first_of_a_kind_is_told_and_again_after_a_while():
    said: list[Notice] = []
    clock = Clock()
    highlights = Highlights(said.append, clock)
    slow = problem(Action.SLOW, "429 concurrency", status=429)
    for _ in range(3):
        highlights(Retried(REQUESTS[0], slow, 1))
    highlights(Retried(REQUESTS[0], problem(Action.SLOW, "429 rate", limit="rate"), 1))
    highlights(Retried(REQUESTS[0], problem(), 1))
    assert [one.name for one in said] == ["quota", "quota"]
    assert "concurrency" in said[0].text
    assert "request rate" in said[1].text
    clock.now = 599.0
    highlights(Retried(REQUESTS[0], slow, 1))
    assert len(said) == 2
    clock.now = 1300.0
    highlights(Retried(REQUESTS[0], slow, 1))
    assert len(said) == 3


def test_splits_and_failures_are_told_by_cause():
    said: list[Notice] = []
    highlights = Highlights(said.append)
    memory, timed = problem(Action.SPLIT, "400 memory"), problem(Action.SPLIT, "400 timed out")
    highlights(Split(REQUESTS[0], memory, (REQUESTS[1], REQUESTS[2])))
    highlights(Split(REQUESTS[1], memory, (REQUESTS[1], REQUESTS[2])))
    highlights(Split(REQUESTS[1], timed, (REQUESTS[1], REQUESTS[2])))
    highlights(Split(REQUESTS[1], problem(Action.SPLIT, "split ahead"), (REQUESTS[1],), attempts=0))
    highlights(Failed(REQUESTS[0], problem(Action.FAIL_TILE, "400")))
    highlights(Failed(REQUESTS[1], problem(Action.FAIL_TILE, "400")))
    highlights(Stored(REQUESTS[0], 1000, 0.1))
    assert [(one.name, one.fields["cause"]) for one in said] == [
        ("split", "400 memory"),
        ("split", "400 timed out"),
        ("failed", "400"),
    ]
    assert str(REQUESTS[0]) in said[2].text


# ---------------------------------------------------------------- JSON lines


def lines(out: io.StringIO) -> list[dict]:
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert all({"time", "level", "event", "message"} <= set(one) for one in found)
    return found


def test_json_lines_hold_start_progress_and_events():
    out = io.StringIO()
    watcher = Lines(out, every_s=0.0, line=json_line)
    watcher(Started(ESTIMATE, 3))
    watcher(Flow(4, 40))
    watcher(Stored(REQUESTS[0], 5_000, 0.1))
    watcher(Notice("an outage", "outage", "warning", {"cause": "reset"}))
    watcher(Notice("a plain line\x1b[31m\n"))
    started, progress, outage, plain = lines(out)
    assert (started["event"], started["tiles"], started["stored"]) == ("started", 16, 3)
    assert (progress["event"], progress["tiles_now"], progress["tiles"], progress["wire_bytes"]) == (
        "progress", 4, 16, 5_000,
    )  # fmt: skip
    assert (progress["in_flight"], progress["ceiling"]) == (4, 40)
    assert (outage["level"], outage["event"], outage["cause"]) == ("warning", "outage", "reset")
    assert plain["event"] == "notice"
    assert "\x1b" not in out.getvalue()


def test_the_log_speaks_the_same_form():
    record = logging.LogRecord("downloader.x", logging.WARNING, "f", 1, "so %s", ("it is",), None)
    document = json.loads(JsonFormatter().format(record))
    assert (document["level"], document["event"], document["message"]) == ("warning", "log", "so it is")


# ---------------------------------------------------------------- the file


@pytest.fixture
def file(tmp_path):
    return tmp_path / "heartbeat.json"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(tally_module.time, "monotonic", clock)
    return clock


def test_the_file_says_how_the_run_is_doing(file, clock):
    heartbeat = Heartbeat(file)
    heartbeat(Started(ESTIMATE, 2))
    first = read_heartbeat(file)
    assert (first.tiles, first.tiles_now, first.seconds_left) == (16, 2, None)
    assert first.is_alive
    clock.now = 0.5
    heartbeat(Stored(REQUESTS[0], 1_000_000, 0.1))
    assert read_heartbeat(file) == first, "not more often than once a second"
    clock.now = 2.0
    heartbeat(Notice("the quota is reached", "quota"))
    heartbeat(Flow(3, 8))
    clock.now = 4.0
    heartbeat(Retried(REQUESTS[1], problem(), 1))
    now = read_heartbeat(file)
    assert (now.tiles_now, now.wire_bytes, now.retries) == (3, 1_000_000, {"503": 1})
    assert now.bytes_per_second == 250_000
    assert now.seconds_left == pytest.approx(13 * (4 + 0.7 / 16) / 1.7, abs=0.1), (
        "the plan's estimate counts as well"
    )
    assert now.notice == "the quota is reached"
    assert (now.pid, now.host) == (os.getpid(), socket.gethostname())
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    heartbeat(Ended("complete"))
    assert list(file.parent.iterdir()) == [], "a run that ends removes its file"


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path):
    heartbeat = Heartbeat(tmp_path / "gone" / "heartbeat.json")
    heartbeat(Started(ESTIMATE, 0))
    heartbeat(Stored(REQUESTS[0], 1, 0.1))
    heartbeat(Ended("complete"))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_is_told_from_one_that_goes_on(file):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    heartbeat = Heartbeat(file)
    heartbeat(Started(ESTIMATE, 0))
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"pid": gone.pid}))
    dead = read_heartbeat(file)
    assert not dead.is_alive
    assert "was killed about" in str(dead)
    file.write_text(json.dumps(document | {"heard": time.time() - 3600}))
    assert not read_heartbeat(file).is_alive, "another process has its number by now"
    file.write_text(json.dumps(document | {"host": "elsewhere", "pid": gone.pid}))
    assert read_heartbeat(file).is_alive
    file.write_text(json.dumps(document | {"host": "elsewhere", "heard": time.time() - 3600}))
    assert not read_heartbeat(file).is_alive


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"pid": 1}', b"\xff" * 100, b"[" * 70_000]
)
def test_a_damaged_file_is_none(file, content):
    file.write_bytes(content)
    assert read_heartbeat(file) is None


def test_the_line_begins_with_what_matters_and_fits(file, clock):
    heartbeat = Heartbeat(file)
    heartbeat(Started(Estimate(1, 1, 10, 1_000_000, 10**6, 10**12, 10**12, 1.0), 0))
    heartbeat(Stored(REQUESTS[0], 250_000_000, 0.1))
    clock.now = 10.0
    heartbeat(Flow(40, 40))
    heartbeat(Retried(REQUESTS[0], problem(), 1))
    line = read_heartbeat(file).line
    assert line.startswith("0 %, ")
    assert " left, 25.0 MB/s, 40/40 in flight" in line
    assert "1 retry" in line
    assert len(line) < 80


def test_a_pipe_in_the_place_of_a_heartbeat_keeps_nobody_waiting(tmp_path):
    file = tmp_path / "heartbeat.json"
    os.mkfifo(file)
    os.mkfifo(tmp_path / "heartbeat.json#0")
    assert read_heartbeat(file) is None
    Heartbeat(file)(Started(ESTIMATE, 0))
    assert read_heartbeat(file) is None
