"""Functions that a run calls in a worker's process, and the engine there that does its work.

The engine has a thread and an event loop of its own, so that the worker's own loop stays free to be talked to. An engine
that hears nothing of its run saves what it has, and leaves.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader._version import __version__
from downloader.engine.dask.messages import Assignment, Instruction, Left, Mail, Mailbox, Portion
from downloader.engine.dask.pool import Pool
from downloader.engine.memory import peak_memory
from downloader.errors import DownloadError, JobError, StoppedError, first_of
from downloader.mosaic.storage.location import locate
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from downloader.mosaic.storage.store import Store, WorkerLock


class EngineGoneError(Exception):
    """The engine of a task is not in this process: its run knows, or is gone."""


class Engine:
    """The thread and event loop in which the pool of one run works, and calls to it from other threads."""

    def __init__(self, assignment: Assignment, forget: Callable[[], object]) -> None:
        """Start the thread; `ready` ends once the pool works, or with the error that prevents it.

        Args:
            assignment: what to do, and as whom.
            forget: called where it left because it heard nothing: nobody will ask for it.
        """
        self.assignment = assignment
        self._forget = forget
        self.ready: Future[None] = Future()
        self.has_left = False
        self._mailbox = Mailbox()
        self._heard_at = _clock()
        self._pending: dict[ShardKey, Future[None]] = {}
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: Pool | None = None
        """None before it is ready; kept when it has left, for its last figures."""
        self._is_silent = False
        self._thread = threading.Thread(target=self._run, name=f"downloader {assignment.name}", daemon=True)
        self._thread.start()

    # From the worker's own threads.

    def feed(self, portions: Sequence[Portion]) -> list[Future[None]]:
        """Take shards; each future ends with its shard. Raises EngineGoneError."""
        futures: dict[ShardKey, Future[None]] = {portion.key: Future() for portion in portions}
        with self._guard:
            if self.has_left or self._pool is None:
                raise EngineGoneError(self.assignment.name)
            self._pending |= futures
        self._call(self._pool.accept, tuple(portions))
        return list(futures.values())

    def beat(self, instruction: Instruction) -> Mail:
        """Follow an instruction of the run, and return what happened since its last one."""
        pool = self._pool
        if pool is None:
            raise EngineGoneError(self.assignment.name)
        self._heard_at = _clock()
        self._call(pool.obey, instruction)
        # The numbers before the messages: what was under way when they were read may have ended since, never begun.
        concurrency, in_flight, ceiling = pool.concurrency, pool.limiter.in_flight, pool.limiter.ceiling
        overspent = pool.budget.overspent
        first, messages = self._mailbox.deliver(instruction.heard)
        return Mail(first, messages, concurrency, in_flight, ceiling, overspent, peak_memory())

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        loop = self._loop
        if loop is not None:
            # A loop that is closed has nothing more to hear.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *arguments)

    # On the engine's thread and loop.

    def _run(self) -> None:
        error: DownloadError | None = None
        try:
            anyio.run(self._main)
        except DownloadError as ended:
            error = ended
        except BaseException as broken:  # noqa: BLE001  # told to the run, which ends with it
            error = DownloadError(f"a worker failed: {type(broken).__name__}: {broken}")
            error.__cause__ = None
        if not self.ready.done():
            self.ready.set_exception(error or StoppedError("the worker was told to leave before it began"))
        with self._guard:
            self.has_left = True
            self._loop = None
            pending, self._pending = self._pending, {}
        self._mailbox.put(Left(error, {} if self._pool is None else dict(self._pool.blank)))
        for future in pending.values():
            future.set_exception(EngineGoneError(self.assignment.name))
        if self._is_silent:
            self._forget()

    async def _main(self) -> None:
        assignment = self.assignment
        store = locate(assignment.mosaic).store(durable=assignment.durable)
        lock = await anyio.to_thread.run_sync(self._acquire, store)
        try:
            async with assignment.access.client() as client:
                self._loop = asyncio.get_running_loop()
                self._pool = Pool(assignment, store, lock, client, self._mailbox, self._done)
                self.ready.set_result(None)
                with self._pool.limiter.listen(self._mailbox.put):
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._listen, self._pool)
                        await self._pool.run()
                        group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            lock.release()

    def _acquire(self, store: Store) -> WorkerLock:
        try:
            return store.acquire_worker_lock(self.assignment.name)
        except OSError as error:
            raise JobError(
                f"{self.assignment.mosaic}: a worker cannot reach the mosaic ({error.strerror or error}): all workers need"
                " it under this path, on a file system that they share, or in a bucket"
            ) from error

    async def _listen(self, pool: Pool) -> None:
        """Stop the pool when the run has not been heard of for too long."""
        patience_s = self.assignment.silence_s
        while (silent_s := _clock() - self._heard_at) < patience_s:  # noqa: ASYNC110  # the run's silence is no event
            await anyio.sleep(max(0.1, patience_s - silent_s))
        self._is_silent = True
        pool.abandon(f"nothing was heard of the run for {patience_s:g} s")

    def _done(self, key: ShardKey) -> None:
        with self._guard:
            future = self._pending.pop(key, None)
        if future is not None:
            future.set_result(None)


def _clock() -> float:
    """Return a clock in seconds that counts on while the machine is suspended, where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_ENGINES: dict[str, Engine] = {}
"""Those of this process, by the names of their workers."""


async def start(assignment: Assignment) -> None:
    """Start an engine in this process; return once it accepts shards.

    Raises:
        DownloadError: it cannot work here.
    """
    if assignment.version != __version__:
        raise JobError(
            f"a worker has version {__version__} of this package, the run {assignment.version}: install the same on both"
        )
    engine = Engine(assignment, lambda: _ENGINES.pop(assignment.name, None))
    _ENGINES[assignment.name] = engine
    try:
        await asyncio.wrap_future(engine.ready)
    except BaseException:
        _ENGINES.pop(assignment.name, None)
        raise


def beat(name: str, instruction: Instruction) -> Mail | None:
    """Pass an instruction to an engine, and return its answer; None where the engine is not in this process."""
    engine = _ENGINES.get(name)
    if engine is None:
        return None
    has_left = engine.has_left  # before its mail, which then holds all that it had to say
    mail = engine.beat(instruction)
    if instruction.leave and has_left:
        _ENGINES.pop(name, None)
    return mail


def fetch(name: str, portions: Sequence[Portion]) -> int:
    """Fetch and store shards, as a task of Dask; return their number when each is committed.

    Raises:
        EngineGoneError: their engine is not here, or left before it was done.
    """
    from distributed import secede

    engine = _ENGINES.get(name)
    if engine is None:
        raise EngineGoneError(name)
    futures = engine.feed(portions)
    # The engine fetches; waiting for it takes no slot of the worker's.
    secede()  # type: ignore[no-untyped-call]
    for future in futures:
        future.result()
    return len(portions)
