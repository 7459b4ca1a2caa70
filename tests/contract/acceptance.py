"""The acceptance table, and the tests that hold each of its rows.

The rows, a request and the answer it must get, stand in `acceptance.md` beside this file. A test is a row's by its name
(`test_row_017_…`, `test_rows_018_019_…`); the site's page adds them as a column.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).with_name("acceptance.md")
ROWS = 100
_NAME = re.compile(r"^test_rows?((?:_\d{3})+)_")
_ROW = re.compile(r"^\| (\d+) \|.*\|$", re.MULTILINE)


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
    """Return the numbers of the table's rows, in the table's order."""
    return [int(match[1]) for match in _ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def page() -> str:
    """Return the site's page: the table with a column of tests, its links relative to `docs/`."""
    by_row = tests_by_row()

    def row(match: re.Match[str]) -> str:
        tests = "<br>".join(
            f"`{file}` {_NAME.sub('', name).replace('_', ' ')}" for file, name in by_row[int(match[1])]
        )
        return f"{match[0]} {tests} |"

    text = _ROW.sub(row, PAGE.read_text(encoding="utf-8"))
    text = text.replace("| answer |", "| answer | tests |").replace(
        "| --- | --- | --- |", "| --- | --- | --- | --- |"
    )
    return text.replace("](../../docs/", "](")
