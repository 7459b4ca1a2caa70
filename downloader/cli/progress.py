"""What the command line shows of a run: nothing with `-q`; with `-v` also a log of retries and splits, with `-vv` of every request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from downloader.cli.output import logs_json
from downloader.events import Event, Failed, Retried, Split, Stored
from downloader.progress.jsonlines import json_line
from downloader.progress.phases import doing
from downloader.progress.tally import fanout
from downloader.progress.terminal import Lines, terminal_progress
from downloader.protocols import Progress
from downloader.text import duration, size

_LOG = logging.getLogger("downloader")


def display(*, quiet: bool, verbose: int) -> Progress:
    """Return the display that these flags ask for."""
    if quiet:
        return fanout()
    if logs_json() and sys.stderr is not None:
        shown = Lines(sys.stderr, line=json_line)
        return fanout(shown, _log) if verbose else shown
    if verbose:
        # A log between the redrawn lines of a bar would be unreadable.
        return fanout(Lines(sys.stderr), _log)
    return terminal_progress()


def _log(event: Event) -> None:
    """Write what became of requests to the log of the package."""
    match event:
        case Stored():
            calls = f", {event.attempts} calls" if event.attempts > 1 else ""
            _LOG.debug(
                "%s: %s in %s%s", event.request, size(event.wire_bytes), duration(event.seconds), calls
            )
        case Split():
            _LOG.info("%s: split into %d: %s", event.request, len(event.parts), event.problem.message)
        case Failed():
            _LOG.info("%s: failed (%s): %s", event.request, event.problem.cause, event.problem.message)
        case Retried():
            problem = event.problem
            _LOG.info("%s: call %d (%s): %s", event.request, event.attempt, problem.cause, problem.message)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal that something goes on while the block runs."""
    stream = sys.stderr
    shown = terminal_progress(stream) if stream is not None and stream.isatty() else fanout()
    with doing(shown, what):
        yield


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is called with (steps done, steps in all), and show them on a terminal meanwhile.

    Shows the time since the start: the last step of an export takes longer than all others, so that no time left would
    be right.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    bars = (BarColumn(bar_width=None),) if console.width >= 60 else ()
    with Progress(columns[0], *bars, *columns[1:], console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
