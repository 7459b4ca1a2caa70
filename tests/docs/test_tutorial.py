"""The tutorial walks the whole way, in its order; what its blocks print is held by `test_blocks`."""

from __future__ import annotations

import re

from downloader.cli.main import _COMMANDS
from tests.docs.blocks import blocks_of
from tests.harness import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
WATCHING = ROOT / "docs" / "watching.md"


def commands() -> list[str]:
    code = "\n".join(block.code for block in blocks_of(TUTORIAL) if block.language == "bash")
    return re.findall(r"^downloader ([a-z]+)", code, re.MULTILINE)


def test_the_whole_way_is_walked():
    walked = list(dict.fromkeys(commands()))
    assert walked == ["doctor", "init", "plan", "run", "status", "verify", "preview"]
    assert set(walked) <= set(_COMMANDS)


def test_every_block_but_the_installation_is_run_and_commands_print_what_stands_there():
    blocks = blocks_of(TUTORIAL)
    assert [block.code for block in blocks if block.reason] == [
        "pip install 'earthengine-downloader[xarray]'\n"
    ]
    assert sum(block.output is not None for block in blocks) >= 7


def test_every_event_that_is_told_is_explained():
    page = WATCHING.read_text(encoding="utf-8")
    told = {"credentials", "recovered", "quota", "split", "failed"}
    for path in (ROOT / "downloader").rglob("*.py"):
        told |= set(re.findall(r"\"([a-z]+)\",\s*\"warning\"", path.read_text(encoding="utf-8")))
    assert {"outage", "restricted"} <= told
    for event in (told - {"info", "debug"}) | {
        "quota",
        "split",
        "failed",
        "started",
        "progress",
        "ended",
        "notice",
        "log",
        "error",
    }:
        assert f"`{event}`" in page, event
