"""Display of a run on the command line: nothing with `-q`; with `-v` also a log of retries and splits, with `-vv` of every request."""

from __future__ import annotations

import logging
import sys

from downloader.cli.output import logs_json
from downloader.events import Event, Failed, Retried, Split, Stored
from downloader.progress.jsonlines import json_line
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


def unwatched(_done: int, _total: int) -> None:
    """Take no notice of steps: what `--quiet` gives to calls that would show them."""
