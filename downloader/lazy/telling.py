"""Telling a reader at a terminal or in a notebook that what it reads is still on its way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from downloader.events import Phase
from downloader.progress.terminal import is_piped, listener

_SHOWING = threading.Lock()
"""Held by the one thread of the process whose wait is shown: Dask's threads wait side by side."""


@contextmanager
def told(text: str, counted: Callable[[], tuple[int, int]]) -> Iterator[Callable[[], None]]:
    """Show a line for the block; yields a function that brings it up to date.

    Args:
        text: what goes on.
        counted: returns steps done and steps in all; 0 in all where nobody knows.
    """
    if is_piped() or not _SHOWING.acquire(blocking=False):
        yield lambda: None
        return
    try:
        show = listener(progress=True, on_event=None)

        def tell() -> None:
            show(Phase(text, *counted()))

        try:
            yield tell
        finally:
            show(Phase(""))
    finally:
        _SHOWING.release()
