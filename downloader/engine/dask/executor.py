"""The executor of Dask: divides shards and quota among worker processes, and takes in what they did.

The run plans lazily, hands out shards as tasks, a few for each worker at a time, and calls every worker a few times a
second: the worker follows the instruction, and its messages go to the listeners and the ledger. Only the run writes the
ledger: one line of many shards costs as much as one of one, and the order of all lines says which is the last of a shard.
A worker does what a local run does (`pool`), with its share of the quota.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.to_thread

from downloader._version import __version__
from downloader.engine.dask.backlog import Backlog, Seen
from downloader.engine.dask.cluster import Cluster, cluster
from downloader.engine.dask.messages import BEAT_S, Assignment, Done, Grant, Instruction, Left, Mail
from downloader.engine.dask.quota import Division
from downloader.engine.dask.worker import beat, fetch, start
from downloader.engine.limits import NO_LIMITS, RunLimits
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

    from anyio.streams.memory import MemoryObjectSendStream

    from downloader.engine.stop import Stop
    from downloader.events import Outcome
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.protocols import Executor, Progress


_RUNS: Final = 8
"""Tasks of a worker at a time, about."""

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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run of the executor is given, beside its mosaic."""

    assignment: Assignment
    """That of every worker, but for its name and its part of the quota."""
    concurrency: int
    requests_per_second: float
    limits: RunLimits = NO_LIMITS
    max_time_s: float | None = None


@dataclass(slots=True)
class _Worker:
    """One worker, as the run sees it."""

    address: str
    name: str
    heard: int = 0
    outstanding: dict[ShardKey, int] = field(default_factory=dict)
    """Shards that it has → about how many requests each takes."""
    done: int = 0
    """About how many requests it has made."""
    futures: set[Any] = field(default_factory=set)
    mail: Mail | None = None
    began: bool = False
    left: Left | None = None
    left_at: float = 0.0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Of all that waits for it."""
    is_told: bool = False
    """Whether it was said that its shards have to wait."""


class DaskExecutor:
    """An `Executor` of worker processes, here or elsewhere, through Dask."""

    def __init__(
        self,
        settings: Any,  # noqa: ANN401  # job.executor.Dask
        terms: Terms,
        mosaic: ZarrMosaic,
        seen: Seen,
        progress: Progress,
        stop: Stop,
        outcomes: MemoryObjectSendStream[Outcome] | None = None,
    ) -> None:
        """Nothing is started before the block is entered.

        Args:
            settings: which cluster.
            terms: what is to be done, as whom, how fast.
            mosaic: what the run writes.
            seen: the same, or what of it is chosen.
            progress: told of each event.
            stop: who may ask to stop.
            outcomes: takes what becomes of each request; without a bound.
        """
        self._settings = settings
        self._terms = terms
        self._mosaic = mosaic
        self._seen = seen
        self._progress = progress
        self._outcomes = outcomes
        self._stop = stop
        self._stack = AsyncExitStack()
        self._division = Division(terms.concurrency, terms.requests_per_second)
        self._workers: dict[str, _Worker] = {}
        self._slowest_s = _FIRST_S
        self._is_measured = False
        self._error: DownloadError | None = None
        self._is_cancelled = False
        self._leaving: list[_Worker] = []
        """Workers that are gone, whose shards others may not have yet."""
        self._peak_memory = 0

    async def __aenter__(self) -> Self:
        try:
            await self._enter()
        except BaseExceptionGroup as errors:
            await self.__aexit__(None, None, None)
            raise first_of(errors) from None
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _enter(self) -> None:
        """Have workers that are ready for their first shard."""
        self._cluster: Cluster = await self._stack.enter_async_context(cluster(self._settings))
        told = False
        until = time.monotonic() + self._terms.assignment.give_up_after_s
        while len(present := await self._present() or []) < (self._settings.workers or 1):
            if time.monotonic() > until:
                raise self._no_workers()
            if not told and self._settings.scheduler is not None:
                told = True
                self._progress(Notice(f"waiting for workers of {self._cluster.address}"))
            await anyio.sleep(BEAT_S)
        for address in present:
            self._join(address)
        async with anyio.create_task_group() as group:
            for worker in self._workers.values():
                group.start_soon(self._begin, worker)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            for worker in self._workers.values():
                # Only where the run ended before its work began.
                await self._forget(worker)
            await anyio.to_thread.run_sync(self._clear)
            await self._stack.aclose()

    @property
    def peak_memory(self) -> int:
        """See `Executor`."""
        return self._peak_memory

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """See `Executor`."""
        terms = self._terms
        self._backlog = Backlog(terms.assignment.plan, shards, self._seen, terms.limits)
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
                raise self._no_scheduler()
            await self._backlog.look_ahead(_LOOKED_AHEAD * self._terms.concurrency)
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
            alone_since = None if present else alone_since or time.monotonic()
            patience_s = self._terms.assignment.give_up_after_s
            if alone_since is not None and time.monotonic() - alone_since > patience_s:
                raise self._no_workers()
            if self._stopping and math.isinf(ends_at):
                ends_at = time.monotonic() + GRACE_S + self._terms.assignment.silence_s
            if time.monotonic() > ends_at:
                return
            self._progress(self._flow())
            await anyio.sleep(BEAT_S / 5 if self._is_over else BEAT_S / 2)

    @property
    def _run_s(self) -> float:
        return max(time.monotonic() - self._began_at, 1.0)

    @property
    def _stopping(self) -> bool:
        return self._stop.drain.is_set() or self._error is not None or self._is_cancelled

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
        """Workers that are there; None where the scheduler is lost."""
        for _ in range(_MISSED):
            try:
                return await self._cluster.workers()
            except (OSError, TimeoutError):
                await anyio.sleep(BEAT_S)
        return None

    def _no_scheduler(self) -> StoppedError:
        return StoppedError(
            f"the Dask scheduler at {self._cluster.address} was lost; everything committed so far is saved: start it, and"
            " run the job again to continue"
        )

    def _no_workers(self) -> StoppedError:
        return StoppedError(
            f"no worker came to the Dask scheduler at {self._cluster.address} for"
            f" {self._terms.assignment.give_up_after_s:g} s; everything committed so far is saved: start workers, and run"
            " the job again to continue"
        )

    async def _watch_cancelling(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._is_cancelled = True

    async def _watch_time(self) -> None:
        if self._terms.max_time_s is not None:
            await anyio.sleep(self._terms.max_time_s)
            self._stop.ask(f"limits.max_time: {self._terms.max_time_s:g} s are over")

    # Workers come and go -----------------------------------------------------------------------------------

    def _join(self, address: str) -> _Worker:
        worker = _Worker(address, secrets.token_hex(8))
        self._workers[address] = worker
        self._division.join(worker.name)
        return worker

    async def _serve(self, worker: _Worker) -> None:
        """One worker, from its first share of the quota to its end."""
        missed = 0
        try:
            with worker.scope:
                while worker.left is None and not worker.began:
                    await self._begin(worker)
                    if not worker.began and worker.left is None:
                        worker.left = Left() if self._is_over else None
                        await anyio.sleep(BEAT_S)
                while worker.left is None:
                    try:
                        await self._look_at(worker)
                        missed = 0
                    except (OSError, TimeoutError, KeyError):
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
        if worker.left is not None and worker.left.blank is not None:
            await self._forget(worker)

    async def _forget(self, worker: _Worker) -> None:
        """Tell a worker that the run is over, where it has not heard so."""
        if worker.began:
            with suppress(OSError, TimeoutError, KeyError), anyio.move_on_after(_FIRST_S):
                instruction = Instruction(Grant(0, 0.0, 0), worker.heard, leave=True)
                await self._cluster.call(_LOOK_S, worker.address, beat, worker.name, instruction)

    async def _begin(self, worker: _Worker) -> None:
        grant = self._division.grant(worker.name, time.monotonic())
        if grant.concurrency < 1:
            return
        assignment = replace(self._terms.assignment, name=worker.name, grant=grant)
        store = self._mosaic.store
        await anyio.to_thread.run_sync(
            lambda: trying(store, "a worker's lock", 4096, lambda: create_worker_lock(store, worker.name))
        )
        try:
            await self._cluster.call(_BEGIN_S, worker.address, start, assignment)
        except (OSError, TimeoutError, KeyError):
            worker.left = Left()
        except DownloadError as error:
            raise _at(worker, error) from error
        except Exception as error:
            raise JobError(
                f"a worker at {worker.address} cannot begin ({type(error).__name__}: {error}): it needs this package, of"
                f" version {__version__}, with what it needs"
            ) from error
        else:
            worker.began = True

    async def _look_at(self, worker: _Worker) -> None:
        self._hand_out(worker)
        at_once = self._error is not None or self._is_cancelled or self._stop.now.is_set()
        instruction = Instruction(
            self._division.grant(worker.name, time.monotonic()),
            worker.heard,
            is_last=self._backlog.is_empty,
            stop=2 if at_once else int(self._stopping),
            reason=self._stop.reason or "the run ended",
            leave=self._is_over,
        )
        mail: Mail | None = await self._cluster.call(_LOOK_S, worker.address, beat, worker.name, instruction)
        if mail is None:
            worker.left = Left()
            return
        worker.mail = mail
        self._division.told(worker.name, mail.concurrency, mail.in_flight, mail.overspent)
        self._peak_memory = max(self._peak_memory, mail.peak_memory)
        await self._read(worker, mail)

    def _depart(self, worker: _Worker) -> None:
        """Take leave of a worker: its share is free once what it has under way has ended."""
        del self._workers[worker.address]
        left = worker.left or Left()
        worker.left_at = time.monotonic()
        clean = left.blank is not None
        # The service may still be busy with requests of a process that was killed.
        linger_s = 0.0 if self._is_over else self._slowest_s
        self._division.leave(worker.name, time.monotonic() + linger_s)
        for future in tuple(worker.futures):  # Dask discards those that end from a thread of its own
            future.release()
        for name, tiles in (left.blank or {}).items():
            self._mosaic.blank[name] = self._mosaic.blank.get(name, 0) + tiles
        if not clean and worker.outstanding and not self._stopping:
            self._progress(
                Notice(
                    f"the worker at {worker.address} is gone; the {len(worker.outstanding)} shards that it had go to others"
                )
            )
        self._leaving.append(worker)

    async def _reclaim(self) -> None:
        """Shards of workers that are gone for certain come next."""
        for worker in list(self._leaving):
            if await anyio.to_thread.run_sync(self._retire, worker):
                self._leaving.remove(worker)
                self._backlog.put_back(worker.outstanding)
                continue
            waited_s = time.monotonic() - worker.left_at
            if waited_s > self._terms.assignment.give_up_after_s and not self._stopping:
                self._fail(
                    StoppedError(
                        f"the worker that was at {worker.address} cannot be reached, and still holds the mosaic; everything"
                        " committed so far is saved: end its process, and run the job again to continue"
                    )
                )
            elif waited_s > self._terms.assignment.silence_s and not worker.is_told:
                worker.is_told = True
                self._progress(
                    Notice(
                        f"the worker that was at {worker.address} still holds the mosaic, paused or cut off: its"
                        f" {len(worker.outstanding)} shards wait until its process ends or leaves by itself"
                    )
                )

    def _fail(self, error: DownloadError) -> None:
        """The run ends with the first error; what the workers have is saved."""
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
        share = self._share(worker)
        if self._is_over or not share:
            return
        granted = self._part(worker)
        # Enough for the pool and as much again, and for all that may end before the next looks at it.
        most = max(2.0 * (granted + max(2, granted // 4)), _AHEAD_S * worker.done / self._run_s)
        has = sum(worker.outstanding.values())
        left = self._backlog.left
        if not math.isinf(left):
            out = sum(sum(one.outstanding.values()) for one in self._workers.values())
            most = min(most, math.ceil((left + out) * share))
        run = max(1.0, most / _RUNS)
        while has < most:
            portions = self._backlog.take(min(run, most - has))
            if not portions:
                return
            for portion in portions:
                worker.outstanding[portion.key] = self._backlog.cost(portion.key)
                has += worker.outstanding[portion.key]
            first = portions[0].key
            name = f"shards-{first.group or 'root'}-{first.slice}-{first.row}-{first.column}-{secrets.token_hex(4)}"
            future = self._cluster.submit(worker.address, name, fetch, worker.name, portions)
            worker.futures.add(future)
            future.add_done_callback(worker.futures.discard)

    def _share(self, worker: _Worker) -> float:
        """A worker's part of everything that may be under way."""
        parts = {one.name: self._part(one) for one in self._workers.values()}
        return parts[worker.name] / (sum(parts.values()) or 1)

    def _part(self, worker: _Worker) -> int:
        """Requests that a worker may have under way; of one that is still beginning, will have."""
        return worker.mail.concurrency if worker.mail else self._division.concurrency // len(self._division)

    async def _read(self, worker: _Worker, mail: Mail) -> None:
        entries = []
        news = [event for number, event in enumerate(mail.messages, mail.first) if number > worker.heard]
        for event in news:
            match event:
                case LedgerEntry():
                    entries.append(event)
        if entries:
            await self._mosaic.record(entries)
        for event in news:
            match event:
                case Stored() | Failed() | Split():
                    if isinstance(event, Stored):
                        self._measure(event.seconds / event.attempts)
                    self._backlog.heard(event)
                    self._progress(event)
                    if self._outcomes is not None:
                        with suppress(anyio.BrokenResourceError):
                            self._outcomes.send_nowait(event)
                case Retried() | Notice():
                    self._progress(event)
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


def _at(worker: _Worker, error: DownloadError) -> DownloadError:
    """The error with the worker's address, where its message is all that it holds."""
    if type(error).__reduce__ is not BaseException.__reduce__:
        return error
    return type(error)(f"worker {worker.address}: {error}")


if TYPE_CHECKING:

    def _conforms(executor: DaskExecutor) -> Executor:
        return executor
