"""Rows 41 to 49, and 61 to 67 of our own: what happens to the process."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from tests import harness
from tests.chaos.kit import TILES, TWO
from tests.forkserver import Forked

BOUND = harness.Duplicates(concurrency=8, requests_per_shard=1, tiles_per_shard=1, bands=len(TWO))


def test_row_41_sigkill_many_times_in_a_row(lab):
    """Killed at random moments, from the first import on; each rerun goes on where the last one was."""
    dice = random.Random(41)
    side = 1500
    lab.job(side, limits={"concurrency": 4})
    bound = harness.Duplicates(concurrency=4, requests_per_shard=1, tiles_per_shard=1, bands=len(TWO))
    lab.faults(latency_ms=100)
    kills = 0
    for _ in range(6):
        process = lab.start()
        if dice.random() < 0.25:
            time.sleep(dice.uniform(0.1, 1.0))
            process.kill()
        else:
            lab.kill_at(dice.randint(1, 7), process)
        kills += lab.end(process).status == -9
    run = lab.heal(side)
    assert kills >= 4
    assert lab.duplicates <= bound.allowed(kills)
    assert run.report["tiles_before"] > 0


@pytest.mark.parametrize("place", ["put=4", "stage=5", "flush=3", "line=4", "torn=4"])
def test_row_41_killed_between_two_steps_of_a_commit(lab, place):
    """The instants that a random kill seldom meets: each leaves a mosaic whose rerun is right."""
    lab.faults(latency_ms=30)
    died = lab.run(wrapped=["--die", place], status=-signal.SIGKILL)
    assert died.report == {}
    lab.heal()
    assert lab.duplicates <= BOUND.allowed(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_row_42_one_signal_drains(lab, number):
    lab.job(2000)
    lab.faults(latency_ms=200)
    process = lab.start()
    lab.kill_at(6, process, number)
    run = lab.end(process)
    assert run.status == 128 + number
    assert run.report["state"] == "interrupted"
    assert "run the job again to continue" in run.said
    assert lab.stored_tiles_are_right(2000) == run.report["tiles_stored"] > 0
    assert harness.leftovers(lab.mosaic) == []
    lab.heal(2000)
    assert lab.duplicates == 0, "what was in flight when the signal came was finished and saved"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_row_42_two_signals_stop_now(lab, number):
    lab.job(2000)
    lab.faults({"fault": "stall-before-headers", "skip": 12})
    process = lab.start()
    harness.wait_until(lambda: lab.requests() > 12 + 2, process)  # some are stalled: nothing ends by itself
    process.send_signal(number)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(number)
    run = lab.end(process)
    assert run.status == 128 + number
    assert time.monotonic() - began < 5, "the second signal waits for no answer"
    assert lab.stored_tiles_are_right(2000) == run.report["tiles_stored"]
    assert harness.leftovers(lab.mosaic) == []


def test_row_42_a_signal_before_the_first_pixel(lab):
    """While the service does not even answer for the metadata, Ctrl-C still ends the run, at once."""
    lab.faults({"fault": "stall-before-headers", "on": "asset"})
    process = lab.start()
    harness.wait_until(lambda: lab.requests("assets.get") > 0, process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    run = lab.end(process)
    assert run.status == 130
    assert time.monotonic() - began < 5
    assert not lab.mosaic.exists()


def test_row_43_two_runs_started_together(lab):
    lab.job(2000)
    lab.faults(latency_ms=100)
    first = lab.start()
    second = Forked(
        [*lab.command()[:5]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=harness.ROOT,
        env=harness.environment(),
        text=True,
    )
    ended = sorted([lab.end(first), lab.end(second)], key=lambda run: run.status)
    assert [run.status for run in ended] == [0, 5]
    assert "another run is writing it (process " in ended[1].said
    lab.right(side=2000)
    assert lab.duplicates == 0


def test_row_43_the_lock_of_a_dead_run_is_taken_over(lab):
    lab.faults(latency_ms=100)
    process = lab.start()
    lab.kill_at(2, process)
    assert lab.end(process).status == -9
    assert (lab.mosaic / ".downloader" / "lock").exists()
    lab.heal()


def test_row_43_a_paused_run_keeps_its_lock(lab):
    lab.job(1500)
    lab.faults(latency_ms=100)
    process = lab.start()
    lab.kill_at(3, process, signal.SIGSTOP)
    try:
        second = lab.run(status=5)
        assert "another run is writing it" in second.said
    finally:
        process.send_signal(signal.SIGCONT)
    assert lab.end(process).status == 0
    lab.right(side=1500)


def test_row_43_a_paused_run_wakes_after_its_mosaic_was_taken(lab):
    """Somebody deleted the mosaic and made it anew: the woken run stops with 5 and changes nothing of it."""
    lab.job(1500)
    lab.faults(latency_ms=1000)
    process = lab.start()
    lab.pause(3, process)
    try:
        shutil.rmtree(lab.mosaic)
        lab.faults(latency_ms=0)
        lab.run()
        before = harness.snapshot(lab.mosaic)
    finally:
        process.send_signal(signal.SIGCONT)
    woken = lab.end(process)
    assert woken.status == 5, woken
    assert "moved, deleted or unmounted while this run was writing" in woken.said
    assert harness.snapshot(lab.mosaic) == before
    lab.right(side=1500)


def test_row_44_clock_jumps_ahead(lab):
    """More than any time-out at once: nothing was too late, so nothing is asked twice."""
    lab.job(1500)
    lab.faults(latency_ms=200)
    run = lab.run(wrapped=["--clock", "4000@2.5"])
    lab.right(side=1500)
    assert not {"no first byte", "stalled", "too slow"} & set(run.retries), run
    assert lab.duplicates == 0


def test_row_44_event_loop_blocked(lab):
    """Longer than the idle time-out."""
    lab.job(1500, request={"timeout": "1s"})
    lab.faults(latency_ms=150)
    run = lab.run(wrapped=["--block", "3@1", "--patience", "1"])
    lab.right(side=1500)
    assert not {"no first byte", "stalled", "too slow"} & set(run.retries), run


def test_row_44_wall_clock_set_back_between_runs(lab):
    """Ledger files are named by time: those of a later run come first then, and the truth must still win."""
    lab.faults({"fault": "bad-request-400", "covers": [400, 400]})
    lab.run(status=3)
    (ledger,) = (lab.mosaic / ".downloader" / "ledger").iterdir()
    ledger.rename(ledger.with_name("29990101T000000.000000-00000000.jsonl"))
    first = lab.heal()
    assert first.report["tiles_failed"] == 0
    again = lab.run()
    assert again.report["tiles_failed"] == 0
    assert again.report["tiles_stored"] == TILES


def test_row_45_memory_smaller_than_one_shard(lab):
    lab.job(10980, ("B2", "B3", "B4", "B8"), limits={"memory": "128MiB"}, region={})
    run = lab.run(status=2)
    assert "is too little for one shard; at least" in run.said
    assert "MiB are needed" in run.said
    assert harness.getpixels(lab.emulator) == []
    assert not lab.mosaic.exists()


def test_row_47_output_piped_into_nothing(lab):
    """`downloader run job.yaml 2>&1 | true`: the job is worth more than its words."""
    reading, writing = os.pipe()
    os.close(reading)
    process = lab.start(stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait(harness.PATIENCE_S) == 0
    lab.right()


def test_row_47_output_closed_and_tiles_failed(lab):
    """The exit status tells the truth also when nobody reads the report."""
    lab.faults({"fault": "bad-request-400", "covers": [400, 400]})
    reading, writing = os.pipe()
    os.close(reading)
    process = lab.start(stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait(harness.PATIENCE_S) == 3


@pytest.mark.parametrize(("columns", "color"), [(20, {}), (200, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})])
def test_row_47_terminals(lab, columns, color):
    """A narrow window, no colour, a terminal that can do nothing."""
    lab.faults(latency_ms=100)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = lab.start(stdout=follower, stderr=follower, env={"TERM": "xterm-256color", **color})
    os.close(follower)
    shown = bytearray()

    def read():
        try:
            while data := os.read(leader, 65536):
                shown.extend(data)
        except OSError:
            pass  # the terminal's other end is gone: the process ended

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(harness.PATIENCE_S) == 0
    reader.join(harness.PATIENCE_S)
    os.close(leader)
    assert b"complete: 9 of 9 tiles" in b" ".join(shown.split()), "in lines of the terminal's width"
    assert b"Traceback" not in shown
    if color:
        assert b"\x1b[3" not in shown, "no colours where none are wanted"


def test_row_47_terminal_closed(lab):
    """The window of a running job is closed: SIGHUP, and nothing to write to. It drains as for any signal."""
    lab.job(2000)
    lab.faults(latency_ms=200)
    leader, follower = pty.openpty()

    def of_its_own():
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

    process = lab.start(stdout=follower, stderr=follower, preexec_fn=of_its_own)
    os.close(follower)
    lab.kill_at(5, process, signal.SIGCONT)
    os.close(leader)
    assert process.wait(harness.PATIENCE_S) == 128 + signal.SIGHUP
    report = json.loads((lab.folder / "report.json").read_text())
    assert report["state"] == "interrupted"
    assert lab.stored_tiles_are_right(2000) == report["tiles_stored"] > 0
    assert harness.leftovers(lab.mosaic) == []


def test_row_47_nohup(lab):
    """A SIGHUP that is ignored stays ignored."""
    lab.job(1500)
    lab.faults(latency_ms=100)
    process = lab.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    lab.kill_at(3, process, signal.SIGHUP)
    assert lab.end(process).status == 0
    lab.right(side=1500)


def test_row_48_suspended_while_the_token_ran_out(lab):
    """Stopped in mid-job; meanwhile every connection is cut and every token expires: it goes on."""
    lab.job(1500)
    lab.faults(latency_ms=200)
    process = lab.start()
    lab.kill_at(3, process, signal.SIGSTOP)
    time.sleep(0.3)
    lab.emulator.control("expire", {})
    lab.emulator.control("outage", {"seconds": 1.0})
    time.sleep(2.0)
    process.send_signal(signal.SIGCONT)
    run = lab.end(process)
    assert run.status == 0, run
    lab.right(side=1500)
    assert lab.requests("token") == 2, "one renewal for all workers"


def test_row_49_a_file_system_without_locks(lab):
    run = lab.run(wrapped=["--no-locks"], status=5)
    assert "no locks that die with their process" in run.said
    assert harness.getpixels(lab.emulator) == []


def test_row_49_slow_renames(lab):
    lab.run(wrapped=["--disk", "slow=0.2"])
    lab.right()


def test_row_61_mosaic_moved_between_runs(lab):
    """Paths in a mosaic are relative: after a move the rerun goes on, and fetches only what is missing."""
    lab.faults(latency_ms=100)
    process = lab.start()
    lab.kill_at(4, process)
    lab.end(process)
    moved = lab.folder / "elsewhere" / "renamed.zarr"
    moved.parent.mkdir()
    lab.mosaic.rename(moved)
    lab.job(path=moved)
    run = lab.run()
    assert run.report["tiles_before"] >= 3
    lab.right(moved)


def test_row_62_mosaic_deleted_under_a_running_job(lab):
    """It ends, says so, and does not build half a mosaic where one was."""
    lab.job(1500)
    lab.faults(latency_ms=1000)
    process = lab.start()
    lab.pause(3, process)
    shutil.rmtree(lab.mosaic)
    process.send_signal(signal.SIGCONT)
    run = lab.end(process)
    assert run.status == 5, run
    assert "moved, deleted or unmounted while this run was writing" in run.said
    assert not (lab.mosaic / "zarr.json").exists()
    lab.heal(1500)


@pytest.mark.parametrize("lines", [1, 3, 6])
def test_row_69_mosaic_moved_under_a_running_job(lab, lines):
    """Nothing is built at the old path, whatever is being written; moved back, the same command goes on."""
    lab.job(1500)
    lab.faults(latency_ms=300)
    process = lab.start()
    lab.pause(lines, process)
    away = lab.mosaic.with_name("elsewhere")
    lab.mosaic.rename(away)
    process.send_signal(signal.SIGCONT)
    run = lab.end(process)
    assert run.status == 5, run
    assert "moved, deleted or unmounted while this run was writing" in run.said
    assert not lab.mosaic.exists()
    away.rename(lab.mosaic)
    lab.heal(1500)


def test_row_63_no_file_descriptors_left(lab):
    """A job asks for more connections than the process may have: it slows down or ends clearly, nothing is wrong."""

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    lab.job(2000, limits={"concurrency": 40, "give_up_after": "8s"})
    lab.faults(latency_ms=100)
    run = lab.end(lab.start(preexec_fn=limit))
    assert run.status in (0, 3, 4), run
    lab.heal(2000)


def test_row_64_report_cannot_be_written(lab):
    """The pixels are what matters: they are saved, and the status says what became of them."""
    process = lab.start("--report", lab.folder / "gone" / "report.json")
    run = lab.end(process)
    assert run.status == 2
    assert "the folder" in run.said
    (lab.folder / "gone").mkdir()
    lab.faults(latency_ms=100)
    process = lab.start("--report", lab.folder / "gone" / "report.json")
    lab.kill_at(2, process, signal.SIGCONT)
    (lab.folder / "gone").rmdir()
    run = lab.end(process)
    assert run.status == 0
    assert "gone/report.json" in run.said
    lab.right()


def test_row_65_key_file_deleted_in_mid_job(lab):
    """The key was read once: a token that runs out later is renewed all the same."""
    key = lab.folder / "own-key.json"
    shutil.copy(lab.emulator.key_file, key)
    lab.job(1500, auth={"key_file": str(key)})
    lab.faults(latency_ms=100)
    process = lab.start()
    lab.kill_at(3, process, signal.SIGCONT)
    key.unlink()
    lab.emulator.control("expire", {})
    assert lab.end(process).status == 0
    lab.right(side=1500)


def test_row_66_staged_files_of_a_dead_run_are_swept(lab):
    lab.run()
    stale = lab.mosaic / "B2" / "c" / "0" / "1#1"
    stale.write_bytes(b"half a shard")
    (lab.mosaic / "zarr.json#3").write_bytes(b"{")
    lab.run()
    lab.right()


def test_row_67_one_mosaic_under_two_names(lab):
    """A symbolic link is no second mosaic: the lock is the same."""
    lab.job(1500)
    lab.faults(latency_ms=200)
    process = lab.start()
    lab.kill_at(2, process, signal.SIGSTOP)
    (lab.folder / "alias").symlink_to(lab.folder)
    second = lab.run(
        "--set", f"mosaic.path={json.dumps(str(lab.folder / 'alias' / 'mosaic.zarr'))}", status=5
    )
    assert "another run is writing it" in second.said
    process.send_signal(signal.SIGCONT)
    assert lab.end(process).status == 0
    lab.right(side=1500)
    assert lab.duplicates == 0


@pytest.mark.slow
def test_row_45_lists_of_images_count_as_memory(lab):
    """A limit that is accepted holds by the kernel's count: for a first run, a rerun, and their reports."""
    values = harness.job(
        lab.emulator,
        lab.mosaic,
        source={"collection": "COPERNICUS/MANY", "start": "2017-01-01", "end": "2018-01-01", "bands": ["B2"]},
        region={"bbox": [560000, 4176000, 564000, 4180000], "crs": "EPSG:32610"},
        service={"endpoint": "http://127.0.0.1:9", "project": "my-project"},
        auth="none",
        limits={"memory": "128MiB", "max_requests": 20},
    )
    lab.job_file = harness.write_job(lab.folder, values)

    def run(*arguments: object) -> tuple[str, int]:
        module = [sys.executable, "-m", "tests.chaos.many_images", "run", str(lab.job_file), "--yes"]
        process = subprocess.Popen(
            [*module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=harness.ROOT,
            env=harness.environment(IMAGES="2000"),
            text=True,
        )
        said = harness.end(process).out
        return said, int(said.rpartition("greatest size ")[2])

    said, _ = run()
    assert "one shard beside the list of 2,000 images" in said
    enough = int(re.search(r"at least (\d+) MiB are needed", said)[1])
    for _ in range(2):
        page = lab.folder / "report.html"
        said, size = run("--report", str(page), "--set", f"limits.memory={enough}MiB")
        assert "stopped: " in said
        assert page.exists()
        assert size <= enough * 2**20
