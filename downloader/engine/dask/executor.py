"""The executor of Dask: divides shards and quota among worker processes, and takes in what they did.

The run plans lazily, hands out shards as tasks, a few for each worker at a time, and calls every worker a few times a
second: the worker follows the instruction, and its messages go to the listeners and the ledger. Only the run writes the
ledger: one line of many shards costs as much as one of one, and the order of all lines says which is the last of a shard.
A worker does what a local run does (`pool`), with its share of the quota.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from downloader._version import __version__
from downloader.engine.context import RunContext
from downloader.engine.dask.backlog import Backlog
from downloader.engine.dask.cluster import Cluster, cluster
from downloader.engine.dask.link import MISSED, Link
from downloader.engine.dask.messages import BEAT_S, Assignment, Done, Grant, Instruction, Left, Mail, Portion
from downloader.engine.dask.quota import Division
from downloader.engine.dask.worker import fetch
from downloader.engine.stop import GRACE_S
from downloader.errors import DownloadError, StoppedError, first_of
from downloader.events import Failed, Flow, Notice, Retried, Split, Stored
from downloader.job.sections.executor import Dask
from downloader.mosaic.record.ledger import LedgerEntry
from downloader.mosaic.record.paths import WORKERS
from downloader.planning import ShardKey

_RUNS: Final = 8
"""Tasks of a worker at a time, about."""

_LOOKED_AHEAD: Final = 4
"""Shards looked up ahead, for each that workers may hold: far enough to see the end before it is there."""

_AHEAD_S: Final = 2.0
"""Seconds of work that a worker has at hand, at the pace it showed."""

_FIRST_S: Final = 5.0
"""Seconds that a request may take, before any was seen to end."""


@asynccontextmanager
async def dask_executor(context: RunContext, settings: Dask) -> AsyncIterator[DaskExecutor]:
    """Yield an executor whose workers are ready for their first shard.

    Raises:
        MissingExtraError: Dask is not installed.
        StoppedError: no scheduler answers, or no worker comes.
        DownloadError: a worker cannot work.
    """
    async with cluster(settings) as workers:
        executor = DaskExecutor(context, settings, workers)
        try:
            await executor.begin()
            yield executor
        finally:
            with anyio.CancelScope(shield=True):
                await executor.end()


class DaskExecutor:
    """An `Executor` of worker processes, here or elsewhere, through Dask."""

    def __init__(self, context: RunContext, settings: Dask, workers: Cluster) -> None:
        """Prepare; nothing is called.

        Args:
            context: what is fetched, and how.
            settings: which cluster.
            workers: the cluster.
        """
        self._context = context
        self._settings = settings
        self._cluster = workers
        self._limits = context.job.limits
        self._mosaic = context.mosaic
        self._stop = context.stop
        self._tell = context.progress
        self._assignment = _assignment(context, settings)
        self._division = Division(self._limits.concurrency, self._limits.requests_per_second)
        self._workers: dict[str, Link] = {}
        self._slowest_s = 0.0
        """Seconds that the slowest request took, 1 at least; 0 before one has ended."""
        self._error: DownloadError | None = None
        self._is_cancelled = False
        self._leaving: list[Link] = []
        """Workers that are gone, whose shards others may not have yet."""
        self.peak_memory = 0
        """See `Executor`."""

    async def begin(self) -> None:
        """Wait for workers, and start their engines."""
        is_told = False
        until = time.monotonic() + self._limits.give_up_after
        while len(present := await self._present() or []) < (self._settings.workers or 1):
            if time.monotonic() > until:
                raise self._no_workers()
            if not is_told and self._settings.scheduler is not None:
                is_told = True
                self._tell(Notice(f"waiting for workers of {self._cluster.address}"))
            await anyio.sleep(BEAT_S)
        try:
            async with anyio.create_task_group() as group:
                for address in present:
                    group.start_soon(self._begin, self._join(address))
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None

    async def end(self) -> None:
        """Tell workers that have not heard so that the run is over."""
        for worker in self._workers.values():
            await worker.forget()  # only where the run ended before its work began
        await anyio.to_thread.run_sync(self._clear)

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`."""
        context = self._context
        self._backlog = Backlog(
            context.plan,
            shards,
            (context.chosen or self._mosaic).missing,
            self._limits,
            context.options.spending,
        )
        await self._backlog.look_ahead(1)
        if self._backlog.is_empty:
            return
        self._began_at = time.monotonic()
        try:
            async with anyio.create_task_group() as outer:
                # Who cancels the run wants it to end, and what the workers have to be saved.
                outer.start_soon(self._watch_cancelling)
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as group:
                        for worker in self._workers.values():
                            group.start_soon(self._serve, worker)
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
            self._stop.ask(self._backlog.limit)

    # The run as a whole ------------------------------------------------------------------------------------

    async def _go(self, group: anyio.abc.TaskGroup) -> None:
        alone_since: float | None = None
        ends_at = math.inf
        while True:
            present = await self._present()
            if present is None:
                raise StoppedError(
                    f"the Dask scheduler at {self._cluster.address} was lost; everything committed so far is saved: start"
                    " it, and run the job again to continue"
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
            if self._is_over and not self._workers and (not self._leaving or self._is_stopping):
                return
            now = time.monotonic()
            alone_since = None if present else alone_since or now
            if alone_since is not None and now - alone_since > self._limits.give_up_after:
                raise self._no_workers()
            if self._is_stopping and math.isinf(ends_at):
                ends_at = now + GRACE_S + self._settings.leave_after
            if now > ends_at:
                return
            mails = [worker.mail for worker in self._workers.values() if worker.mail is not None]
            self._tell(Flow(sum(mail.in_flight for mail in mails), sum(mail.ceiling for mail in mails)))
            await anyio.sleep(BEAT_S / 5 if self._is_over else BEAT_S / 2)

    @property
    def _is_stopping(self) -> bool:
        return self._stop.drain.is_set() or self._error is not None or self._is_cancelled

    @property
    def _is_over(self) -> bool:
        """Whether workers have nothing more to do."""
        busy = any(worker.outstanding for worker in (*self._workers.values(), *self._leaving))
        return self._is_stopping or (self._backlog.is_empty and not busy)

    async def _present(self) -> list[str] | None:
        """Return the addresses of the workers that are there; None where the scheduler is lost."""
        for _ in range(MISSED):
            with suppress(OSError, TimeoutError):
                return await self._cluster.workers()
            await anyio.sleep(BEAT_S)
        return None

    def _no_workers(self) -> StoppedError:
        return StoppedError(
            f"no worker came to the Dask scheduler at {self._cluster.address} for {self._limits.give_up_after:g} s;"
            " everything committed so far is saved: start workers, and run the job again to continue"
        )

    async def _watch_cancelling(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._is_cancelled = True

    # Workers join and leave -----------------------------------------------------------------------------------

    def _join(self, address: str) -> Link:
        worker = self._workers[address] = Link(self._cluster, address, self._mosaic.store)
        self._division.join(worker.name)
        return worker

    async def _begin(self, worker: Link) -> None:
        """Let a worker begin, once there is a part of the quota for it."""
        grant = self._division.grant(worker.name, time.monotonic())
        if grant.concurrency:
            await worker.begin(replace(self._assignment, name=worker.name, grant=grant))

    async def _serve(self, worker: Link) -> None:
        """Begin one worker and look at it until it has left."""
        try:
            with worker.scope:
                while worker.left is None:
                    if worker.began:
                        await self._look_at(worker)
                    elif self._is_over:
                        worker.left = Left()
                    else:
                        await self._begin(worker)
                    # At the end everybody waits for this.
                    await anyio.sleep(BEAT_S / 5 if self._backlog.is_empty else BEAT_S)
        except DownloadError as error:
            self._fail(error)
        finally:
            worker.left = worker.left or Left()
            self._depart(worker, worker.left)
        if worker.left.blank is not None:
            await worker.forget()

    async def _look_at(self, worker: Link) -> None:
        self._hand_out(worker)
        at_once = self._error is not None or self._is_cancelled or self._stop.now.is_set()
        instruction = Instruction(
            self._division.grant(worker.name, time.monotonic()),
            worker.heard,
            is_last=self._backlog.is_empty,
            stop=2 if at_once else int(self._is_stopping),
            reason=self._stop.reason or "the run ended",
            leave=self._is_over,
        )
        mail = await worker.look(instruction)
        if mail is not None:
            self._division.told(worker.name, mail.concurrency, mail.in_flight, mail.overspent)
            self.peak_memory = max(self.peak_memory, mail.peak_memory)
            await self._read(worker, mail)

    def _depart(self, worker: Link, left: Left) -> None:
        """Remove a worker that left: its share is free once its requests under way have ended."""
        del self._workers[worker.address]
        now = worker.left_at = time.monotonic()
        # The service may still be busy with requests of a process that was killed.
        self._division.leave(worker.name, now + (0.0 if self._is_over else self._slowest_s or _FIRST_S))
        for future in tuple(worker.futures):  # Dask discards those that end from a thread of its own
            future.release()
        for name, tiles in (left.blank or {}).items():
            self._mosaic.blank[name] = self._mosaic.blank.get(name, 0) + tiles
        if left.blank is None and worker.outstanding and not self._is_stopping:
            self._tell(
                Notice(
                    f"the worker at {worker.address} is gone; the {len(worker.outstanding)} shards that it had go to others"
                )
            )
        self._leaving.append(worker)

    async def _reclaim(self) -> None:
        """Put back the shards of workers that certainly write no more."""
        for worker in list(self._leaving):
            if await anyio.to_thread.run_sync(worker.retire):
                self._leaving.remove(worker)
                self._backlog.put_back(worker.outstanding)
                continue
            waited_s = time.monotonic() - worker.left_at
            if waited_s > self._limits.give_up_after and not self._is_stopping:
                self._fail(
                    StoppedError(
                        f"the worker that was at {worker.address} cannot be reached, and still holds the mosaic; everything"
                        " committed so far is saved: end its process, and run the job again to continue"
                    )
                )
            elif waited_s > self._settings.leave_after and not worker.is_told:
                worker.is_told = True
                self._tell(
                    Notice(
                        f"the worker that was at {worker.address} still holds the mosaic, paused or cut off: its"
                        f" {len(worker.outstanding)} shards wait until its process ends or leaves by itself"
                    )
                )

    def _fail(self, error: DownloadError) -> None:
        """End the run with its first error; what the workers have is saved."""
        self._error = self._error or error

    def _clear(self) -> None:
        for worker in (*self._leaving, *self._workers.values()):
            worker.retire()
        self._mosaic.store.delete_empty(WORKERS)

    # Shards and their outcomes -----------------------------------------------------

    def _hand_out(self, worker: Link) -> None:
        """Give a worker what it needs to be busy until the next look, and no more than its part of what is left."""
        parts = {one.name: self._part(one) for one in self._workers.values()}
        granted = parts[worker.name]
        if self._is_over or not granted:
            return
        # Enough for the pool and as much again, and for all that may end before the next looks at it.
        run_s = max(time.monotonic() - self._began_at, 1.0)
        most = max(2.0 * (granted + max(2, granted // 4)), _AHEAD_S * worker.done / run_s)
        has = sum(worker.outstanding.values())
        left = self._backlog.left
        if not math.isinf(left):
            out = sum(sum(one.outstanding.values()) for one in self._workers.values())
            most = min(most, math.ceil((left + out) * granted / sum(parts.values())))
        run = max(1.0, most / _RUNS)
        while has < most and (taken := self._backlog.take(min(run, most - has))):
            portions = []
            for key, missing in taken.items():
                worker.outstanding[key] = self._backlog.cost(key)
                has += worker.outstanding[key]
                stored, failed = self._mosaic.known(key)
                portions.append(Portion(key, missing, tuple(stored) if any(stored) else (), failed))
            first = portions[0].key
            name = f"shards-{first.group or 'root'}-{first.slice}-{first.row}-{first.column}-{secrets.token_hex(4)}"
            future = self._cluster.submit(worker.address, name, fetch, worker.name, portions)
            worker.futures.add(future)
            future.add_done_callback(worker.futures.discard)

    def _part(self, worker: Link) -> int:
        """Return the requests that a worker may have under way; of one that is still beginning, will have."""
        return worker.mail.concurrency if worker.mail else self._division.concurrency // len(self._division)

    async def _read(self, worker: Link, mail: Mail) -> None:
        """Record what a worker committed, and tell what happened there."""
        news = mail.messages[max(0, worker.heard + 1 - mail.first) :]
        if entries := [event for event in news if isinstance(event, LedgerEntry)]:
            await self._mosaic.record(entries)
        for event in news:
            match event:
                case Stored() | Failed() | Split():
                    if isinstance(event, Stored):
                        self._slowest_s = max(1.0, self._slowest_s, event.seconds / event.attempts)
                    self._backlog.heard(event)
                    self._tell(event)
                    if (outcomes := self._context.options.outcomes) is not None:
                        with suppress(anyio.BrokenResourceError):
                            outcomes.send_nowait(event)
                case Retried() | Notice():
                    self._tell(event)
                case Done():
                    worker.done += worker.outstanding.pop(event.key, 0)
                    self._backlog.done(event.key)
                case Left():
                    worker.left = event
                    if event.error is not None:
                        self._fail(event.error)
        worker.heard = mail.first + len(mail.messages) - 1


def _assignment(context: RunContext, settings: Dask) -> Assignment:
    """Return the assignment of every worker, but for its name and its part of the quota."""
    job, mosaic, place = context.job, context.mosaic, context.job.mosaic_path
    return Assignment(
        name="",
        version=__version__,
        # Neither image lists nor what lies along an axis are a worker's business, and they may be large.
        plan=replace(context.plan, listed=None, samples=None),
        layouts=tuple(replace(layout, along=()) for layout in mosaic.layouts),
        mosaic=os.path.abspath(place) if isinstance(place, Path) else place,  # noqa: PTH100  # keeps links as they are
        durable=job.mosaic.durability == "full",
        checkpoint_s=job.mosaic.checkpoint,
        access=context.connection.access,
        limits=job.limits,
        memory=None if settings.workers is None else context.memory,
        grant=Grant(0, job.limits.requests_per_second, 0),
        silence_s=settings.leave_after,
    )
