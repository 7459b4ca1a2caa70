"""The order of a commit, as the kernel saw it: pixels flushed, the folders that name them too, then the ledger's line.

Power loss itself is not tried; that nothing is believed before it is on the disk is what makes it harmless.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import harness
from tests.chaos.kit import TILES

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

CALLS = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,write,pwrite64"
_CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_FILE = re.compile(r"^\d+<(?P<path>[^>]*)>")
_PLACE = re.compile(r'\d+<(?P<folder>[^>]*)>, "(?P<name>(?:[^"\\]|\\.)*)"')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass
class Event:
    """One system call that did its work."""

    name: str
    began: int
    """Line of the trace on which it began."""
    ended: int
    """Line on which it returned."""
    path: str
    """Of the descriptor, or the new name of a rename."""
    text: bytes = b""
    """What was written."""


def trace(lab, *settings):
    """A run under strace; its file events in order."""
    log = lab.folder.parent / f"{lab.folder.name}.strace"
    command = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-s",
        "3000",
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
        "-o",
        str(log),
    ]
    process = subprocess.Popen(
        [*command, *lab.command(*settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=harness.ROOT,
        env=harness.environment(),
        text=True,
    )
    run = lab.end(process)
    if "ptrace" in run.err and run.status:
        pytest.skip("processes may not be traced here")
    assert run.status == 0, run
    return list(events(log))


def events(log):
    """Calls of a trace that returned without an error."""
    begun = {}
    for number, line in enumerate(log.read_text(errors="replace").splitlines()):
        if resumed := _RESUMED.match(line):
            start, text = begun.pop((resumed["pid"], resumed["name"]), (number, ""))
            text += resumed["rest"]
            name = resumed["name"]
        elif call := _CALL.match(line):
            name, text, start = call["name"], call["rest"], number
            if text.endswith("<unfinished ...>"):
                begun[call["pid"], name] = number, text.removesuffix("<unfinished ...>")
                continue
        else:
            continue
        if " = -1 " in text:
            continue
        file, strings = _FILE.match(text), _STRING.findall(text)
        if name.startswith(("rename", "link")):
            places = _PLACE.findall(text)
            path = str(Path(*places[-1])) if places else strings[-1].strip('"')
            yield Event(name, start, number, path)
        elif file:
            written = ast.literal_eval("b" + strings[0]) if strings else b""
            yield Event(name, start, number, file["path"], written)


def test_row_41_data_is_flushed_before_the_ledgers_line(lab):
    seen = trace(lab)
    root = str(lab.mosaic)
    lines = [e for e in seen if e.name == "write" and e.path.startswith(f"{root}/.downloader/ledger/")]
    told = 0
    for line in lines:
        for text in line.text.splitlines():
            entry = json.loads(text)
            if "ledger" in entry:
                continue
            _, row, column = entry["shard"]
            for band in entry["bands"]:
                told += 1
                ordered(seen, line, f"{root}/{band}/c/{row}/{column}")
        later = [
            e
            for e in seen
            if e.name in ("fsync", "fdatasync") and e.path == line.path and e.began > line.ended
        ]
        assert later, "the line itself is flushed"
    assert told == 2 * TILES


def ordered(seen, line, path):
    """The object at `path` was named, and it and its folder flushed, before `line` began to be written."""
    before = [e for e in seen if e.ended < line.began]
    named = [e for e in before if e.name.startswith(("rename", "link")) and e.path == path]
    assert named, f"{path} has its name before its line"
    synced = [e for e in before if e.name in ("fsync", "fdatasync")]
    assert any(e.path == path or e.path.startswith(f"{path}#") for e in synced), f"{path} is flushed"
    folder = str(Path(path).parent)
    assert any(e.path == folder and e.began > named[-1].ended for e in synced), (
        f"{folder} is flushed after the renaming"
    )


def test_scratch_leaves_the_flushing_out(lab):
    lab.job(mosaic={"durability": "scratch"})
    seen = trace(lab)
    assert [e for e in seen if e.name in ("fsync", "fdatasync") and e.path.startswith(str(lab.mosaic))] == []
    lab.right()
