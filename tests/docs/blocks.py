"""The fenced blocks of the documentation, and what is said of them beside them.

A comment straight above a block says what is to be known of it; one of `blocks:` at the head of a page, of all its blocks:

    <!-- block: saved as plots.yaml -->          a job that later blocks of the page name so; else `job.yaml`
    <!-- block: in the background -->            it serves until the page's end; others go on after its first line
    <!-- block: run by tests/docs/test_x.py -->  another test runs it
    <!-- block: not run: it needs an account --> nothing can; the reason is for the reader of the source
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.harness import ROOT

__all__ = ["PAGES", "Block", "blocks_of", "fits"]

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

_FENCE = re.compile(
    r"^(?:<!-- block: (?P<said>[^\n]*?) -->\n)?(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_PAGE = re.compile(r"^<!-- blocks: (.*?) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of its first line of code, from 1."""
    language: str
    code: str
    said: str
    """What the comment above it says; empty where there is none."""
    output: str | None = None
    """The block of `text` right behind it, which is what it prints."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def elsewhere(self) -> str | None:
        """The test that runs it."""
        return self.said.removeprefix("run by ") if self.said.startswith("run by ") else None

    @property
    def reason(self) -> str | None:
        """Why nothing runs it."""
        return self.said.removeprefix("not run: ") if self.said.startswith("not run: ") else None

    @property
    def serves(self) -> bool:
        """Whether it does not end by itself."""
        return self.said == "in the background"

    @property
    def name(self) -> str:
        """The file that a job is saved as."""
        return self.said.removeprefix("saved as ") if self.said.startswith("saved as ") else "job.yaml"


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in their order; an output belongs to what prints it."""
    text = page.read_text(encoding="utf-8")
    of_all = _PAGE.search(text)
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        line = text.count("\n", 0, match.start("code")) + 1
        said = match["said"] or (of_all[1] if of_all else "")
        follows = found and not text[end : match.start()].strip()
        if match["language"] == "text" and follows and found[-1].language in {"bash", "sh", "python"}:
            last = found.pop()
            found.append(Block(page, last.line, last.language, last.code, last.said, code))
        else:
            found.append(Block(page, line, match["language"], code, said))
        end = match.end()
    return found


def fits(wanted: str, printed: str) -> bool:
    """Whether it is what was printed; … stands for anything within a line, alone on a line for any lines."""
    lines = [
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in wanted.splitlines()
    ]
    return re.fullmatch("".join(lines), printed) is not None
