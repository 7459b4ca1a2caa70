"""The ten states of a run on a terminal: what each says, and that nothing wraps or stays behind.

What is drawn while tiles come is looked at in 80 and in 160 columns, of which the wider one has a strip of tiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from earthengine_emulator import EmulatorProcess
from tests.harness import ASSET, getpixels, job, window, write_job
from tests.terminal import Screen

BAR = re.compile(r"\d+ % .* (?P<figures>\d/\d in flight.*)")


@pytest.fixture
def columns() -> int:
    return 80


@pytest.fixture
def run(emulator: EmulatorProcess, tmp_path: Path, columns: int) -> Callable[[], Screen]:
    """Start a run of 64 tiles on a terminal; called again, the same job."""
    values = job(
        emulator, tmp_path / "m.zarr", region=window(0, 0, 2048, 2048), request={"tiles": 1},
        limits={"concurrency": 4, "retries": 1},
    )  # fmt: skip
    file = write_job(tmp_path, values)
    return lambda: Screen("run", file, cwd=tmp_path, columns=columns)


def settled(screen: Screen) -> tuple[int, str]:
    """Return exit status and text at the end, its lines joined: of what was redrawn nothing is left."""
    status, lines = screen.end()
    for frame in screen.frames:
        assert sum("in flight" in line for line in frame) <= 1, "a bar stayed behind\n" + "\n".join(frame)
    text = "\n".join(lines)
    assert not re.search("in flight|[━⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏█░]", text), text
    assert "Traceback" not in text
    return status, " ".join(line.strip() for line in lines)


def bar_of(lines: list[str]) -> str:
    return next(line for line in lines if "in flight" in line)


@pytest.mark.parametrize("columns", [80, 160])
def test_from_a_silent_service_to_a_run_that_drains(
    emulator: EmulatorProcess, run: Callable[[], Screen], columns: int
) -> None:
    emulator.control("configure", {"latency_ms": 1500})
    with run() as screen:
        waiting = screen.until("asking 127.0.0.1", "  2 s")
        assert len(waiting) == 1, "waiting for a silent service: the seconds go on"
        emulator.control("configure", {"latency_ms": 200})
        assert screen.until("64 tiles in 64 requests, 33.6 MB, about"), "start: what it costs"
        lines = screen.until("MB/s", "left", "/64 tiles")
        assert BAR.search(bar_of(lines)), "running"
        strip = [line for line in lines if re.fullmatch("[█▓▒░·]+", line)]
        assert len(strip) == (columns >= 120), "wide terminals show the tiles"
        emulator.control("configure", {"faults": [{"fault": "concurrency-429", "times": 6}]})
        screen.until("quota of concurrency reached (429 concurrency)", "retries")
        emulator.control("configure", {"latency_ms": 1500})
        screen.press_ctrl_c()
        draining = screen.until("finishing what is under way, 20 s at most; Ctrl-C again stops at once")
        assert bar_of(draining)
        status, text = settled(screen)
    assert status == 130
    assert re.search(r"interrupted: \d+ of 64 tiles, \d+ missing", text)
    assert re.search(r"stopped by Ctrl-C: \d+ of 64 tiles are saved; run the job again to continue", text)
    assert "slowing down to the rate the service allows" in text


def test_a_second_ctrl_c_and_a_resumed_run_that_another_finds_locked(
    emulator: EmulatorProcess, run: Callable[[], Screen]
) -> None:
    emulator.control("configure", {"latency_ms": 1500})
    with run() as screen:
        screen.until("4/4 in flight")
        screen.press_ctrl_c()
        screen.until("Ctrl-C again stops at once")
        before = len(getpixels(emulator))
        screen.press_ctrl_c()
        status, text = settled(screen)
    assert status == 130
    assert "stopped by Ctrl-C" in text
    assert len(getpixels(emulator)) - before <= 4, "nothing more was asked for"
    emulator.control("configure", {"latency_ms": 2000})
    with run() as screen:
        screen.until("in flight")
        with run() as other:
            locked = settled(other)
        emulator.control("configure", {"latency_ms": 50})
        assert locked[0] == 5
        assert re.search(
            r"another run is writing it \(process \d+ on .*\); wait for its end, or stop it", locked[1]
        )
        status, text = settled(screen)
    assert status == 0
    assert "complete: 64 of 64 tiles in" in text
    with run() as screen:
        assert settled(screen)[1].startswith("64 tiles: all are stored already complete: 64 of 64 tiles")


def test_failures_and_the_run_that_resumes(emulator: EmulatorProcess, run: Callable[[], Screen]) -> None:
    emulator.control("configure", {"faults": [{"fault": "bad-request-400", "covers": [400, 400]}]})
    with run() as screen:
        status, text = settled(screen)
    assert status == 3
    assert "failed: " in text, "said at once"
    assert re.search(r"incomplete: 63 of 64 tiles, 1 failed", text)
    emulator.control("configure", {"faults": [], "latency_ms": 300})
    with run() as screen:
        assert screen.until("1 of 64 tiles left to fetch in 1 request")
        status, text = settled(screen)
    assert status == 0
    assert "complete: 64 of 64 tiles" in text


def test_commands_that_wait_for_a_silent_service_say_so(
    emulator: EmulatorProcess, tmp_path: Path, columns: int
) -> None:
    emulator.control("configure", {"latency_ms": 4000})
    where = ("--endpoint", emulator.url, "--key-file", emulator.key_file)
    with Screen("inspect", ASSET, *where, cwd=tmp_path, columns=columns) as screen:
        screen.until("asking Earth Engine  2 s")
        emulator.control("configure", {"latency_ms": 0})
        status, text = settled(screen)
    assert status == 0
    assert "asking" not in text
