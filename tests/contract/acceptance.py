"""Which tests hold which rows of the contract's acceptance table: `python -m tests.contract.acceptance` writes the page."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "emulator-acceptance.md"
ROWS = 100
SECTIONS = {
    1: "Auth and projects",
    12: "Bootstrap",
    17: "Asset get",
    27: "Listings",
    47: "Pixels",
    79: "Limits",
    87: "Quotas and faults",
}
"""First row of each section."""
_NAME = re.compile(r"^test_rows?((?:_\d{3})+)_")
HEAD = """# The acceptance table

An emulator is only as good as what holds it to the service. The project's contract of the API (what is known about its
HTTP interface, from its documentation and its official clients) ends in a table of a hundred rows, each a request and
the answer it must get. Every row is a test over a socket, with a plain HTTP client; where a row names the downloader,
GDAL or the official Python client, also with that one. The tests lie in `tests/contract`.

This page is made by `python -m tests.contract.acceptance`, and a test holds that it is up to date.
"""


def tests_by_row() -> dict[int, list[tuple[str, str]]]:
    """Row → file and name of its tests."""
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


def page() -> str:
    """The page's text."""
    lines, rows = [HEAD], tests_by_row()
    for number in range(1, ROWS + 1):
        if number in SECTIONS:
            lines += [
                "" if number > 1 else None,
                f"## {SECTIONS[number]}",
                "",
                "| row | tests |",
                "| --- | --- |",
            ]
        tests = "<br>".join(f"`{file}` {_said(name)}" for file, name in rows[number])
        lines.append(f"| {number} | {tests} |")
    return "\n".join(line for line in lines if line is not None) + "\n"


def _said(name: str) -> str:
    return _NAME.sub("", name).replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
