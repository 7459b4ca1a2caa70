"""The executor of Dask: divides shards and quota among worker processes, and takes in what they did.

The run plans lazily, and calls every worker a few times a second: with its part of the quota and its next shards. The
worker answers with what happened, which goes to the listeners and the ledger. Only the run writes the ledger: one line of
many shards costs as much as one of one, and the order of all lines says which is the last of a shard. A worker does what
a local run does (`pool`), with its share of the quota.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.to_thread

from downloader._version import __version__
from downloader.engine.context import RunContext
from downloader.engine.dask.backlog import Backlog
from downloader.engine.dask.cluster import Cluster, cluster
from downloader.engine.dask.messages import (
    BEAT_S,
    Assignment,
    Done,
    Grant,
    Instruction,
    Left,
    Mail,
    Portion,
)
from downloader.engine.dask.quota import Division
from downloader.engine.dask.worker import beat, start, wait
from downloader.engine.stop import GRACE_S
from downloader.errors import DownloadError, JobError, StoppedError, first_of
from downloader.events import Failed, Flow, Notice, Retried, Split, Stored
from downloader.mosaic.record.ledger import LedgerEntry
from downloader.mosaic.record.paths import WORKERS
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.worker_lock import create_worker_lock, remove_worker_lock
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from types import TracebackType

    from downloader.protocols import Executor


_LOOKED_AHEAD: Final = 4
"""Shards looked up ahead, for each that workers may hold: far enough to see the end before it is there."""

_AHEAD_S: Final = 2.0
"""Seconds of work that a worker has at hand, at the pace it showed."""

_FIRST_S: Final = 5.0
"""How long a request may take, before any was seen to end."""

_BEGIN_S: Final = 60.0
"""Seconds in which a worker must be ready."""

_LOOK_S: Final = 3.0
"""Seconds in which a worker must answer: several looks may fail before it takes its run for gone."""

_MISSED: Final = 4
"""Looks at a worker that may fail in a row while the scheduler knows it."""

_UNREACHED: Final = (OSError, TimeoutError, KeyError)
"""What a call raises whose worker is gone or does not answer."""


@dataclass(slots=True)
class _Worker:
    """One worker, as the run sees it."""

    address: str
    name: str
    heard: int = 0
    sent: int = 0
    """Portions that it is known to have."""
    unsent: list[Portion] = field(default_factory=list)
    """Portions of which this is not known."""
    outstanding: dict[ShardKey, int] = field(default_factory=dict)
    """Shards that it has → about how many requests each takes."""
    done: int = 0
    """About how many requests it has made."""
    task: Any = None
    """A task of Dask that ends when it leaves; None before it began."""
    mail: Mail | None = None
    left: Left | None = None
    left_at: float = 0.0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Of all that waits for it."""
    is_told: bool = False
    """Whether it was said that its shards have to wait."""


class DaskExecutor:
    """An `Executor` of worker processes, here or elsewhere, through Dask."""

    def __init__(self, context: RunContext) -> None:
        """Start nothing before the block is entered; `context` is the run."""
        assert context.job.executor.dask is not None  # noqa: S101  # asked before
        self._settings = context.job.executor.dask
        self._limits = context.job.limits
        self._mosaic = context.mosaic
        self._context = context
        self._stack = AsyncExitStack()
        self._division = Division(self._limits.concurrency, self._limits.requests_per_second)
        self._workers: dict[str, _Worker] = {}
        self._slowest_s = _FIRST_S
        self._is_measured = False
        self._error: DownloadError | None = None
        self._is_cancelled = False
        self._leaving: list[_Worker] = []
        """Workers that are gone, whose shards others may not have yet."""
        self.peak_memory = 0
        """See `Executor`."""

    async def __aenter__(self) -> Self:
        """Wait until there are workers."""
        self._cluster: Cluster = await self._stack.enter_async_context(cluster(self._settings))
        try:
            told = False
            until = time.monotonic() + self._limits.give_up_after
            while len(await self._present() or []) < (self._settings.workers or 1):
                if time.monotonic() > until:
                    raise self._no_workers()
                if not told and self._settings.scheduler is not None:
                    told = True
                    self._context.progress(Notice(f"waiting for workers of {self._cluster.address}"))
                await anyio.sleep(BEAT_S)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`."""
        self._assignment = _assignment(self._context)
        limits, seen = self._limits, self._context.chosen or self._mosaic
        self._backlog = Backlog(
            self._assignment.plan,
            shards,
            seen.missing,
            self._mosaic.known,
            limits.max_requests,
            limits.max_bytes,
        )
        await self._backlog.look_ahead(1)
        if self._backlog.is_empty:
            return
        self._began_at = time.monotonic()
        try:
            async with anyio.create_task_group() as outer:
                # Who cancels the run wants it to end, and what the workers have to be saved.
                outer.start_soon(self._watch_cancelling)
                outer.start_soon(self._watch_time)
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as group:
                        await self._go(group)
                        group.cancel_scope.cancel()
                outer.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._clear)
        if self._error is not None:
            raise self._error
        if self._backlog.limit is not None:
            self._context.stop.ask(self._backlog.limit)

    # The run as a whole ------------------------------------------------------------------------------------

    async def _go(self, group: anyio.abc.TaskGroup) -> None:
        seen_at, ends_at = time.monotonic(), math.inf
        while True:
            present = await self._present()
            if present is None:
                raise StoppedError(
                    f"the Dask scheduler at {self._cluster.address} was lost; everything committed so far is saved: start"
                    " it, and run the same command again to continue"
                )
            await self._backlog.look_ahead(_LOOKED_AHEAD * self._limits.concurrency)
            if not self._is_over:
                for address in present:
                    if address not in self._workers:
                        group.start_soon(self._serve, self._join(address))
            for worker in list(self._workers.values()):
                if worker.address not in present and worker.left is None:
                    worker.left = Left()
                    worker.scope.cancel()
            await self._reclaim()
            if self._is_over and not self._workers and (not self._leaving or self._stopping):
                return
            now = time.monotonic()
            seen_at = now if present else seen_at
            if now - seen_at > self._limits.give_up_after:
                raise self._no_workers()
            if self._stopping and math.isinf(ends_at):
                ends_at = now + GRACE_S + self._settings.leave_after
            if now > ends_at:
                return
            self._context.progress(self._flow())
            await anyio.sleep(BEAT_S / 5 if self._is_over else BEAT_S / 2)

    @property
    def _stopping(self) -> bool:
        return self._context.stop.drain.is_set() or self._error is not None or self._is_cancelled

    @property
    def _is_over(self) -> bool:
        """Whether workers have nothing more to do."""
        if self._stopping:
            return True
        busy = any(worker.outstanding for worker in self._workers.values())
        return self._backlog.is_empty and not busy and not any(worker.outstanding for worker in self._leaving)

    def _flow(self) -> Flow:
        mails = [worker.mail for worker in self._workers.values() if worker.mail is not None]
        return Flow(sum(mail.in_flight for mail in mails), sum(mail.ceiling for mail in mails))

    async def _present(self) -> list[str] | None:
        """Return the addresses of the workers present; None if the scheduler is lost."""
        for _ in range(_MISSED):
            try:
                return await self._cluster.workers()
            except (OSError, TimeoutError):
                await anyio.sleep(BEAT_S)
        return None

    def _no_workers(self) -> StoppedError:
        return StoppedError(
            f"no worker came to the Dask scheduler at {self._cluster.address} for"
            f" {self._limits.give_up_after:g} s; everything committed so far is saved: start workers, and run"
            " the same command again to continue"
        )

    async def _watch_cancelling(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._is_cancelled = True

    async def _watch_time(self) -> None:
        if self._limits.max_time is not None:
            await anyio.sleep(self._limits.max_time)
            self._context.stop.ask(f"limits.max_time: {self._limits.max_time:g} s are over")

    # Workers come and go -----------------------------------------------------------------------------------

    def _join(self, address: str) -> _Worker:
        worker = _Worker(address, secrets.token_hex(8))
        self._workers[address] = worker
        self._division.join(worker.name)
        return worker

    async def _serve(self, worker: _Worker) -> None:
        """Look after one worker, from its first share of the quota to its end."""
        missed = 0
        try:
            with worker.scope:
                while worker.left is None and worker.task is None:
                    await self._begin(worker)
                    if worker.task is None and worker.left is None:
                        worker.left = Left() if self._is_over else None
                        await anyio.sleep(BEAT_S)
                while worker.left is None:
                    try:
                        await self._look_at(worker)
                        missed = 0
                    except _UNREACHED:
                        missed += 1
                        if missed >= _MISSED:
                            worker.left = Left()
                    # At the end everybody waits for this.
                    await anyio.sleep(BEAT_S / 5 if self._backlog.is_empty else BEAT_S)
        except DownloadError as error:
            self._fail(error)
            worker.left = worker.left or Left()
        finally:
            self._depart(worker)
        if worker.task is not None and worker.left is not None and worker.left.blank is not None:
            # It left by itself, and keeps its last figures until it hears that the run has them.
            with suppress(*_UNREACHED):
                instruction = Instruction(Grant(0, 0.0, 0), worker.heard, leave=True)
                await self._cluster.call(_LOOK_S, worker.address, beat, worker.name, instruction)

    async def _begin(self, worker: _Worker) -> None:
        grant = self._division.grant(worker.name, time.monotonic())
        if grant.concurrency < 1:
            return
        assignment = replace(self._assignment, name=worker.name, grant=grant)
        store = self._mosaic.store
        await anyio.to_thread.run_sync(
            lambda: trying(store, "a worker's lock", 4096, lambda: create_worker_lock(store, worker.name))
        )
        try:
            await self._cluster.call(_BEGIN_S, worker.address, start, assignment)
        except _UNREACHED:
            worker.left = Left()
        except DownloadError as error:
            raise _at(worker, error) from error
        except Exception as error:
            raise JobError(
                f"a worker at {worker.address} cannot begin ({type(error).__name__}: {error}): it needs this package, of"
                f" version {__version__}, with what it needs"
            ) from error
        else:
            worker.task = self._cluster.submit(worker.address, wait, worker.name)

    async def _look_at(self, worker: _Worker) -> None:
        self._hand_out(worker)
        at_once = self._error is not None or self._is_cancelled or self._context.stop.now.is_set()
        instruction = Instruction(
            self._division.grant(worker.name, time.monotonic()),
            worker.heard,
            is_last=self._backlog.is_empty,
            stop=2 if at_once else int(self._stopping),
            reason=self._context.stop.reason or "the run ended",
            leave=self._is_over,
            sent=worker.sent,
            portions=tuple(worker.unsent),
        )
        mail: Mail | None = await self._cluster.call(_LOOK_S, worker.address, beat, worker.name, instruction)
        if mail is None:
            worker.left = Left()
            return
        worker.mail = mail
        worker.sent += len(instruction.portions)
        worker.unsent.clear()
        self._division.told(worker.name, mail.concurrency, mail.in_flight, mail.overspent)
        self.peak_memory = max(self.peak_memory, mail.peak_memory)
        await self._read(worker, mail)

    def _depart(self, worker: _Worker) -> None:
        """Remove a worker: its share of the quota is free once its requests under way have ended."""
        del self._workers[worker.address]
        left = worker.left or Left()
        worker.left_at = time.monotonic()
        clean = left.blank is not None
        # The service may still be busy with requests of a process that was killed.
        linger_s = 0.0 if self._is_over else self._slowest_s
        self._division.leave(worker.name, time.monotonic() + linger_s)
        if worker.task is not None:
            worker.task.release()
        for name, tiles in (left.blank or {}).items():
            self._mosaic.blank[name] = self._mosaic.blank.get(name, 0) + tiles
        if not clean and worker.outstanding and not self._stopping:
            self._context.progress(
                Notice(
                    f"the worker at {worker.address} is gone; the {len(worker.outstanding)} shards that it had go to others"
                )
            )
        self._leaving.append(worker)

    async def _reclaim(self) -> None:
        """Put back the shards of workers that are certainly gone."""
        for worker in list(self._leaving):
            if await anyio.to_thread.run_sync(self._retire, worker):
                self._leaving.remove(worker)
                self._backlog.put_back(worker.outstanding)
                continue
            waited_s = time.monotonic() - worker.left_at
            if waited_s > self._limits.give_up_after and not self._stopping:
                self._fail(
                    StoppedError(
                        f"the worker that was at {worker.address} cannot be reached, and still holds the mosaic; everything"
                        " committed so far is saved: end its process, and run the same command again to continue"
                    )
                )
            elif waited_s > self._settings.leave_after and not worker.is_told:
                worker.is_told = True
                self._context.progress(
                    Notice(
                        f"the worker that was at {worker.address} still holds the mosaic, paused or cut off: its"
                        f" {len(worker.outstanding)} shards wait until its process ends or leaves by itself"
                    )
                )

    def _fail(self, error: DownloadError) -> None:
        """End the run with the first error; what the workers have is saved."""
        if self._error is None:
            self._error = error

    def _retire(self, worker: _Worker) -> bool:
        try:
            return remove_worker_lock(self._mosaic.store, worker.name)
        except OSError:
            return False  # nobody knows: the next turn asks again

    def _clear(self) -> None:
        for worker in (*self._leaving, *self._workers.values()):
            self._retire(worker)
        self._mosaic.store.delete_empty(WORKERS)

    # Shards go out, and what became of them comes back -----------------------------------------------------

    def _hand_out(self, worker: _Worker) -> None:
        """Give a worker what it needs to be busy until the next look, and no more than its part of what is left."""
        granted = self._part(worker)
        if self._is_over or not granted:
            return
        # Enough for the pool and as much again, and for all that may end before the next looks at it.
        run_s = max(time.monotonic() - self._began_at, 1.0)
        most = max(2.0 * (granted + max(2, granted // 4)), _AHEAD_S * worker.done / run_s)
        has = sum(worker.outstanding.values())
        left = self._backlog.left
        if not math.isinf(left):
            workers = self._workers.values()
            out = sum(sum(one.outstanding.values()) for one in workers)
            most = min(most, math.ceil((left + out) * granted / sum(map(self._part, workers))))
        for portion in self._backlog.take(most - has):
            worker.outstanding[portion.key] = self._backlog.cost(portion.key)
            worker.unsent.append(portion)

    def _part(self, worker: _Worker) -> int:
        """Return how many requests a worker may have under way, or will have once it has begun."""
        return worker.mail.concurrency if worker.mail else self._division.concurrency // len(self._division)

    async def _read(self, worker: _Worker, mail: Mail) -> None:
        news = [event for number, event in enumerate(mail.messages, mail.first) if number > worker.heard]
        if entries := [event for event in news if isinstance(event, LedgerEntry)]:
            await self._mosaic.record(entries)
        for event in news:
            match event:
                case Stored() | Failed() | Split():
                    if isinstance(event, Stored):
                        self._measure(event.seconds / event.attempts)
                    self._backlog.heard(event)
                    self._context.progress(event)
                    if self._context.outcomes is not None:
                        with suppress(anyio.BrokenResourceError):
                            self._context.outcomes.send_nowait(event)
                case Retried() | Notice():
                    self._context.progress(event)
                case Done():
                    worker.done += worker.outstanding.pop(event.key, 0)
                    self._backlog.done(event.key)
                case Left():
                    worker.left = event
                    if event.error is not None:
                        self._fail(event.error)
        worker.heard = mail.first + len(mail.messages) - 1

    def _measure(self, seconds: float) -> None:
        if not self._is_measured:
            self._is_measured, self._slowest_s = True, 1.0
        self._slowest_s = max(self._slowest_s, seconds)


def _assignment(context: RunContext) -> Assignment:
    """Return what every worker is told, but for its name and its part of the quota."""
    job, mosaic, settings = context.job, context.mosaic, context.job.executor.dask
    assert settings is not None  # noqa: S101  # asked before
    place = job.mosaic_path
    return Assignment(
        name="",
        version=__version__,
        # Neither image lists nor what lies along an axis are a worker's business, and they may be large.
        plan=replace(context.plan, listed=None, samples=None),
        layouts=tuple(replace(layout, along=()) for layout in mosaic.layouts),
        mosaic=os.path.abspath(place) if isinstance(place, Path) else place,  # noqa: PTH100  # keeps links as they are
        durable=job.mosaic.durability == "full",
        access=context.connection.access,
        limits=job.limits,
        checkpoint_s=job.mosaic.checkpoint,
        memory=None if settings.workers is None else context.memory,
        grant=Grant(0, job.limits.requests_per_second, 0),
        silence_s=settings.leave_after,
    )


def _at(worker: _Worker, error: DownloadError) -> DownloadError:
    """Return the error with the worker's address, if its message is all that it holds."""
    if type(error).__reduce__ is not BaseException.__reduce__:
        return error
    return type(error)(f"worker {worker.address}: {error}")


if TYPE_CHECKING:

    def _conforms(executor: DaskExecutor) -> Executor:
        return executor
