"""Sources that code, tests and pages cite can be followed: sections of docs/contract.md, its errors, and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.harness import ROOT

CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
SECTIONS = set(re.findall(r"^##+ (\d+(?:\.\d+)?) ", CONTRACT, re.MULTILINE))
ERRORS = set(re.findall(r"^\| (E\d+) \|", CONTRACT, re.MULTILINE))
FOLDERS = ["downloader", "earthengine_emulator", "scripts", "tests"]
_SECTION = re.compile(r"docs/contract\.md §(\d+(?:\.\d+)*)((?:(?:,| and) §\d+(?:\.\d+)*)*)")
_PAGE = re.compile(r"(?<![\w/.-])((?:docs/)?(?:[a-z-]+/)*[a-z-]+\.md)\b")
_ERROR = re.compile(r"(?<![\w'\"])E(\d{1,2})(?![\w.+-])")
_MADE_BY_THE_SITE = {
    "changelog.md",
    "emulator-acceptance.md",
    "contributing.md",
    "reference/cli.md",
    "reference/python.md",
    "cli.md",
    "python.md",
}
_OF_OTHER_STANDARDS = re.compile(r"RFC \d+ §[\d.]+|AIP-\d+ §[\d.]+")


def lines(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield (place, line) of the Python files in `folders`, this file left out."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != Path(__file__):
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    yield f"{path.relative_to(ROOT)}:{number}", line


def test_cited_sections_exist():
    assert len(SECTIONS) > 30
    missing = []
    for place, line in lines(*FOLDERS):
        for match in _SECTION.finditer(line):
            cited = [match[1], *re.findall(r"§([\d.]*\d)", match[2])]
            missing += [f"{place} §{section}" for section in cited if section not in SECTIONS]
    assert not missing


def test_sections_are_cited_with_their_page():
    """`§4.3` alone does not say of which page."""
    loose = [
        f"{place}: {line.strip()}"
        for place, line in lines(*FOLDERS)
        if "§" in _OF_OTHER_STANDARDS.sub("", _SECTION.sub("", line))
    ]
    assert not loose


def test_cited_errors_exist():
    assert {f"E{number}" for number in range(1, len(ERRORS) + 1)} == ERRORS
    missing = [
        f"{place} E{number}"
        for place, line in lines("earthengine_emulator", "tests/contract", "downloader/earthengine")
        for number in _ERROR.findall(line)
        if f"E{number}" not in ERRORS
    ]
    assert not missing


def test_nothing_cites_what_the_repository_does_not_have():
    bases = [ROOT, ROOT / "docs", ROOT / "earthengine_emulator", ROOT / "tests" / "contract"]
    missing = [
        f"{place}: {line.strip()}"
        for place, line in lines(*FOLDERS)
        if re.search(r"\bDESIGN\b|\bpromise \d", line)
        or any(
            page not in _MADE_BY_THE_SITE and not any((base / page).exists() for base in bases)
            for page in _PAGE.findall(line)
        )
    ]
    assert not missing
