"""Who watches a run: nobody with `-q`; with `-v` and `-vv` also the log, of retries and splits, and of every request."""

from __future__ import annotations

import logging
import sys

from downloader.cli.output import logs_json
from downloader.errors import FetchProblem
from downloader.outcome import Failed, Outcome, Split, Stored
from downloader.planning import Request
from downloader.progress import Fanout, JsonProgress, LineProgress, Silent, terminal_progress
from downloader.seams import Progress

__all__ = ["watcher"]

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
                    "%s: %.2f MB in %.2f s%s",
                    outcome.request,
                    outcome.wire_bytes / 1e6,
                    outcome.seconds,
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
