"""The notebook of the pages: its cells still do what its outputs show; `scripts/make-notebook` executes it anew."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.harness import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "first-mosaic.ipynb").read_text("utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(code: str, names: dict) -> object:
    """Run a cell; return the value of its last line, which a notebook shows."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_each_cell_does_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    assert len(CELLS) == 6
    for cell in CELLS:
        shown = {output["output_type"]: output for output in cell["outputs"]}
        code = "".join(cell["source"])
        if "error" in shown:
            with pytest.raises(Exception, match="12 of 49 tiles are saved") as caught:
                run(code, names)
            assert type(caught.value).__name__ == shown["error"]["ename"]
            assert caught.value._render_traceback_()[0] in shown["error"]["traceback"]
            continue
        value = run(code, names)
        assert repr(value) == "".join(shown["execute_result"]["data"]["text/plain"])


def test_it_shows_values_as_html_and_nothing_of_the_machine_that_made_it() -> None:
    text = json.dumps(NOTEBOOK)
    assert text.count("text/html") == 6, "plan, two bars, report, images, checkup"
    for stray in ("/tmp", "127.0.0.1", "<script"):
        assert stray not in text
