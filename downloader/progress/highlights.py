"""Notices of what happens to requests: the first of its kind, and again after ten minutes without it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from downloader.errors import Action, FetchProblem
from downloader.events import Event, Failed, Notice, Retried, Split
from downloader.planning import Request

_AGAIN_S: Final = 600.0
"""A kind of event that did not occur for so long is reported again when it does."""


class Highlights:
    """A `Progress` that makes notices of other events: a quota reached, requests split, tiles failed."""

    def __init__(
        self, notice: Callable[[Notice], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._notice = notice
        self._clock = clock
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Pass on a notice where the event is the first of its kind."""
        match event:
            case Split() if event.attempts and self._is_news(f"split {event.problem.cause}"):
                text = (
                    f"too large for one request ({event.problem.message}): split into {len(event.parts)} parts, as are other"
                    " requests of its size"
                )
                self._tell(text, "split", event.problem, event.request)
            case Failed() if self._is_news(f"failed {event.problem.cause}"):
                text = f"failed: {event.request}: {event.problem.message.rstrip('.')}; the run continues, and the next run tries it again"
                self._tell(text, "failed", event.problem, event.request)
            case Retried() if event.problem.action is Action.SLOW and self._is_news(
                f"quota {event.problem.limit}"
            ):
                what = "request rate" if event.problem.limit == "rate" else "concurrency"
                text = f"quota of {what} reached ({event.problem.cause}); slowing down to the rate the service allows"
                self._tell(text, "quota", event.problem, event.request)

    def _is_news(self, kind: str) -> bool:
        now = self._clock()
        last = self._last.get(kind)
        self._last[kind] = now
        return last is None or now - last >= _AGAIN_S

    def _tell(self, text: str, name: str, problem: FetchProblem, request: Request) -> None:
        fields = {"cause": problem.cause, "status": problem.status, "request": str(request)}
        self._notice(Notice(text, name, "warning", fields))
