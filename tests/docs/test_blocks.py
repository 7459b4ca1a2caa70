"""Every fenced block of every page does what it shows, in a fresh folder and against an emulator.

`python` blocks of a page are cells of one notebook, `bash` blocks are scripts that stop at the first error; both run
in the page's order, and a block of `text` straight behind one is what it prints (`fits`). A block of `yaml` is a job,
or a part of one that makes a job with what it leaves out; it is loaded, and a whole one is saved as `job.yaml` for the
blocks behind it. `json` is read. What a page names and does not make lies in `tests/docs/files` and `configs`. What
cannot run says why, in a comment above it: `tests/docs/blocks.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from earthengine_emulator import EmulatorProcess, arguments
from tests.docs.blocks import PAGES, Block, blocks_of, fits
from tests.harness import ASSET, ROOT, environment

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = {"bash", "sh", "python", "yaml", "json"}
SHOWN = {"text", "toml", "dockerfile", "csv"}
"""Languages that are looked at, not run: outputs, and files that other tests hold against the real ones."""

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
PRELUDE = Path(__file__).with_name("prelude.py")


def to_run(page: Path) -> list[Block]:
    return [b for b in blocks_of(page) if b.language in RUN and b.elsewhere is None and b.reason is None]


@pytest.fixture(scope="session")
def service() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(arguments(quota_per_minute=0), control=False) as process:
        yield process


class Notebook:
    """A process in which a page's blocks are run, and a folder."""

    def __init__(self, folder: Path, service: EmulatorProcess) -> None:
        self.folder = folder / "here"
        shutil.copytree(ROOT / "tests" / "docs" / "files", self.folder)
        shutil.copytree(ROOT / "configs", self.folder / "configs", ignore=shutil.ignore_patterns("out"))
        for name in ("my-key.json", "configs/my-key.json"):
            shutil.copy(service.key_file, self.folder / name)
        tools = folder / "bin"
        tools.mkdir()
        for name, module in (("downloader", "-m downloader "), ("python", "")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PRELUDE}" {module}"$@"\n')
            (tools / name).chmod(0o755)
        self.env = environment(
            PATH=f"{tools}:{os.environ['PATH']}",
            EMULATOR_URL=service.url,
            EMULATOR_HIGH_VOLUME_URL=service.high_volume_url,
            GOOGLE_APPLICATION_CREDENTIALS=str(service.key_file),
            HOME=str(folder),
            MPLBACKEND="agg",
        )
        self.exports = ""
        self.process: subprocess.Popen[str] | None = None
        self.servers: list[subprocess.Popen[str]] = []
        self.ports: dict[str, str] = {}

    def run(self, block: Block) -> str:
        """Run one block; what it printed. Ports of this machine that it names are free ones instead."""
        code = re.sub(r"(?<=127\.0\.0\.1:)\d{4,}|(?<=--port )\d{4,}", self.port, block.code)
        return getattr(self, block.language)(replace(block, code=code))

    def port(self, named: re.Match[str]) -> str:
        """The port that stands for the one named, in all of the page."""
        if named[0] not in self.ports:
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.ports[named[0]] = str(server.getsockname()[1])
        return self.ports[named[0]]

    def python(self, block: Block) -> str:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, PRELUDE],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self.process.stdin.write(json.dumps([str(block), block.line, block.code]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"{block}: ended the process"
        well, printed = json.loads(answer)
        assert well, f"{block}\n{printed}"
        return printed

    def bash(self, block: Block) -> str:
        code = "\n".join(without_installing(line) for line in block.code.splitlines())
        script = ["bash", "-c", f"set -euo pipefail\n{self.exports}\n{code}"]
        if block.serves:
            self.servers.append(
                subprocess.Popen(
                    script,
                    cwd=self.folder,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
            return self.servers[-1].stdout.readline()
        done = subprocess.run(
            script,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{code}\n{done.stdout}\n{done.stderr}"
        self.exports += "".join(f"{line}\n" for line in block.code.splitlines() if line.startswith("export "))
        return done.stdout

    sh = bash

    def yaml(self, block: Block) -> str:
        from downloader.job.load import load

        values = YAML(typ="safe").load(block.code)
        whole = "mosaic" in values and not values.keys().isdisjoint(("source", "sources"))
        file = self.folder / (block.name if whole else "part.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        parts = [block.code]
        parts += [] if values.keys() & {"source", "sources"} else [f"source: {{asset: {ASSET}}}\n"]
        parts += [] if "mosaic" in values else ["mosaic: {path: out/part.zarr}\n"]
        if not values.get("source", {"asset": 1}).keys() & {"asset"} and "region" not in values:
            parts.append("region: {bbox: [-122.1, 37.4, -122.0, 37.5]}\n")
        file.write_text("".join(parts), encoding="utf-8")
        load(file)
        return ""

    def json(self, block: Block) -> str:
        json.loads(block.code)
        return ""

    def close(self) -> None:
        for server in self.servers:
            with server:
                os.killpg(server.pid, signal.SIGTERM)
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()


def without_installing(line: str) -> str:
    """The line; one that installs this package is checked and left out."""
    if not re.match(r"(python -m )?pip install ", line):
        return line
    for extras in re.findall(r"(?:earthengine-downloader|\.)\[([\w,]+)\]", line):
        assert set(extras.split(",")) <= EXTRAS.keys(), line
    return ":"


@pytest.fixture
def notebook(tmp_path: Path, service: EmulatorProcess) -> Iterator[Notebook]:
    one = Notebook(tmp_path, service)
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if to_run(p)], ids=lambda p: p.stem)
def test_blocks_do_what_they_show(page, notebook):
    for block in to_run(page):
        printed = notebook.run(block)
        if block.output is not None:
            assert fits(block.output, printed), f"{block} prints\n{printed}\nand not\n{block.output}"


def test_every_block_is_of_a_language_that_is_known_here():
    assert [
        f"{b}: {b.language or 'none'}" for b in BLOCKS if b.language not in RUN | SHOWN and not b.said
    ] == []


def test_what_other_tests_run_is_known_to_them():
    for block in BLOCKS:
        if block.elsewhere is not None:
            test = ROOT / block.elsewhere
            assert test.is_file(), f"{block}: {block.elsewhere}"
            named = block.page.stem in test.name or block.page.name in test.read_text(encoding="utf-8")
            assert named, f"{block}: {test.name} does not name it"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason is not None], ids=str)
def test_what_is_not_run_says_why(block):
    assert len(block.reason.split()) >= 3, "a reason, please"


def test_nothing_else_is_said_of_blocks():
    for block in BLOCKS:
        saved = block.said.startswith("saved as ")
        assert block.elsewhere or block.reason or block.serves or saved or not block.said, (
            f"{block}: {block.said}"
        )


def test_a_wrong_block_is_noticed(tmp_path, service):
    """The runner itself: errors, outputs, kept names, top-level await."""
    one = Notebook(tmp_path, service)
    page = ROOT / "docs" / "index.md"
    assert one.run(Block(page, 1, "python", "import asyncio\na = 2", "")) == ""
    assert one.run(Block(page, 1, "python", "await asyncio.sleep(0)\nprint(a)", "")) == "2\n"
    assert (
        one.run(Block(page, 1, "bash", "export A=5\n", "")) + one.run(Block(page, 1, "bash", "echo $A", ""))
        == "5\n"
    )
    assert one.run(Block(page, 1, "python", "import os\nos.system('echo aside')", "")) == ""
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        one.run(Block(page, 1, "python", "1 / 0", ""))
    with pytest.raises(AssertionError, match="no-such"):
        one.run(Block(page, 1, "bash", "downloader no-such | cat", ""))
    with pytest.raises(ValueError, match="did you mean"):
        one.run(Block(page, 1, "yaml", "mosaik: {path: a}\n", ""))
    with pytest.raises(AssertionError, match="nonsense"):
        one.run(Block(page, 1, "bash", "pip install 'earthengine-downloader[nonsense]'", ""))
    one.close()
    assert fits("a … c\n…\nz\n", "a b c\nx\ny\nz\n")
    assert not fits("a … c\n", "a b\nc\n")
