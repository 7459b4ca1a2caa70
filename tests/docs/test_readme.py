"""README.md, word by word: every block is run, in a fresh folder that holds what a clone holds."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import ROOT, compare, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
"""(language, content) of every fenced block."""


def blocks(language: str) -> list[str]:
    return [content for kind, content in BLOCKS if kind == language]


def commands(word: str) -> list[str]:
    """Lines of the shell blocks that begin with a word, comments cut off."""
    lines = [line.partition("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith(word)]


@pytest.fixture
def clone(tmp_path):
    """What a clone has and the commands use, with `downloader` and `python` on the path."""
    here = tmp_path / "clone"
    shutil.copytree(ROOT / "configs", here / "configs", ignore=shutil.ignore_patterns("out"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "downloader").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m downloader "$@"\n')
    (folder / "downloader").chmod(0o755)
    return here


def shell(line: str, clone: Path, **env: str) -> subprocess.CompletedProcess:
    env = {"PATH": f"{clone.parent / 'bin'}:{os.environ['PATH']}", **env}
    return subprocess.run(
        ["bash", "-c", line], cwd=clone, env=environment(**env), capture_output=True, text=True, check=False
    )


def test_there_is_no_other_block():
    assert {kind for kind, _ in BLOCKS} == {"bash", "yaml", "python"}
    known = ("scripts/", "pip install", "downloader ")
    for block in blocks("bash"):
        assert all(line.startswith(known) for line in block.splitlines()), block


def test_scripts_exist_and_can_be_run():
    lines = commands("scripts/")
    assert [line.split()[0] for line in lines] == ["scripts/demo", "scripts/test"]
    for line in lines:
        path = ROOT / line.split()[0]
        assert os.access(path, os.X_OK)
        assert path.read_text().startswith("#!")


def test_pip_installs_an_extra_that_exists():
    import tomllib

    (line,) = commands("pip install")
    extra = re.search(r"\[(\w+)\]", line)[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra in project["optional-dependencies"]
    assert line == f"pip install '.[{extra}]'"


def test_the_demo(clone):
    """`scripts/demo` but for its set-up: the same commands, from the same folder."""
    script = (ROOT / "scripts" / "demo").read_text()
    lines = [line.removeprefix("run ") for line in script.splitlines() if line.startswith("run ")]
    assert [line.split()[0] for line in lines] == ["plan", "run", "preview"]
    said = ""
    for line in lines:
        ended = shell(f"downloader {line}", clone)
        assert ended.returncode == 0, ended
        said += ended.stdout + ended.stderr
    assert "64 tiles in 64 requests" in said, "the estimate"
    assert "complete: 64 of 64 tiles" in said, "the report"
    assert "xarray.open_dataset(" in said, "how to open the result"
    assert compare(clone / "configs" / "out" / "quickstart.zarr") == 4 * 2048 * 2048
    with Image.open(clone / "configs" / "out" / "quickstart.png") as picture:
        bands = picture.convert("RGB").split()
        assert picture.size == (1024, 1024)
        assert all(len(set(band.tobytes())) > 100 for band in bands), "it shows something"
    again = shell("downloader run configs/quickstart.yaml", clone)
    assert again.returncode == 0, again
    assert "all are stored already" in again.stderr


def test_the_way_to_open_a_result_is_right(clone):
    """The line that the report prints is Python that works."""
    ended = shell("downloader run configs/quickstart.yaml --set region.window.width=300", clone)
    line = re.search(r"open it: (.*)", ended.stdout)[1]
    code = f"import xarray; dataset = {line}; print(dataset['B4'].shape)"
    opened = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=clone,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert opened.stdout.strip() == "(2048, 300)", opened


def test_the_real_account_job(clone):
    """Against an emulator and its key file; only these and the project differ from what README says."""
    (block,) = blocks("yaml")
    config = (ROOT / "configs" / "real_account.yaml").read_text()
    assert block == "".join(line for line in config.splitlines(keepends=True) if not line.startswith("#"))
    with EmulatorProcess(arguments(quota_per_minute=0)) as emulator:
        shutil.copy(emulator.key_file, clone / "configs" / "my-key.json")
        (clone / "configs" / "real_account.yaml").write_text(config.replace("my-project", "p-test-1"))
        for line in commands("downloader"):
            ended = shell(line, clone, DOWNLOADER_ENDPOINT=emulator.url)
            assert ended.returncode == 0, ended
    compare(clone / "configs" / "out" / "real_account.zarr")
    with Image.open(clone / "look.png") as picture:
        assert picture.size == (1024, 1024)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_run_as_they_stand(clone, number):
    code = blocks("python")[number]
    ast.parse(code)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clone,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended
    if "print" in code:
        assert ended.stdout.splitlines()[-1] == "uint16 (2048, 2048) 64"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_exit_statuses_are_those_of_the_errors():
    import downloader

    told = dict(re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE))
    kinds = {getattr(downloader, name) for name in downloader.__all__ if name.endswith("Error")}
    statuses = {kind.exit_status for kind in kinds if "exit_status" in vars(kind)}
    assert {int(status) for status in told} == {0, *statuses} - {130}  # a row of its own, with 143
    assert "130, 143" in README
