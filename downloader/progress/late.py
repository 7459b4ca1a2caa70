"""A line about work that takes more than a moment, on a terminal or in a notebook; nothing elsewhere."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from downloader.events import Phase
from downloader.progress.terminal import is_piped, terminal_progress
from downloader.protocols import Progress

_QUIET_S: Final = 1.0
"""Seconds of work that show nothing: a line that comes and goes at once is noise."""

_SHOWING: Final = threading.Lock()
"""Held by the one line of the process that is shown: Dask's threads wait side by side."""


@contextmanager
def late(text: str, *, wanted: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show a line for the block once that has taken more than a moment.

    Args:
        text: what goes on.
        wanted: whether it is shown at all.

    Yields:
        A function to be called with (steps done, steps in all; 0 where nobody knows), from any thread.
    """
    if not wanted or is_piped():
        yield lambda _done, _total: None
        return
    line = _Line(text)
    # A notebook knows by the context to which cell an output belongs.
    timer = threading.Timer(_QUIET_S, contextvars.copy_context().run, (line.show,))
    timer.daemon = True
    timer.start()
    try:
        yield line.tell
    finally:
        timer.cancel()
        line.close()


class _Line:
    def __init__(self, text: str) -> None:
        self._phase = Phase(text)
        self._display: Progress | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def tell(self, done: int, total: int) -> None:
        with self._lock:
            self._phase = Phase(self._phase.text, done, total)
            if self._display is not None:
                self._display(self._phase)

    def show(self) -> None:
        with self._lock:
            if self._is_closed or not _SHOWING.acquire(blocking=False):
                return
            self._display = terminal_progress()
            self._display(self._phase)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._display is not None:
                self._display(Phase(""))
                _SHOWING.release()
