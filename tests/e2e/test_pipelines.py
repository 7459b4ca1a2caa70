"""The examples for pipelines as they stand: a shell script for cron, steps for a workflow engine, a typed program."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio

import downloader
from downloader.mosaic.storage.lock import FileLock
from tests.harness import ROOT, environment, job, window, write_job

EXAMPLES = ROOT / "configs" / "pipelines"


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with `downloader` on the path."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "downloader").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m downloader "$@"\n')
    (tools / "downloader").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nightly(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", EXAMPLES / "nightly.sh", file], env=environment(), capture_output=True, text=True, check=False
    )


def small(emulator, folder: Path, **sections: object) -> Path:
    return write_job(
        folder, job(emulator, folder / "m.zarr", **{"region": window(0, 0, 600, 520), **sections})
    )


def test_cron_hears_only_of_what_somebody_has_to_do(emulator, at_home):
    file = small(emulator, at_home)
    done = nightly(file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert downloader.status(at_home / "m.zarr").is_complete
    assert (at_home / "job.report.json").exists()
    # Last night's run is still at it: nobody's business.
    lock = FileLock(at_home / "m.zarr/.downloader/lock", "m.zarr")
    lock.acquire()
    busy = nightly(file)
    lock.release()
    assert (busy.returncode, busy.stdout) == (0, "")
    # A limit of the job was reached: the next run goes on.
    limits = {"max_requests": 2}
    half = nightly(
        small(emulator, at_home, limits=limits, request={"tiles": 1}, mosaic={"path": "half.zarr"})
    )
    assert (half.returncode, half.stdout) == (0, "")
    assert 0 < downloader.status(at_home / "half.zarr").groups[""].stored < 9
    wrong = nightly(
        small(emulator, at_home, source={"asset": job(emulator)["source"]["asset"], "bands": ["B99"]})
    )
    assert wrong.returncode == 2
    assert "has no band 'B99'" in wrong.stdout


def test_the_steps_of_a_flow_are_plain_functions(emulator, at_home):
    spec = importlib.util.spec_from_file_location("flow", EXAMPLES / "flow.py")
    flow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flow)
    file = small(emulator, at_home, source={"asset": job(emulator)["source"]["asset"], "bands": ["B2", "B8"]})
    for _ in range(2):
        assert flow.season(str(file), "out") == ["out/B2.tif", "out/B8.tif"]
    with rasterio.open("out/B8.tif") as dataset:
        assert dataset.shape == (520, 600)
    assert flow.worth_a_retry(downloader.StoppedError("quota"))
    assert flow.worth_a_retry(downloader.LockedError("busy"))
    assert not flow.worth_a_retry(downloader.JobError("wrong"))
    if importlib.util.find_spec("prefect") is None:
        with pytest.raises(ModuleNotFoundError, match="prefect"):
            flow.flow_of()


def test_a_typed_program_is_checked(tmp_path):
    mypy = shutil.which("mypy", path=Path(sys.executable).parent)
    if mypy is None:
        pytest.skip("mypy is not installed")
    done = subprocess.run(
        [mypy, "--config-file", ROOT / "pyproject.toml", ROOT / "tests/docs/typed/consumer.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
