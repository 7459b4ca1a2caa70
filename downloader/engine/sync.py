"""Run coroutines for callers that cannot await, on an event loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, Final, TypeVar

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
    result: Future[_Result] = Future()
    loops: list[asyncio.AbstractEventLoop] = []
    interrupts: list[float] = []
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

    async def main() -> _Result:
        loops.append(asyncio.get_running_loop())
        ask()
        return await work

    def body() -> None:
        try:
            result.set_result(anyio.run(main))
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread
            result.set_exception(error)

    with _on_interrupt(interrupt):
        # A notebook knows by the context to which cell an output belongs.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(body,), name="downloader", daemon=True).start()
        while not result.done():
            try:
                wait([result], 0.2)
            except KeyboardInterrupt:  # of a handler that is not Python's own
                interrupt()
            if len(interrupts) > 1 and time.monotonic() - interrupts[1] > _PATIENCE_S:
                end_process(128 + signal.SIGINT)
                raise KeyboardInterrupt
    return _outcome(result)


def _outcome(result: Future[_Result]) -> _Result:
    """Return the result of the work, or raise its error."""
    try:
        return result.result()
    except InterruptionError as error:
        interrupted = InterruptedRunError(str(error))
        interrupted.report = error.report
        raise interrupted from None
    except DownloadError as error:
        # The frames of event loops say nothing to whoever called.
        raise error.with_traceback(None) from None


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
