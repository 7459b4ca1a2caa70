"""docs/troubleshooting.md: what it quotes is what the program says, and no kind of answer is left out."""

from __future__ import annotations

import ast
import re

import pytest

from tests.harness import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
HOLE = "\0"


def texts_of(code: str) -> list[str]:
    """Texts of a module, what f-strings fill in as `HOLE`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [
        text for path in (ROOT / "downloader").rglob("*.py") for text in texts_of(path.read_text("utf-8"))
    ]


def quoted() -> list[str]:
    """First cells of the tables of messages."""
    rows = re.findall(r"^\| (`.+?`) \|", PAGE, re.MULTILINE)
    causes = PAGE[PAGE.index("## Some tiles failed") : PAGE.index("## Stopped, resumable")]
    cells = [row for row in rows if row not in causes]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


def says(text: str, message: str) -> bool:
    """Whether a text may read so; … stands for what is filled in, and for the rest."""
    literal = [re.escape(part) for part in message.split("…")]
    return re.search("(.*)".join(literal), text, re.DOTALL) is not None


def test_the_comparison_can_fail():
    text = texts_of('f"{a}: no space on {b!r};" " make room"')[0]
    assert says(text, "no space on …; make room")
    assert not says(text, "no room on …; make room")
    assert not says(text, "make room … no space")


def test_every_message_quoted_is_one_of_the_programs(texts):
    messages = quoted()
    assert len(messages) > 50
    assert [m for m in messages if not any(says(text, m) for text in texts)] == []


def test_every_cause_is_told_of():
    """Every kind of answer and of broken connection, by the name that reports count by."""
    from downloader.errors import Cause

    ours = {Cause.CANCELLED, Cause.SPLIT_AHEAD, Cause.NO_IMAGE}
    causes = set(Cause) - ours
    told = set(re.findall(r"`([^`]+)`", PAGE))
    assert causes - told == set()


def test_every_exit_status_has_its_part():
    import downloader

    kinds = {getattr(downloader, name) for name in downloader.__all__ if name.endswith("Error")}
    statuses = {kind.exit_status for kind in kinds if "exit_status" in vars(kind)}
    statuses -= {1, 130}  # a bug, and the user's own interrupt
    assert {int(n) for n in re.findall(r"^## .*: exit (\d)$", PAGE, re.MULTILINE)} == statuses
