"""The notebook of the pages, executed again by a Jupyter kernel: its cells still do what its outputs show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.harness import ROOT, environment

FILE = ROOT / "docs" / "first-mosaic.ipynb"


def told(output: dict[str, Any]) -> tuple[str, ...]:
    """Return what an output says, without ports, seconds and rates, which differ each time."""
    if output["output_type"] == "error":
        return ("error", output["ename"], output["evalue"])
    if output["output_type"] == "stream":
        return ("stream", output["name"], output["text"])
    text = re.sub(r"127\.0\.0\.1:\d+|[\d.,]+ ?(MB/s|s\b|ms|µs)", "#", output["data"]["text/plain"])
    return (output["output_type"], *sorted(output["data"]), text)


def lasting(outputs: list[Any]) -> list[tuple[str, ...]]:
    """Return what outputs say, in any order; without lines for what took long, which is so on slow machines only."""
    return sorted(one for one in map(told, outputs) if not one[-1].endswith(": done"))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells of code, executed in a folder of their own by a kernel."""
    notebook = nbformat.read(FILE, as_version=4)
    for cell in notebook.cells:
        cell.update({"outputs": []} if cell.cell_type == "code" else {})
    resources = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(PYTHONPATH=str(ROOT)).items():
            patch.setenv(name, value)
        NotebookClient(
            notebook, kernel_name="python3", allow_errors=True, timeout=240, resources=resources
        ).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_each_cell_shows_what_the_page_shows(executed: list[Any]) -> None:
    shown = [cell for cell in nbformat.read(FILE, as_version=4).cells if cell.cell_type == "code"]
    assert len(executed) == len(shown) == 7
    for cell, page in zip(executed, shown, strict=True):
        assert lasting(cell.outputs) == lasting(page.outputs), cell.source


def test_nothing_is_noise_and_an_error_is_short(executed: list[Any]) -> None:
    """Neither a warning nor a traceback of this package's modules; one bar for each call that fetches."""
    outputs = [output for cell in executed for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "stream"] == []
    (error,) = [output for output in outputs if output.output_type == "error"]
    assert error.evalue.startswith("limits.max_requests: 12 requests are made: ")
    assert error.traceback[0] == f"StoppedError: {error.evalue}"
    assert [line.strip() for line in error.traceback[1:]] == [
        "", "cell, line 1", 'downloader.download(job | {"limits": {"max_requests": 12}})',
    ]  # fmt: skip
    assert all(len(output.data["text/plain"].splitlines()) <= 10 for output in outputs if "data" in output)


def test_the_page_holds_nothing_of_the_machine_that_made_it() -> None:
    text = json.dumps(json.loads(FILE.read_text("utf-8")))
    for card in ("Plan", "Status", "Report", "Images", "Checkup"):
        assert f'<p class=\\"head\\"><span>{card}</span>' in text
    for stray in ("/tmp", str(Path.home()), "<script", 'execution": {"iopub'):
        assert stray not in text
