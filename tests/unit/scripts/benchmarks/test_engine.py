"""Parts of the downloader that the benchmark measures alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from scripts.benchmarks.contender import Task


def test_constant_tiles_are_stored_as_holes_that_the_mosaic_finds_again(tmp_path: Path) -> None:
    task = Task("", "", "", "", (), (0, 0, 1, 1), str(tmp_path), options={"tiles": 64})
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks.engine", "constant"],
        input=json.dumps(asdict(task)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    shards = [path for path in (tmp_path / "mosaic.zarr/B1/c").rglob("*") if path.is_file()]
    assert shards
    assert all(path.stat().st_blocks == 0 < path.stat().st_size for path in shards)
