"""Coroutines for those who cannot await: on an event loop of their own, beside whatever loop may be running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

from downloader.engine.stop import Stop

__all__ = ["in_thread"]

_Result = TypeVar("_Result")


def in_thread(work: Coroutine[Any, Any, _Result], stop: Stop) -> _Result:
    """Run a coroutine on an event loop of its own in a thread, so that a running loop does not matter."""
    outcome: list[_Result] = []
    errors: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []
    interrupts: list[KeyboardInterrupt] = []
    heard = 0

    def catch_up() -> None:
        nonlocal heard
        while heard < len(interrupts):
            heard += 1
            stop.ask("interrupted", int(signal.SIGINT))

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        catch_up()
        outcome.append(await work)

    def body() -> None:
        try:
            anyio.run(main)
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread
            errors.append(error)
        finally:
            ended.set()

    # Not `Thread.join`: interrupted before Python 3.13, it takes the thread for ended.
    ended = threading.Event()
    thread = threading.Thread(target=body, name="downloader")
    thread.start()
    while not ended.is_set():
        try:
            ended.wait(0.2)
        except KeyboardInterrupt as interrupt:
            interrupts.append(interrupt)
            # The loop is closed where the work ended in this very moment.
            with contextlib.suppress(RuntimeError):
                for loop in loops:
                    loop.call_soon_threadsafe(catch_up)
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]
