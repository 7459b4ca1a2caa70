"""A short storm with a fixed seed: `scripts/chaos` itself, as CI can afford it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests import harness


@pytest.mark.slow
def test_row_41_a_short_storm():
    """Two jobs at a time, random faults, kills and broken disks; every pixel right in the end."""
    done = subprocess.run(
        [
            sys.executable,
            harness.ROOT / "scripts" / "chaos",
            "--seconds=0",
            "--seed=3",
            "--jobs=2",
            "--quiet",
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
        env=harness.environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = dict(re.findall(r"^(jobs|kills|wrong pixels|lost tiles) +(\d+)", done.stdout, re.MULTILINE))
    assert int(figures["jobs"]) == 2
    assert int(figures["kills"]) >= 3
    assert (figures["wrong pixels"], figures["lost tiles"]) == ("0", "0")
