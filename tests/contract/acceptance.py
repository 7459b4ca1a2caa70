"""The acceptance page's column of tests: `python -m tests.contract.acceptance` writes it anew.

The rows themselves, a request and the answer it must get, are written on the page by hand.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "emulator-acceptance.md"
ROWS = 100
_NAME = re.compile(r"^test_rows?((?:_\d{3})+)_")
_ROW = re.compile(r"^\| (\d+) \| (.*) \| (.*) \| .*\|$", re.MULTILINE)
"""A row of the page: number, request, answer, tests."""


def tests_by_row() -> dict[int, list[tuple[str, str]]]:
    """Return the file and name of each row's tests."""
    found: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match = (
                _NAME.match(node.name) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else None
            )
            if match is not None:
                for number in match[1].strip("_").split("_"):
                    found[int(number)].append((path.name, node.name))
    return found


def rows() -> list[int]:
    """Return the numbers of the page's rows, in the page's order."""
    return [int(match[1]) for match in _ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def page() -> str:
    """Return the page with its column of tests up to date."""
    by_row = tests_by_row()

    def line(match: re.Match[str]) -> str:
        tests = "<br>".join(f"`{file}` {_said(name)}" for file, name in by_row[int(match[1])])
        return f"| {match[1]} | {match[2]} | {match[3]} | {tests} |"

    return _ROW.sub(line, PAGE.read_text(encoding="utf-8"))


def _said(name: str) -> str:
    return _NAME.sub("", name).replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
