"""`downloader status --watch`, without a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from downloader.cli import status as command
from downloader.mosaic import sources


@pytest.mark.parametrize(("names", "shown"), [({}, 1), ({"s2": "a", "dem": "b"}, 3)])
def test_it_goes_on_with_the_run_of_the_next_source(monkeypatch, names, shown) -> None:
    alive = SimpleNamespace(is_alive=True, to_json=dict)
    dead = SimpleNamespace(is_alive=False)
    states = iter([alive, None, alive, alive, dead, dead])
    awaited, said = [], []
    monkeypatch.setattr(sources, "run_of", lambda _: next(states))
    monkeypatch.setattr(sources, "parts", lambda _: names)
    monkeypatch.setattr(command, "_awaited", lambda place: awaited.append(place) or next(states))
    monkeypatch.setattr(command, "say", said.append)
    monkeypatch.setattr(command, "_EVERY_S", 0.0)
    assert command._watch(Path("m.zarr"), as_json=True)
    assert len(said) == shown
    assert len(awaited) == (3 if names else 1), "at the start, and behind each run of a source"
