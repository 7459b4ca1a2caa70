"""What a worker has to say, kept in order until its run has it."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from downloader.errors import FetchProblem
from downloader.executors.messages import Event, Notice, Retried
from downloader.outcome import Outcome
from downloader.planning import Request
from downloader.progress import Silent

if TYPE_CHECKING:
    from downloader.mosaic.ledger import Entry
    from downloader.seams import Progress

__all__ = ["Mailbox"]

_AT_ONCE: Final = 2_000
"""Events of one delivery: some hundred kilobytes."""


class Mailbox(Silent):
    """A `Progress` and the ledger of a worker: what it is told waits here. Safe to use from threads.

    Events are numbered and stay until they are known to have arrived, so that an answer which got lost costs nothing.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._events: deque[Event] = deque()
        self._first = 1

    def put(self, event: Event) -> None:
        """Keep one more."""
        with self._guard:
            self._events.append(event)

    def deliver(self, heard: int) -> tuple[int, tuple[Event, ...]]:
        """Forget what has arrived; the number of the first event that has not, and those that come next."""
        with self._guard:
            while self._events and self._first <= heard:
                self._events.popleft()
                self._first += 1
            count = min(len(self._events), _AT_ONCE)
            return self._first, tuple(self._events[number] for number in range(count))

    # As the ledger: the run writes the line, and a shard counts as stored once it did.

    def append(self, *entries: Entry) -> None:
        """Pass lines on to the run."""
        for entry in entries:
            self.put(entry)

    # As `Progress`.

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self.put(outcome)

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        self.put(Retried(request, problem, attempt))

    def notice(self, text: str) -> None:
        """See `Progress`."""
        self.put(Notice(text))


if TYPE_CHECKING:

    def _conforms(mailbox: Mailbox) -> Progress:
        return mailbox
