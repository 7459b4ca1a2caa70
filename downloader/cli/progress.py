"""Who watches a run: nobody with `-q`; with `-v` and `-vv` also the log, of retries and splits, and of every request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from downloader.cli.output import logs_json
from downloader.errors import FetchProblem
from downloader.events import Failed, Outcome, Split, Stored
from downloader.planning import Request
from downloader.progress import Fanout, JsonProgress, LineProgress, Silent, terminal_progress
from downloader.protocols import Progress
from downloader.text import duration, size

__all__ = ["counting", "watcher"]

_LOG = logging.getLogger("downloader")


def watcher(*, quiet: bool, verbose: int) -> Progress:
    """The watcher that these flags ask for."""
    if quiet:
        return Silent()
    if logs_json() and sys.stderr is not None:
        shown = JsonProgress(sys.stderr)
        return Fanout(shown, _Logged()) if verbose else shown
    if verbose:
        # A log between the redrawn lines of a bar would be unreadable.
        return Fanout(LineProgress(sys.stderr), _Logged())
    return terminal_progress()


class _Logged(Silent):
    """A watcher that writes to the package's log."""

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        match outcome:
            case Stored():
                _LOG.debug(
                    "%s: %s in %s%s",
                    outcome.request,
                    size(outcome.wire_bytes),
                    duration(outcome.seconds),
                    f", {outcome.attempts} calls" if outcome.attempts > 1 else "",
                )
            case Split():
                _LOG.info(
                    "%s: split into %d: %s", outcome.request, len(outcome.parts), outcome.problem.message
                )
            case Failed():
                _LOG.info(
                    "%s: failed (%s): %s", outcome.request, outcome.problem.cause, outcome.problem.message
                )

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        _LOG.info("%s: call %d (%s): %s", request, attempt, problem.cause, problem.message)


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Who is told (done, in all); shows it on standard error while the block runs, where that is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    bars = (BarColumn(bar_width=None),) if console.width >= 60 else ()
    with Progress(columns[0], *bars, *columns[1:], console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
