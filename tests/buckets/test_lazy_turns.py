"""Lazy readers of a mosaic in a bucket, and others that write it: each waits for the other, and no tile is asked for twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import downloader
from downloader.errors import LockedError
from downloader.lazy import filler as fillers
from downloader.mosaic.record.paths import LEASE, LEASE_WANTED
from downloader.mosaic.storage import location
from downloader.mosaic.storage.lease import Lease
from downloader.mosaic.storage.location import locate
from tests import harness

STALLED = {"latency_ms": 600_000}


@pytest.fixture(autouse=True)
def no_session_outlives_a_test(emulator, monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(fillers, "_IDLE_S", 0.2)
    yield
    emulator.control("configure", {"latency_ms": 0})
    assert harness.wait_until(lambda: all(one._stop is None for one in fillers._FILLERS.values()))


@pytest.fixture
def lasts(monkeypatch):
    """Says how long leases last, here and in the runs that take its value as their environment."""

    def set_to(seconds: float) -> dict[str, str]:
        monkeypatch.setattr(location, "LASTS_S", seconds)
        return {"FAULTS": f"--lease {seconds}"}

    return set_to


def opened(cloud, job_file, **arguments):
    return downloader.open(str(job_file), chunks=None, **arguments)["B2"]


def right(values, size=700) -> None:
    harness.same_bits(values, harness.oracle_window(harness.QUICKSTART, "B2", 300, 300, size, size), "B2")


def lease_of(cloud) -> dict:
    return json.loads(bytes(cloud.store().get(LEASE)))


def wait_for_commit(cloud, process) -> None:
    harness.wait_until(lambda: cloud.ledger_puts() >= 2, process)


def test_a_reader_takes_what_a_run_writes_while_it_waits_for_the_lease(
    emulator, in_cloud, small, lasts
) -> None:
    env = {**in_cloud.env, **lasts(6000)}  # the reader looks at the lease every 250 s
    job_file = small(limits={"concurrency": 1})
    band = opened(in_cloud, job_file)
    assert harness.wait_until(lambda: not lease_of(in_cloud)["holder"])
    epoch = lease_of(in_cloud)["epoch"]
    with harness.running("run", job_file, env=env) as run, ThreadPoolExecutor(1) as pool:
        wait_for_commit(in_cloud, run)
        emulator.control("configure", STALLED)
        read = pool.submit(lambda: band.values)
        time.sleep(1.5)  # it waits for the lease by now; if not, the rest holds all the same
        assert not read.done()
        emulator.control("configure", {"latency_ms": 0})
        right(read.result(harness.PATIENCE_S))
        assert harness.end(run).status == 0
    assert lease_of(in_cloud)["epoch"] == epoch + 1, "the reader never had it"
    assert harness.repeated(emulator, (300, 300)) == 0


def test_a_reader_takes_over_from_a_run_that_was_killed(emulator, in_cloud, small, lasts) -> None:
    env = {**in_cloud.env, **lasts(2)}
    job_file = small(limits={"concurrency": 1})
    with harness.running("run", job_file, env=env) as run, ThreadPoolExecutor(1) as pool:
        wait_for_commit(in_cloud, run)
        emulator.control("configure", STALLED)
        read = pool.submit(lambda: opened(in_cloud, job_file).values)
        time.sleep(1.0)
        run.kill()
        run.wait()
        assert not read.done()
        emulator.control("configure", {"latency_ms": 0})
        right(read.result(harness.PATIENCE_S))
    assert harness.repeated(emulator, (300, 300)) <= 2 * 2, "what was under way: one request of two bands"
    assert lease_of(in_cloud)["epoch"] == 2


def test_a_run_takes_over_from_a_reader_that_was_killed(emulator, in_cloud, small, lasts, tmp_path) -> None:
    env = {**in_cloud.env, **lasts(2)}
    job_file = small(limits={"concurrency": 1})
    script = f"import downloader; downloader.open({str(job_file)!r}, chunks=None)['B2'].values"
    reader = subprocess.Popen([sys.executable, "-c", script], env=harness.environment(**in_cloud.env))
    try:
        wait_for_commit(in_cloud, reader)
        emulator.control("configure", STALLED)
    finally:
        reader.kill()
        reader.wait()
    assert lease_of(in_cloud)["reads"]
    emulator.control("configure", {"latency_ms": 0})
    ended = harness.cli("run", job_file, env=env)
    assert ended.status == 0, ended
    assert harness.repeated(emulator, (300, 300)) <= 2 * 2
    assert harness.compare(in_cloud.copy_to(tmp_path / "copy"), column=300, row=300) > 0


def test_the_lease_goes_in_turns(emulator, in_cloud, small, lasts, monkeypatch) -> None:
    monkeypatch.setattr(fillers, "_TURN_S", 0)
    lasts(6)
    job_file = small(limits={"concurrency": 1}, region=harness.window(300, 300, 1500, 1200))
    band = opened(in_cloud, job_file)
    emulator.control("configure", STALLED)
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(lambda: band.values)
        assert harness.wait_until(lambda: len(harness.getpixels(emulator)) > 0)
        place = locate(in_cloud.url)
        other = place.lock(place.store())
        waiting = pool.submit(other.acquire)
        filler = fillers.filler_of(in_cloud.url)
        assert harness.wait_until(filler._mosaic.lock.is_wanted)
        assert bytes(in_cloud.store().get(LEASE_WANTED)) == b"%d" % lease_of(in_cloud)["epoch"]
        emulator.control("configure", {"latency_ms": 0})
        waiting.result(harness.PATIENCE_S)
        assert not other.took_over
        assert not read.done()
        assert len(harness.getpixels(emulator)) < 30
        other.release()
        values = read.result(harness.PATIENCE_S)
    harness.same_bits(values, harness.oracle_window(harness.QUICKSTART, "B2", 300, 300, 1500, 1200), "B2")
    assert harness.repeated(emulator, (300, 300)) == 0


def test_a_reader_loses_patience_with_a_run_that_lives(emulator, in_cloud, small, lasts, monkeypatch) -> None:
    lasts(1)
    job_file = small()
    band, patient = opened(in_cloud, job_file, wait=0.3), opened(in_cloud, job_file)
    assert harness.wait_until(lambda: not lease_of(in_cloud)["holder"])
    place = locate(in_cloud.url)
    run = place.lock(place.store())
    run.acquire()
    with pytest.raises(LockedError, match="another run is writing it"):
        _ = band[:100, :100].values
    tries: list[Lease] = []
    acquire = Lease.acquire
    monkeypatch.setattr(Lease, "acquire", lambda self: (tries.append(self), acquire(self))[1])
    time.sleep(1.0)
    assert len(tries) <= 1, "nobody wants it any more"
    assert harness.getpixels(emulator) == []
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(lambda: patient[:100, :100].values)
        assert harness.wait_until(lambda: len(tries) > 1)
        run.release()
        right(read.result(harness.PATIENCE_S), 100)


READ = """
import sys, downloader
band = downloader.open(sys.argv[1], chunks=None)["B2"]
for step in range(3):
    band[:, 100 * step : 300 + 100 * step].values
print("read", flush=True)
"""


def test_two_processes_read_side_by_side_and_one_is_killed(emulator, in_cloud, small, lasts) -> None:
    lasts(3)
    emulator.control("configure", {"latency_ms": 50})
    job_file = small(limits={"concurrency": 2})
    script = f"from downloader.mosaic.storage import location; location.LASTS_S = 3\n{READ}"
    env = harness.environment(**in_cloud.env)
    words = [sys.executable, "-c", script, str(job_file)]
    with (
        subprocess.Popen(words, env=env, stdout=subprocess.PIPE) as one,
        subprocess.Popen(words, env=env, stdout=subprocess.PIPE) as other,
    ):
        harness.wait_until(lambda: in_cloud.ledger_puts() >= 3, one)
        other.kill()
        assert one.communicate(timeout=harness.PATIENCE_S)[0] == b"read\n"
        assert one.wait() == 0
    right(opened(in_cloud, job_file).values)
    assert harness.repeated(emulator, (300, 300)) <= 2 * 2 * 2, (
        "what was under way: two requests of two bands"
    )
