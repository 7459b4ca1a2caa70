"""What of many outcomes is worth a line: the first of its kind, and again when it comes back after a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from downloader.errors import Action, FetchProblem
from downloader.events import Failed, Notice, Outcome, Split
from downloader.planning import Request
from downloader.progress.tally import Silent

__all__ = ["Herald"]

_AGAIN_S: Final = 600.0
"""What did not happen for so long is told once more when it does."""


class Herald(Silent):
    """Watches a run and says what happens to it: a quota reached, requests split, tiles failing."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._last: dict[str, float] = {}

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        match outcome:
            # Some are split for a better end of the run; the service said nothing of these.
            case Split() if outcome.attempts and self._is_news(f"split {outcome.problem.cause}"):
                self._tell(
                    f"too much for one request ({outcome.problem.message}): it is asked for in "
                    f"{len(outcome.parts)} parts, and so are others of its size",
                    "split",
                    outcome.problem,
                    outcome.request,
                )
            case Failed() if self._is_news(f"failed {outcome.problem.cause}"):
                self._tell(
                    f"failed: {outcome.request}: {outcome.problem.message}; the run goes on, and a rerun tries it again",
                    "failed",
                    outcome.problem,
                    outcome.request,
                )

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:  # noqa: ARG002
        """See `Progress`."""
        if problem.action is Action.SLOW and self._is_news(f"quota {problem.limit}"):
            what = "requests a minute" if problem.limit == "rate" else "requests at once"
            self._tell(
                f"the quota of {what} is reached ({problem.cause}): going on at the pace that the service allows",
                "quota",
                problem,
                request,
            )

    def _is_news(self, kind: str) -> bool:
        now = self._clock()
        last = self._last.get(kind)
        self._last[kind] = now
        return last is None or now - last >= _AGAIN_S

    def _tell(self, text: str, event: str, problem: FetchProblem, request: Request) -> None:
        self._say(
            Notice(
                text,
                event,
                "warning",
                cause=problem.cause,
                status=problem.status,
                request=str(request),
            )
        )
