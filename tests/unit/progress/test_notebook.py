"""The bar of a notebook: one output, redrawn in place, left in its last state."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from downloader.events import Ended, Flow, Notice, Phase, Started, Stored
from downloader.planning import Estimate
from downloader.progress import notebook
from downloader.progress.notebook import NotebookBar, is_notebook
from downloader.progress.terminal import terminal_progress

ESTIMATE = Estimate(1, 1, 1, 4, 4, 1_000, 1_000, 2.0)


class Handle:
    """What IPython's `display(…, display_id=True)` returns."""

    def __init__(self) -> None:
        self.updates: list[str] = []

    def update(self, value: object) -> None:
        self.updates.append(repr(value))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """An IPython that runs in a kernel; the outputs that it was asked for."""
    handles: list[Handle] = []

    def display(value: object, *, display_id: bool) -> Handle:
        assert display_id
        handles.append(Handle())
        handles[-1].update(value)
        return handles[-1]

    shell = SimpleNamespace(kernel=object())
    module, shown = ModuleType("IPython"), ModuleType("IPython.display")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    shown.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.setattr(notebook, "_EVERY_S", 0.0)
    return handles


def test_a_kernel_gets_one_output_that_ends_in_its_last_state(kernel: list[Handle]) -> None:
    bar = terminal_progress()
    assert isinstance(bar, NotebookBar)
    bar(Phase("asking Earth Engine about X"))
    bar(Phase(""))
    bar(Started(ESTIMATE, 2))
    bar(Flow(2, 4))
    bar(Notice("the quota is reached"))
    bar(Stored(SimpleNamespace(tiles_worth=2, shard=None), 1_000, 0.1))  # type: ignore[arg-type]
    bar(Ended("complete"))
    (output,) = kernel
    assert output.updates[0] == "asking Earth Engine about X …"
    assert output.updates[1] == "asking Earth Engine about X: done"
    assert any("2/4 in flight" in text for text in output.updates)
    last = output.updates[-1]
    assert "complete: 100 %" in last
    assert "4/4 tiles" in last
    assert "the quota is reached" in last
    assert "left," not in last
    assert "flight" not in last
    page = bar._repr_html_()
    assert 'class="bar over"' in page
    assert "width:100.0%" in page


def test_a_call_that_has_nothing_to_tell_shows_nothing(kernel: list[Handle]) -> None:
    bar = NotebookBar()
    bar(Phase(""))
    assert kernel == []


def test_a_shell_of_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("IPython")
    module.get_ipython = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert not is_notebook()
    module.get_ipython = lambda: None  # type: ignore[attr-defined]
    assert not is_notebook()
