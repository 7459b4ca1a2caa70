"""One engine for each run in a worker's process: it does what a local run does, with `worker.work`.

The engine has a thread and an event loop of its own, so that the worker's own loop stays free to be talked to. What hears
nothing of its run saves what it has, and leaves.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from downloader._version import __version__
from downloader.engine.dask.messages import Assignment, Done, Grant, Left, Mail, Mailbox, Order, Portion
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, JobError, StoppedError, first_of
from downloader.events import Event, Flow
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from downloader.mosaic.storage.store import WorkerLock
    from downloader.mosaic.subset import Selection
    from downloader.protocols import Feed, Limiter

    def _conforms(feed: _Feed) -> Feed:
        return feed


__all__ = ["Engine", "SeatLostError", "beat", "fetch", "start"]

_ROOM = 1.25
"""The pool is made for so much more than the present share, so that a share may grow a little without a new pool."""


class SeatLostError(Exception):
    """The engine that a task was meant for is not here: its run knows, or is gone."""


class _Feed:
    """Shards at hand: the `Feed` of one round of work. On the engine's loop."""

    def __init__(self, done: Callable[[ShardKey], None]) -> None:
        self.keys: deque[ShardKey] = deque()
        self.is_over = False
        self.done = done
        self._changed = anyio.Event()

    def take(self) -> ShardKey | None:
        return self.keys.popleft() if self.keys else None

    @property
    def is_ended(self) -> bool:
        return self.is_over and not self.keys

    async def more(self) -> None:
        while not self.keys and not self.is_over:
            await self._changed.wait()

    def look(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def end(self) -> None:
        self.is_over = True
        self.look()


class Engine:
    """The client, limiter and pool of one run in this process."""

    def __init__(self, assignment: Assignment, forget: Callable[[], object]) -> None:
        """Begin; `ready` tells when, or why not.

        Args:
            assignment: what to do, and as whom.
            forget: called where it left because it heard nothing: nobody will ask for it.
        """
        self.assignment = assignment
        self._forget = forget
        self.ready: Future[None] = Future()
        self.has_left = False
        self._is_silent = False
        self._mailbox = Mailbox()
        self._order = Order(assignment.grant, 0)
        self._heard_at = _clock()
        self._tasks: dict[ShardKey, _Task] = {}
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"downloader {assignment.seat}", daemon=True)
        self._thread.start()

    # From the worker's own threads.

    def feed(self, portions: Sequence[Portion]) -> Future[None]:
        """Take shards; the future ends with the last of them."""
        task = _Task({portion.key for portion in portions})
        with self._guard:
            if self.has_left or self._loop is None:
                raise SeatLostError(self.assignment.seat)
            for portion in portions:
                self._tasks[portion.key] = task
        self._call(self._accept, tuple(portions))
        return task.ended

    def beat(self, order: Order) -> Mail:
        """Take up what the run says; what happened since it last heard."""
        from downloader.engine.memory import peak_memory

        self._order, self._heard_at = order, _clock()
        self._call(self._obey)
        limiter = self._limiter
        # The numbers before the events: what was under way when they were read may have ended since, never begun.
        concurrency, in_flight, ceiling = self._concurrency, limiter.in_flight, limiter.ceiling
        overspent = self._budget.overspent
        first, events = self._mailbox.deliver(order.heard)
        return Mail(first, events, concurrency, in_flight, ceiling, overspent, peak_memory())

    def _call(self, function: object, *arguments: object) -> None:
        loop = self._loop
        if loop is not None:
            # A loop that is closed has nothing more to hear.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]

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
        self._leave(error)

    def _leave(self, error: DownloadError | None) -> None:
        with self._guard:
            self.has_left = True
            self._loop = None
            tasks, self._tasks = set(self._tasks.values()), {}
        blank = dict(self._writer.blank) if hasattr(self, "_writer") else {}
        self._mailbox.put(Left(error, blank))
        for task in tasks:
            task.ended.set_exception(SeatLostError(self.assignment.seat))
        if self._is_silent:
            self._forget()

    async def _main(self) -> None:
        assignment = self.assignment
        seat = await anyio.to_thread.run_sync(self._sit_down)
        try:
            await self._prepare(seat)
            async with assignment.access.client() as client:
                self._connect(client)
                self.ready.set_result(None)
                async with anyio.create_task_group() as group:
                    group.start_soon(self._listen)
                    await self._rounds()
                    group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            seat.release()

    def _sit_down(self) -> WorkerLock:
        from downloader.mosaic.storage.location import locate
        from downloader.mosaic.storage.worker_lock import acquire_worker_lock

        self._store = locate(self.assignment.mosaic).store(durable=self.assignment.durable)
        try:
            return acquire_worker_lock(self._store, self.assignment.seat)
        except OSError as error:
            raise JobError(
                f"{self.assignment.mosaic}: a worker cannot reach the mosaic ({error.strerror or error}): all workers need"
                " it under this path, on a file system that they share, or in a bucket"
            ) from error

    async def _prepare(self, seat: WorkerLock) -> None:
        from downloader.mosaic.record.state import GroupState
        from downloader.mosaic.shard_writer import ShardWriter
        from downloader.mosaic.subset import Selection

        layouts = self.assignment.layouts
        self._states = {layout.group.name: GroupState(layout.group) for layout in layouts}
        self._writer = ShardWriter(self._store, layouts, self._states, self._mailbox, seat)
        self._chosen: dict[ShardKey, dict[int, int]] = {}
        self._sink: Selection = Selection(self._writer, self._chosen)

    def _connect(self, client: object) -> None:
        from downloader.earthengine import RestPixelSource
        from downloader.earthengine.client import EarthEngine
        from downloader.engine.memory import pixel_memory
        from downloader.engine.resources import Parts
        from downloader.flow.clock import MonotonicClock
        from downloader.flow.limiter import AdaptiveLimiter
        from downloader.flow.retry import RetryBudget

        assert isinstance(client, EarthEngine)  # noqa: S101  # what `Access.client` makes
        assignment, grant = self.assignment, self.assignment.grant
        self._memory = (
            assignment.memory
            if assignment.memory is not None
            else pixel_memory(assignment.memory_limit, assignment.plan)
        )
        self._stop = Stop()
        clock, rng = MonotonicClock(), random.Random()  # noqa: S311  # jitter, not a secret
        self._concurrency = grant.concurrency
        self._limiter = AdaptiveLimiter(
            grant.concurrency,
            grant.requests_per_second,
            clock,
            rng,
            assignment.give_up_after_s,
            self._mailbox.put,
        )
        client.on_restricted = self._limiter.restrict
        self._budget = RetryBudget(extra=grant.retries)
        limiter: Limiter = self._limiter
        source = RestPixelSource(client)
        self._parts = Parts(source, self._sink, limiter, clock, rng, self._tell, self._budget, self._stop)
        self._now: _Feed | None = None
        self._next = _Feed(self._done)
        self._pool = 0
        self._woken = anyio.Event()
        self._loop = asyncio.get_running_loop()

    def _tell(self, event: Event) -> None:
        if not isinstance(event, Flow):  # the run asks for the numbers itself
            self._mailbox.put(event)

    def _accept(self, portions: tuple[Portion, ...]) -> None:
        # A round whose end was told may have seen it already: what comes later is for the next.
        feed = self._next if self._now is None or self._now.is_over else self._now
        for portion in portions:
            state = self._states[portion.key.group]
            bands = range(len(state.group.bands))
            stored = dict(zip(bands, portion.stored or (0,) * len(bands), strict=True))
            state.update(state.index(portion.key), stored, portion.failed)
            self._chosen[portion.key] = dict(portion.missing)
            feed.keys.append(portion.key)
        feed.look()
        self._woken.set()

    def _obey(self) -> None:
        """Take up what the run said last."""
        order = self._order
        self._give(order.grant)
        if self._now is not None and (order.is_last or order.leave):
            self._now.end()
        if order.stop and not self._stop.drain.is_set():
            self._stop.ask(order.reason)
        if order.stop > 1 and not self._stop.now.is_set():
            self._stop.ask(order.reason)
        self._woken.set()

    def _give(self, grant: Grant) -> None:
        if grant.concurrency != self._concurrency:
            self._limiter.set_concurrency(grant.concurrency)
            self._concurrency = grant.concurrency
        if grant.requests_per_second > 0:
            self._limiter.set_rate(grant.requests_per_second)
        self._budget.extra = grant.retries
        if self._now is not None and grant.concurrency > self._pool:
            # The pool is too small for its new share: the next round gets a larger one.
            self._next.keys.extend(self._now.keys)
            self._now.keys.clear()
            self._now.end()

    async def _rounds(self) -> None:
        """Work, each time that there is something to do, until it is time to leave."""
        from downloader.engine.resources import Share
        from downloader.engine.worker import work

        assignment = self.assignment
        while not self._order.leave and not self._stop.drain.is_set():
            if not self._next.keys:
                self._woken = anyio.Event()
                await self._woken.wait()
                continue
            feed, self._next = self._next, _Feed(self._done)
            self._now, feed.is_over = feed, self._order.is_last
            self._pool = max(1, int(self._order.grant.concurrency * _ROOM + 0.5))
            share = Share(
                assignment.plan, self._pool, self._memory, assignment.policy, assignment.checkpoint_s
            )
            await work(share, self._parts, feed)
            self._now = None

    def _done(self, key: ShardKey) -> None:
        self._chosen.pop(key, None)
        self._mailbox.put(Done(key))
        with self._guard:
            task = self._tasks.pop(key, None)
        if task is not None:
            task.done(key)

    async def _listen(self) -> None:
        """Leave where the run is not heard any more."""
        patience_s = self.assignment.silence_s
        while (silent_s := _clock() - self._heard_at) < patience_s:  # noqa: ASYNC110  # the run's silence is no event
            await anyio.sleep(max(0.1, patience_s - silent_s))
        self._is_silent = True
        for _ in range(2):
            self._stop.ask(f"nothing was heard of the run for {patience_s:g} s")
        self._woken.set()


class _Task:
    """The shards of one task of Dask."""

    def __init__(self, keys: set[ShardKey]) -> None:
        self._keys = keys
        self.ended: Future[None] = Future()

    def done(self, key: ShardKey) -> None:
        self._keys.discard(key)
        if not self._keys and not self.ended.done():
            self.ended.set_result(None)


def _clock() -> float:
    """Seconds, those of a suspended machine included where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_ENGINES: dict[str, Engine] = {}
"""Those of this process, by their seats."""


async def start(assignment: Assignment) -> None:
    """Make an engine in this process; returns once it may be given shards.

    Raises:
        DownloadError: it cannot work here.
    """
    if assignment.version != __version__:
        raise JobError(
            f"a worker has version {__version__} of this package, the run {assignment.version}: install the same on both"
        )
    engine = Engine(assignment, lambda: _ENGINES.pop(assignment.seat, None))
    _ENGINES[assignment.seat] = engine
    try:
        await asyncio.wrap_future(engine.ready)
    except BaseException:
        _ENGINES.pop(assignment.seat, None)
        raise


def beat(seat: str, order: Order) -> Mail | None:
    """Tell an engine what counts from now on, and hear what happened; None where it is not here."""
    engine = _ENGINES.get(seat)
    if engine is None:
        return None
    has_left = engine.has_left  # before its mail, which then holds all that it had to say
    mail = engine.beat(order)
    if order.leave and has_left:
        _ENGINES.pop(seat, None)
    return mail


def fetch(seat: str, portions: Sequence[Portion]) -> int:
    """A task: fetch and store these shards; how many they were. Returns when each is committed.

    Raises:
        SeatLostError: their engine is not here, or left before it was done.
    """
    from distributed import secede

    engine = _ENGINES.get(seat)
    if engine is None:
        raise SeatLostError(seat)
    ended = engine.feed(portions)
    # The engine fetches; waiting for it takes no slot of the worker's.
    secede()  # type: ignore[no-untyped-call]
    ended.result()
    return len(portions)
