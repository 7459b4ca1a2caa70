"""Requests to stop a run: first to drain, then at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from downloader.errors import DownloadError, InterruptionError, StoppedError
from downloader.events import Phase
from downloader.protocols import Progress

_Result = TypeVar("_Result")

GRACE_S = 20.0
"""Seconds that requests under way may still take once a run drains, and a run that was told twice to stop."""

_SAVE_S = 60.0
"""Seconds that saving what was fetched may take after that."""


class NotStarted(Exception):  # noqa: N818  # no error: what was not started stays undone
    """Raised for work that is not started because the run drains."""


class Stop:
    """A request to stop a run, which callers set and the engine reads. Belongs to the event loop of the run."""

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
        self._tells: list[Progress] = []

    def ask(self, reason: str, signal_number: int | None = None) -> None:
        """Ask to drain; where that was asked already, to end at once.

        Args:
            reason: one readable line; that of the first time counts.
            signal_number: the signal that asked, if one did.
        """
        if self.drain.is_set():
            self.now.set()
            return
        self.reason, self.signal_number = reason, signal_number
        self.drain.set()
        word = "Ctrl-C again" if "Ctrl-C" in reason else "interrupting again"
        again = f"; {word} stops at once" if signal_number == signal.SIGINT else ""
        for tell in self._tells:
            tell(Phase(f"finishing what is under way, {GRACE_S:.0f} s at most{again}"))
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def asks_after(self, seconds: float | None, key: str) -> Iterator[None]:
        """Ask to drain where the block takes longer than the limit of this key; None for no limit."""
        if seconds is None:
            yield
            return
        text = f"{key}: {seconds:g} s are over"
        timer = asyncio.get_running_loop().call_later(seconds, self.ask, text)
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def tells(self, progress: Progress) -> Iterator[None]:
        """Tell `progress` that the run drains, where somebody asks for it during the block."""
        self._tells.append(progress)
        try:
            yield
        finally:
            self._tells.remove(progress)

    @contextmanager
    def cancels(self) -> Iterator[None]:
        """Cancel the block as soon as somebody asks to stop: for work that has nothing to save.

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

    async def cuts_short(self, wait: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the result of a wait that asking to stop ends at once.

        Raises:
            NotStarted: it was asked, before or meanwhile.
        """
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if not self.drain.is_set():
                    return await wait()
            finally:
                self._scopes.discard(scope)
        raise NotStarted

    def error(self, state: str) -> DownloadError:
        """Return the error that ends a run which was asked to stop; `state` tells what is saved."""
        message = f"{self.reason}: {state}; run the job again to continue"
        if self.signal_number is not None:
            return InterruptionError(message, self.signal_number)
        return StoppedError(message)


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP ask to stop while the block runs. On the main thread's event loop only.

    A SIGHUP that is ignored, as under nohup, stays so.
    """
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        numbers.append(hangup)

    def ask(number: signal.Signals) -> None:
        end_process(128 + number, GRACE_S if stop.drain.is_set() else GRACE_S + _SAVE_S)
        stop.ask("stopped by Ctrl-C" if number == signal.SIGINT else f"stopped by {number.name}", int(number))

    before = {number: signal.getsignal(number) for number in numbers}

    def ask_from_handler(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(ask, signal.Signals(number))

    for number in numbers:
        try:
            loop.add_signal_handler(number, ask, number)
        except NotImplementedError:  # Windows
            signal.signal(number, ask_from_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            # None: not of Python's making.
            if handler is not None:
                signal.signal(number, handler)


def end_process(status: int, at_most_s: float | None = None) -> None:
    """End the process even if a thread cannot end, such as one that writes to a hanging disk.

    Args:
        status: the exit status of the process then.
        at_most_s: seconds that the main thread may take, None for any; other threads have 20 s after its end.
    """

    def wait() -> None:
        threading.main_thread().join(at_most_s)
        if not threading.main_thread().is_alive():
            time.sleep(GRACE_S)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)

    threading.Thread(target=wait, name="downloader exit", daemon=True).start()
