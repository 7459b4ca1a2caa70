"""Coroutines for callers that cannot await: on an event loop in a thread, whatever loop runs in the caller's own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

import anyio

from downloader.engine.stop import GRACE_S, Stop, end_process
from downloader.errors import DownloadError, InterruptedRunError, InterruptionError

_Result = TypeVar("_Result")

_PATIENCE_S: Final = GRACE_S
"""How long work may take to end after it was interrupted twice."""


def in_thread(work: Coroutine[Any, Any, _Result], stop: Stop) -> _Result:
    """Return the result of a coroutine that runs on an event loop of its own, in a thread.

    An interrupt (Ctrl-C) asks `stop`, as often as it comes.

    Raises:
        DownloadError: of the work, without the frames that it was raised in.
        InterruptedRunError: the work was interrupted, and ended in time.
        KeyboardInterrupt: the work did not end within 20 s of the second interrupt. Its thread does not keep the process.
    """
    outcome: list[_Result] = []
    errors: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []
    interrupts: list[float] = []
    ended = threading.Event()
    asked = 0

    def ask() -> None:
        nonlocal asked
        while asked < len(interrupts):
            asked += 1
            stop.ask("interrupted", int(signal.SIGINT))

    def interrupt() -> None:
        interrupts.append(time.monotonic())
        # The loop is closed where the work ended in this very moment.
        with contextlib.suppress(RuntimeError):
            for loop in loops:
                loop.call_soon_threadsafe(ask)

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        ask()
        outcome.append(await work)

    def body() -> None:
        try:
            anyio.run(main)
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread
            errors.append(error)
        finally:
            ended.set()

    with _on_interrupt(interrupt):
        # A notebook knows by the context to which cell an output belongs.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(body,), name="downloader", daemon=True).start()
        while not ended.is_set():
            try:
                ended.wait(0.2)
            except KeyboardInterrupt:  # of a handler that is not Python's own
                interrupt()
            if len(interrupts) > 1 and time.monotonic() - interrupts[1] > _PATIENCE_S:
                end_process(128 + signal.SIGINT)
                raise KeyboardInterrupt
    if errors:
        _raise(errors[0])
    return outcome[0]


def _raise(error: BaseException) -> NoReturn:
    """Raise an error of the work; the frames of event loops say nothing to whoever called."""
    if isinstance(error, InterruptionError):
        interrupted = InterruptedRunError(str(error))
        interrupted.report = error.report
        raise interrupted from None
    if isinstance(error, DownloadError):
        raise error.with_traceback(None) from None
    raise error


@contextmanager
def _on_interrupt(function: Callable[[], None]) -> Iterator[None]:
    """Call a function in place of raising KeyboardInterrupt, which could be raised anywhere, also where one is handled.

    Off the main thread, and where a handler of the program's own is installed, nothing is changed.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: function())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
