"""Modules, tests and public names that the pages name exist."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

import downloader
from tests.docs.blocks import PAGES
from tests.harness import ROOT

ALL = [*PAGES, ROOT / "SECURITY.md", ROOT / "earthengine_emulator" / "README.md"]
BARE = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
"""Tests are named by their file alone where the line has named their folder before."""


def missing(text: str) -> list[str]:
    """Return the Python files that a text names, by a path from the root or from `downloader/`, and that do not exist."""
    found = re.findall(r"(?<![\w./$-])(?:[a-z]\w*/)+\w+\.py\b|\btest_\w+\.py\b", text)
    return [
        path
        for path in found
        if not ((ROOT / path).exists() or (ROOT / "downloader" / path).exists() or path in BARE)
    ]


def test_a_path_that_does_not_exist_is_found():
    text = "`downloader/model/grid.py`, `downloader/no/such.py`, `model/grid.py`, `test_nothing.py`, `test_paths.py`"
    assert missing(text) == ["downloader/no/such.py", "test_nothing.py"]


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_and_names_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    # Blocks are run; the reader's own files stand only in them.
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert missing(text) == []
    for name in set(re.findall(r"(?<![\w./-])downloader\.([A-Za-z_]+)", text)):
        assert hasattr(downloader, name) or find_spec(f"downloader.{name}"), f"downloader.{name}"
