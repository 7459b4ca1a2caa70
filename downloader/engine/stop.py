"""Asking a run to stop: first to drain, then at once. One object that doors set and the engine reads."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from downloader.errors import DownloadError, InterruptedRunError, StoppedError

__all__ = ["GRACE_S", "Stop", "stop_on_signals"]

GRACE_S = 20.0
"""Seconds that requests under way may still take once a run drains (DESIGN §4, promise 8)."""


class Stop:
    """A request to stop, from whoever has the right to ask. To be used on the run's event loop."""

    def __init__(self) -> None:
        self.drain = anyio.Event()
        """Set once: start nothing more, finish what can finish."""
        self.now = anyio.Event()
        """Set at the second time of asking: finish nothing, save what is there."""
        self.reason = ""
        """One readable line."""
        self.signal_number: int | None = None
        """The signal that asked, if one did."""
        self._scopes: set[anyio.CancelScope] = set()

    def ask(self, reason: str, signal_number: int | None = None) -> None:
        """Ask once more."""
        if self.drain.is_set():
            self.now.set()
            return
        self.reason, self.signal_number = reason, signal_number
        self.drain.set()
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def cancels(self) -> Iterator[None]:
        """A block that has nothing to save: asking to stop cancels it at once.

        Raises:
            DownloadError: it was asked.
        """
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self.drain.is_set():
                    scope.cancel()
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise self.error("nothing was fetched yet")

    def error(self, state: str) -> DownloadError:
        """How a run ends that was asked to stop; `state` says what became of its work."""
        message = f"{self.reason}: {state}; run the same command again to continue"
        if self.signal_number is not None:
            return InterruptedRunError(message, self.signal_number)
        return StoppedError(message)


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP ask to stop while the block runs. On the main thread's event loop only.

    A SIGHUP that is ignored, as under nohup, stays so.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.ask, f"{number.name} received", int(number))
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
