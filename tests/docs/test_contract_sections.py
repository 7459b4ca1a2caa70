"""Sources that code, tests and pages cite can be followed: sections of docs/contract.md, its errors, and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.harness import ROOT

CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
SECTIONS = set(re.findall(r"^##+ (\d+(?:\.\d+)?) ", CONTRACT, re.MULTILINE))
ERRORS = set(re.findall(r"^\| (E\d+) \|", CONTRACT, re.MULTILINE))
FOLDERS = ["earthengine_emulator", "tests/contract", "tests/unit/earthengine_emulator", "tests/docs", "docs"]
"""What is held today; `STILL_TO_COME` is what is not."""
STILL_TO_COME = ["downloader", "scripts", "tests"]
"""Folders whose citations are being rewritten; a folder moves up when it is clean."""
_CITED = re.compile(r"contract(?:\.md)?,? §(\d+(?:\.\d+)*)((?:, §\d+(?:\.\d+)*)*)")
_PAGE = re.compile(r"(?<![\w/.-])((?:docs/)?(?:[a-z-]+/)*[a-z-]+\.md)\b")
_ERROR = re.compile(r"(?<![\w'\"])E(\d{1,2})(?![\w.+-])")
MADE_BY_THE_SITE = {"changelog.md", "contributing.md", "reference/cli.md", "reference/python.md"}


def lines(folders: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (place, line) of the source files and pages in `folders`, this file left out."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".py", ".md"} or path == Path(__file__):
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                yield f"{path.relative_to(ROOT)}:{number}", line


def test_cited_sections_exist():
    assert len(SECTIONS) > 30
    missing = []
    for place, line in lines(FOLDERS):
        for match in _CITED.finditer(line):
            cited = [match[1], *re.findall(r"§([\d.]+)", match[2])]
            missing += [f"{place} §{section}" for section in cited if section not in SECTIONS]
    assert not missing


def test_sections_are_cited_with_their_page():
    """`§4.3` alone says nothing to who does not know which page is meant; on the page itself it is a link or plain."""
    loose = [
        place
        for place, line in lines([folder for folder in FOLDERS if folder != "docs"])
        if "§" in line and not _CITED.search(line) and "docs/contract.md" not in line
    ]
    assert not loose


def test_cited_errors_exist():
    assert {f"E{number}" for number in range(1, len(ERRORS) + 1)} == ERRORS
    code = [folder for folder in FOLDERS if folder in {"earthengine_emulator", "tests/contract"}]
    missing = [
        f"{place} E{number}"
        for place, line in lines(code)
        for number in _ERROR.findall(line)
        if f"E{number}" not in ERRORS
    ]
    assert not missing


def test_nothing_cites_what_the_repository_does_not_have():
    missing = []
    for place, line in lines([folder for folder in FOLDERS if folder != "docs"]):
        if "DESIGN" in line or re.search(r"\bpromise \d", line):
            missing.append(f"{place} {line.strip()}")
        for page in _PAGE.findall(line):
            known = page in MADE_BY_THE_SITE or any(
                (ROOT / base / page).exists() for base in ("", "docs", "earthengine_emulator")
            )
            if not known:
                missing.append(f"{place} {page}")
    assert not missing
