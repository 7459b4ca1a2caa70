"""A line for what takes long: it comes late, goes with its block, and is the only one of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from downloader.events import Phase
from downloader.progress import late as module
from downloader.progress.late import late
from tests.harness import PATIENCE_S


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Phase]:
    """What a terminal is told, where a line comes at once."""
    told: list[Phase] = []
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    monkeypatch.setattr(module, "is_piped", lambda: False)
    monkeypatch.setattr(module, "terminal_progress", lambda: told.append)
    return told


def wait_for(true: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE_S * 100)):
        if true():
            return
        waiting.wait(0.01)
    raise AssertionError("never")


def test_it_comes_late_tells_steps_and_goes(shown: list[Phase]) -> None:
    with late("reading") as tell:
        wait_for(lambda: bool(shown))
        tell(3, 10)
    assert shown == [Phase("reading"), Phase("reading", 3, 10), Phase("")]


def test_what_is_done_soon_shows_nothing(shown: list[Phase], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_S", 60.0)
    with late("reading") as tell:
        tell(1, 2)
    assert shown == []


def test_nothing_is_shown_in_a_pipeline_nor_where_nobody_wants_it(
    shown: list[Phase], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    with late("reading", wanted=False) as tell:
        tell(1, 2)
        assert threading.active_count() == before
    monkeypatch.setattr(module, "is_piped", lambda: True)
    with late("reading"):
        assert threading.active_count() == before
    assert shown == []


def test_one_line_at_a_time(shown: list[Phase]) -> None:
    with late("first"):
        wait_for(lambda: bool(shown))
        with late("second") as tell:
            tell(1, 2)
            wait_for(lambda: not any(isinstance(one, threading.Timer) for one in threading.enumerate()))
            tell(2, 2)
    with late("third"):
        wait_for(lambda: len(shown) == 3)
    assert shown == [Phase("first"), Phase(""), Phase("third"), Phase("")]


def test_it_goes_with_an_error(shown: list[Phase]) -> None:
    def read() -> None:
        with late("reading"):
            wait_for(lambda: bool(shown))
            raise ValueError("oh")

    with pytest.raises(ValueError, match="oh"):
        read()
    assert shown[-1] == Phase("")
