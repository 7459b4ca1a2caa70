"""docs/quickstart.md, walked: its commands in their order, and beside each what it must print."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.docs.blocks import fits
from tests.harness import ROOT, compare, environment

PAGE = ROOT / "docs" / "quickstart.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """A block that is run, and the block behind it that says what comes out."""

    language: str
    code: str
    wanted: str | None


def steps() -> list[Step]:
    found: list[Step] = []
    for language, code in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "text":
            assert found, "an output stands before any command"
            assert found[-1].wanted is None, "two outputs of one command"
            found[-1].wanted = code
        else:
            found.append(Step(language, code, None))
    return found


def test_the_comparison_can_fail():
    assert fits("a … c\n…\nz\n", "a b c\nx\ny\nz\n")
    assert fits("a\n…\n", "a\n")
    assert not fits("a\n", "a\nb\n")
    assert not fits("a … c\n", "a b\nc\n")
    assert not fits("4.3166\n", "4x3166\n")


def test_the_page_walks_the_quickstart():
    code = "\n".join(step.code for step in steps())
    for command in ("inspect", "images", "run", "thumbnail"):
        assert f"downloader {command} " in code
    assert all(step.language in {"bash", "python"} for step in steps())
    assert sum(step.wanted is not None for step in steps()) == len(steps()) - 1  # but for the export


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """An environment in which `downloader` is this checkout's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, module in (("downloader", "-m downloader"), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    env = environment()
    return env | {"PATH": f"{folder}:{env['PATH']}"}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_command_prints_what_the_page_says(tmp_path, commands):
    here = tmp_path / "here"
    here.mkdir()
    exports = ""
    for step in steps():
        if step.language == "python":
            arguments = [sys.executable, "-c", step.code]
        else:
            arguments = ["bash", "-c", f"set -eu\n{exports}\n{step.code}"]
            exports += "".join(f"{line}\n" for line in step.code.splitlines() if line.startswith("export "))
        done = subprocess.run(
            arguments,
            check=False,
            cwd=here,
            env=commands,
            capture_output=True,
            text=True,
            timeout=100,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{step.code}\n{done.stdout}\n{done.stderr}"
        if step.wanted is not None:
            assert fits(step.wanted, done.stdout), (
                f"{step.code}\nprints\n{done.stdout}\nand not\n{step.wanted}"
            )
    for name in ("tile.zarr", "tile_again.zarr"):
        assert compare(here / name) == 4 * 256 * 256
    for name in ("thumbnail.png", "again.png"):
        with Image.open(here / name) as picture:
            assert picture.size == (256, 256)
            assert min(high - low for low, high in picture.convert("RGB").getextrema()) > 100
    assert (here / "thumbnail.png").read_bytes() == (here / "again.png").read_bytes()
