"""Building the site, as `mkdocs build --strict` does: any warning is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT, environment

__all__ = ["build_site"]


def build_site(folder: Path) -> Path:
    """The site of docs/, in a folder."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment(NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr
    return folder
