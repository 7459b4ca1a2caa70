"""The one event loop on which all lazy readers of a process fetch: in a thread of its own, never a caller's."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Final, Protocol, TypeVar

import anyio

from downloader.engine.shared_budget import SharedBudget

_Result = TypeVar("_Result")

_LAST_S: Final = 10.0
"""Seconds that saving may take at the end of the process."""


class Ending(Protocol):
    """Work on the loop that saves what it has before the process ends."""

    async def end(self) -> None:
        """Save, and return when that is done."""
        ...


class BackgroundLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.budget = SharedBudget(jobs=1, memory=0)
        """What all that is fetched on the loop shares: a limiter for each project and host, and retries."""
        self.is_ending = False
        """Whether the process ends."""
        self.works: weakref.WeakSet[Ending] = weakref.WeakSet()
        """What is ended with the process."""
        self._tasks: set[asyncio.Task[None]] = set()
        started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=anyio.run, args=(self._main, started), name="downloader lazy", daemon=True
        )
        self._thread.start()
        self._loop = started.result()

    def submit(self, work: Coroutine[Any, Any, _Result]) -> concurrent.futures.Future[_Result]:
        """Start a coroutine from another thread; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine from the loop's own thread, to run beside the caller."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End all works and stop; returns after 10 s whatever became of them."""
        with contextlib.suppress(RuntimeError, concurrent.futures.TimeoutError):
            self.submit(self._end()).result(_LAST_S)
        self._thread.join(_LAST_S)

    async def _end(self) -> None:
        self.is_ending = True
        with anyio.move_on_after(_LAST_S):
            for work in list(self.works):
                await work.end()
        self._ended.set()

    async def _main(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        self._ended = anyio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._ended.wait()


_guard = threading.Lock()
_running: BackgroundLoop | None = None


def background() -> BackgroundLoop:
    """Return the process's loop, started where there is none yet."""
    global _running  # noqa: PLW0603  # one for the process
    with _guard:
        if _running is None:
            _running = BackgroundLoop()
        return _running


def _close() -> None:
    if _running is not None:
        _running.close()


def _forget() -> None:
    """Begin anew in a forked child, in which no other thread lives on."""
    global _guard, _running
    _guard, _running = threading.Lock(), None


# What is registered last runs first: before the finalizers of all objects, which close the files that saving needs. The
# first finalizer of a process registers them, so there must be one by now.
weakref.finalize(BackgroundLoop, int)
atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
