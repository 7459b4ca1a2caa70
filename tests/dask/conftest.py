"""A Dask cluster of two worker processes for each test process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import harness

SILENCE_S = 2.0
"""After which workers leave whose run is silent; the default is longer than a test should take."""


@dataclass
class DaskProcesses:
    """A scheduler and what starts workers, each process in a group of its own."""

    address: str
    scheduler: subprocess.Popen
    workers: subprocess.Popen

    @property
    def executor(self) -> dict:
        """The section of a job file."""
        return {"dask": {"scheduler": self.address}}

    @property
    def impatient(self) -> dict:
        """The section, with workers that soon leave a run which is silent."""
        return {"dask": {"scheduler": self.address, "leave_after": SILENCE_S}}

    def pids(self) -> list[int]:
        """Of the worker processes that are there now."""
        words = ["pgrep", "-P", str(self.workers.pid), "-f", "spawn_main"]
        found = subprocess.run(words, check=False, capture_output=True, text=True).stdout.split()
        return [int(pid) for pid in found]

    def kill_a_worker(self) -> None:
        """SIGKILL; what started it starts another."""
        os.kill(self.pids()[0], signal.SIGKILL)


@contextlib.contextmanager
def dask_processes(folder: Path, workers: int = 2) -> Iterator[DaskProcesses]:
    """A scheduler and workers on this machine, as a user starts them; they end with the block."""
    env = harness.environment(PYTHONWARNINGS="ignore", AWS_EC2_METADATA_DISABLED="true")
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    place = folder / "scheduler.json"
    own = [sys.executable, "-m", "dask"]
    # --port 0: any free one; the file says which.
    words = [
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(place),
    ]
    scheduler = subprocess.Popen([*own, *words], cwd=folder, env=env, **quiet)
    started = [scheduler]
    try:
        harness.wait_until(place.exists, scheduler)
        harness.wait_until(lambda: place.read_text().rstrip().endswith("}"), scheduler)
        import json

        address = json.loads(place.read_text())["address"]
        words = [
            "worker",
            address,
            "--nworkers",
            str(workers),
            "--nthreads",
            "1",
            "--no-dashboard",
            "--memory-limit",
            "0",
        ]
        started.append(subprocess.Popen([*own, *words], cwd=folder, env=env, **quiet))
        yield DaskProcesses(address, scheduler, started[-1])
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory):
    """One that all tests of this process use; it also survives a killed worker."""
    with dask_processes(tmp_path_factory.mktemp("dask")) as processes:
        yield processes
