"""Messages to displays about work besides fetching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio import from_thread

from downloader.events import Phase
from downloader.progress.tally import Timer
from downloader.protocols import Progress


@contextmanager
def doing(progress: Progress, text: str, *, is_brief: bool = False) -> Iterator[None]:
    """Tell that something goes on while the block runs."""
    progress(Phase(text, is_brief=is_brief))
    try:
        yield
    finally:
        progress(Phase(""))


def steps(progress: Progress, text: str, every_s: float = 0.25) -> Callable[[int, int], None]:
    """Return a function to be called in a worker thread with (steps done, steps in all); it tells of them now and then."""
    timer = Timer(every_s)

    def watch(done: int, total: int) -> None:
        if timer.is_due():
            from_thread.run_sync(progress, Phase(text, done, total))

    return watch
