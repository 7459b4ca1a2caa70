"""The loop that fetches and stores shards: the same for one process and for many.

    shards → requests → [ acquire → fetch → place ] by a bounded pool → commit of each shard whose last request ended

A shard is opened before its first request and closed by its commit; few are open at a time, so that a kill costs
no more than promise 2 allows. `Share` holds only picklable values; effects come in as `Parts`.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import anyio
import numpy as np
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream
from numpy.typing import NDArray

from downloader.engine.stop import GRACE_S, Stop
from downloader.errors import Action, DownloadError, FetchProblem, StoppedError, TileError, first_of
from downloader.events import HALVED_AT_THE_END, Failed, Flow, Outcome, Retried, Split, Stored
from downloader.flow.limiter import CANCELLED
from downloader.flow.memory import MemoryBudget
from downloader.flow.retry import RetryBudget, RetryPolicy, persist
from downloader.planning import Group, Plan, Request, ShardKey
from downloader.planning.request_size import Observed, tapered
from downloader.planning.split import halves, weight
from downloader.protocols import Clock, Feed, Limiter, Mosaic, PixelSource, Progress

__all__ = ["Listed", "Parts", "Share", "work"]

T = TypeVar("T")

_CANCELLED = FetchProblem(Action.RETRY, CANCELLED, "given up on this side")
_SPLIT_AHEAD = FetchProblem(Action.SPLIT, "split ahead", "the service refused requests of this size before")
_HALVED = FetchProblem(
    Action.SPLIT, HALVED_AT_THE_END, "it is among the last requests, and its halves end sooner side by side"
)

_PATIENCE_S = 0.1
"""How long an idle pool waits for a shard to finish by itself before it is committed as far as it is. Where durations
scatter by a third, 0.1 s in place of 1 s makes a job of four requests a shard a tenth quicker."""


_WORTH_S = 0.05
"""A last request is halved where that is expected to save more than this."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker may do: plain values, so that it can be sent to another process."""

    plan: Plan
    concurrency: int
    """Requests in flight at most."""
    memory: int
    """Bytes for pixels on their way: answers, and shards that are open."""
    policy: RetryPolicy
    checkpoint_s: float
    """Open shards are committed as far as they are at least so often."""
    max_requests: int | None = None
    """Stop, resumable, after so many requests."""
    max_bytes: int | None = None
    """Stop, resumable, before more bytes of pixels are asked for."""
    max_time_s: float | None = None
    """Stop, resumable, after so many seconds."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The effects a worker needs."""

    source: PixelSource
    mosaic: Mosaic
    limiter: Limiter
    clock: Clock
    rng: random.Random
    progress: Progress
    budget: RetryBudget
    stop: Stop
    outcomes: MemoryObjectSendStream[Outcome] | None = None
    """Takes what becomes of each request; as long as it is full, its worker starts no further requests."""


@dataclass(slots=True)
class _Spent:
    """Calls and time that one request has taken so far."""

    calls: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _OpenShard:
    """A shard between its first request and its commit."""

    key: ShardKey
    nbytes: int
    pending: int = 0
    """Requests handed out or queued and not ended."""
    handed_out: bool = False
    """Whether all of its requests are with the pool."""
    closing: bool = False
    """Whether its last commit is under way."""
    parked: bool = False
    """Whether it was committed as far as it is, so that others may open."""


async def work(share: Share, parts: Parts, feed: Feed) -> None:
    """Fetch and store what the shards of `feed` miss; returns when all is committed or the run was asked to stop.

    Args:
        share: what may be used.
        parts: what it is done with.
        feed: the shards.

    Raises:
        DownloadError: the job ended before its work did; everything placed so far is committed.
    """
    await _Worker(share, parts, feed).run()


class Listed:
    """A `Feed` of shards that are known from the start."""

    def __init__(self, shards: Iterable[ShardKey]) -> None:
        self._shards = iter(shards)
        self.is_ended = False
        """See `Feed`."""

    def take(self) -> ShardKey | None:
        """See `Feed`."""
        key = next(self._shards, None)
        self.is_ended = key is None
        return key

    async def more(self) -> None:
        """See `Feed`; all are at hand."""

    def done(self, key: ShardKey) -> None:
        """See `Feed`."""


@dataclass(slots=True)
class _Worker:
    share: Share
    parts: Parts
    feed: Feed
    open: dict[ShardKey, _OpenShard] = field(default_factory=dict)
    queue: deque[Request] = field(default_factory=deque)
    urgent: deque[Request] = field(default_factory=deque)
    """Parts of split requests: before anything new."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set, and replaced, whenever the producer should look again."""
    sleepers: deque[anyio.Event] = field(default_factory=deque)
    """Fetching tasks without a request, the longest idle first."""
    ahead: deque[tuple[ShardKey, Mapping[int, int]]] = field(default_factory=deque)
    """Shards seen and not yet opened, with what they miss: enough of them to see the end a round trip before."""
    seen_all: bool = False
    """Whether no shard comes after those `ahead`."""
    under_way: dict[Request, float | None] = field(default_factory=dict)
    """Requests with the pool → when the present call of theirs began; None while they wait for their turn."""
    observed: Observed = field(init=False)
    exhausted: bool = False
    """Whether the producer has handed out everything."""
    ended: bool = False
    """Whether an answer said that nothing can succeed any more."""
    gone: dict[int, FetchProblem] = field(default_factory=dict)
    """Slices whose image the service refuses as a whole, and why: nothing more of them is asked for."""
    waits: set[anyio.CancelScope] = field(default_factory=set)
    """Waits that end when the run drains."""
    answers: MemoryBudget = field(init=False)
    held: MemoryBudget = field(init=False)
    requests: int = 0
    nbytes: int = 0
    limit: str | None = None
    """The limit of the job that was reached: nothing more is handed out, what is handed out is finished."""
    learned: int | None = None
    """Bytes of pixels that the service is known to answer at once, where larger requests failed."""

    def __post_init__(self) -> None:
        self.answers = MemoryBudget(self.share.memory // 2)
        self.held = MemoryBudget(self.share.memory - self.share.memory // 2)
        self.observed = Observed(self.share.plan.model)
        self.gone = {
            number: FetchProblem(Action.FAIL_TILE, "no image", part.problem)
            for number, part in enumerate(self.share.plan.slices)
            if part.problem
        }

    @property
    def pool_size(self) -> int:
        """Fetching tasks: some more than requests in flight, so that placing pixels costs no slot of the quota."""
        return self.share.concurrency + max(2, self.share.concurrency // 4)

    async def run(self) -> None:
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as side:
                side.start_soon(self._checkpoints)
                side.start_soon(self._watch_time)
                side.start_soon(self._watch_stop, side.cancel_scope)
                async with anyio.create_task_group() as pool:
                    pool.start_soon(self._produce)
                    for _ in range(self.pool_size):
                        pool.start_soon(self._fetch_loop, pool)
                if self.limit is not None:
                    self.parts.stop.ask(self.limit)
                side.cancel_scope.cancel()
        except BaseException as error:  # noqa: BLE001  # re-raised below, once what is there is saved
            failure = first_of(error)
            if isinstance(failure, TileError):
                failure = StoppedError(str(failure))
        with anyio.CancelScope(shield=True):
            failure = await self._commit_open(failure)
        if failure is not None:
            raise failure

    # Producing ---------------------------------------------------------------------------------------------

    async def _produce(self) -> None:
        async for key, missing in self._look_ahead():
            if self.parts.stop.drain.is_set() or not await self._open(key):
                break
            group = self._tapered(self.share.plan.group(key.group), missing)
            for request in group.requests(key, missing):
                if not await self._hand_out(request):
                    break
            self.open[key].handed_out = True
            if self.open[key].pending == 0:
                await self._close(self.open[key])
            if self.parts.stop.drain.is_set() or self.limit is not None:
                break
        self.exhausted = True
        self._wake_all()

    async def _look_ahead(self) -> AsyncIterator[tuple[ShardKey, Mapping[int, int]]]:
        """Every shard that misses something. Some more are looked up each time than are handed on."""
        number = 0
        while True:
            wanted = min(len(self.ahead) + 2, self.share.concurrency + 1)
            while not self.seen_all and len(self.ahead) < wanted:
                key = self.feed.take()
                if key is None:
                    self.seen_all = self.feed.is_ended
                    break
                if missing := self.parts.mosaic.missing(key):
                    self.ahead.append((key, missing))
                else:
                    self.feed.done(key)
                number += 1
                if number % 256 == 0:
                    await anyio.lowlevel.checkpoint()
            if self.ahead:
                yield self.ahead.popleft()
            elif self.seen_all:
                return
            else:
                try:
                    await self._unless_draining(self.feed.more)
                except _NotStarted:
                    return

    def _tapered(self, group: Group, missing: Mapping[int, int]) -> Group:
        """The group with the rectangles in which its next shard is best asked for."""
        if not self.seen_all or group.shape == (1, 1):
            return group
        model = self.observed.model()
        now, free_in_s = self.parts.clock.now(), [0.0] * max(1, self.parts.limiter.ceiling)
        waiting_s = []
        for request, begun in self.under_way.items():
            whole_s = model.request_s(weight(self.share.plan.group(request.shard.group), request))
            if begun is None:
                waiting_s.append(whole_s)
            else:
                heapq.heapreplace(free_in_s, max(begun + whole_s - now, 0.02 * whole_s))
        for whole_s in waiting_s:
            heapq.heapreplace(free_in_s, free_in_s[0] + whole_s)
        requests, nbytes = 0, 0.0
        for key, lacks in self.ahead:
            other = self.share.plan.group(key.group)
            tiles, tile_bytes = _size(other, lacks)
            requests += -(-tiles // math.prod(other.shape))
            nbytes += tiles * tile_bytes
        later = requests, requests * model.base_s + nbytes / 1e6 * model.per_mb_s
        tiles, tile_bytes = _size(group, missing)
        shape = tapered(group.shape, tiles, tile_bytes, free_in_s, later, model, len(waiting_s))
        return group if shape == group.shape else replace(group, shape=shape)

    async def _hand_out(self, request: Request) -> bool:
        """Queue one request once the pool is ready for it; False when the run should hand out no more."""
        while self.queue and not self.parts.stop.drain.is_set():
            await self.changed.wait()
        if self.parts.stop.drain.is_set():
            return False
        nbytes = weight(self.share.plan.group(request.shard.group), request)
        self.limit = self._limit_reached(nbytes)
        if self.limit is not None:
            return False
        self.requests += 1
        self.nbytes += nbytes
        self.open[request.shard].pending += 1
        self.queue.append(request)
        self._wake(1)
        return True

    def _limit_reached(self, nbytes: int) -> str | None:
        share = self.share
        if share.max_requests is not None and self.requests >= share.max_requests:
            return f"limits.max_requests: {share.max_requests:,} requests are made"
        if share.max_bytes is not None and self.nbytes + nbytes > share.max_bytes:
            return f"limits.max_bytes: {self.nbytes:,} bytes are fetched and the next request would pass the limit"
        return None

    async def _open(self, key: ShardKey) -> bool:
        """Wait until one more shard may be open; False when the run was asked to stop meanwhile."""
        group = self.share.plan.group(key.group)
        side = group.tiling.shard_side
        nbytes = min(side * side * group.itemsize * group.tiling.shard_slices, self.held.limit)
        per_shard = max(1, group.count_requests() // group.tiling.shards)
        most = math.ceil(self.share.concurrency / per_shard) + 1
        while True:
            if self.parts.stop.drain.is_set():
                return False
            counted = [shard for shard in self.open.values() if not shard.parked]
            if len(counted) < most and self.held.used + nbytes <= self.held.limit:
                break
            with anyio.move_on_after(_PATIENCE_S):
                await self.changed.wait()
                continue
            await self._park(counted)
        await self.held.reserve(nbytes)
        self.open[key] = _OpenShard(key, nbytes)
        return True

    async def _park(self, shards: list[_OpenShard]) -> None:
        """Where the pool idles because slow requests hold every open shard, commit the oldest and let go of it."""
        if not self.sleepers or self.queue or any(shard.closing for shard in shards):
            return
        for shard in shards:
            if shard.handed_out and shard.pending:
                await self.parts.mosaic.commit(shard.key)
                shard.parked = True
                self._let_go(shard)
                return

    # Fetching ----------------------------------------------------------------------------------------------

    async def _fetch_loop(self, pool: TaskGroup) -> None:
        while (request := await self._next()) is not None:
            try:
                outcome = await self._attempt(request)
            except _NotStarted:
                return
            self.parts.progress(outcome)
            shard = self.open[request.shard]
            if isinstance(outcome, Split):
                self._queue_parts(outcome)
            shard.pending -= 1
            if shard.pending == 0 and shard.handed_out:
                pool.start_soon(self._close, shard)
            if self.exhausted and not self._pending():
                self._wake_all()
            if self.parts.outcomes is not None:
                with contextlib.suppress(anyio.BrokenResourceError):
                    await self.parts.outcomes.send(outcome)

    def _queue_parts(self, split: Split) -> None:
        """Queue the halves of a request before anything new, as far as the limits of the job allow."""
        if not split.attempts:
            self.requests -= 1  # it was counted, and not made
        for part in split.parts:
            if (limit := self._limit_reached(0)) is not None:
                self.limit = self.limit or limit
                return
            self.requests += 1
            self.open[part.shard].pending += 1
            self.urgent.append(part)
            self._wake(1)

    async def _next(self) -> Request | None:
        while True:
            if self.urgent and not self.parts.stop.drain.is_set():
                return self.urgent.popleft()
            if self.queue and not self.parts.stop.drain.is_set():
                request = self.queue.popleft()
                self._notify()
                return request
            if self.parts.stop.drain.is_set() or (self.exhausted and not self._pending()):
                return None
            woken = anyio.Event()
            self.sleepers.append(woken)
            await woken.wait()

    def _pending(self) -> bool:
        return any(shard.pending for shard in self.open.values())

    async def _attempt(self, request: Request) -> Outcome:
        """One request to its end: pixels placed, parts to queue, or a recorded failure."""
        if (gone := self.gone.get(request.block.slice)) is not None:
            self.parts.mosaic.fail(request, gone)
            return Failed(request, gone, attempts=0)
        nbytes = weight(self.share.plan.group(request.shard.group), request)
        reserved = min(nbytes, self.answers.limit)
        self.under_way[request] = None
        await self.answers.reserve(reserved)
        spent = _Spent()
        try:
            pixels = await self._fetch(request, nbytes, spent)
            await self.parts.mosaic.place(request, pixels)
        except TileError as error:
            return self._failed(request, error.problem, spent.calls)
        finally:
            self.under_way.pop(request, None)
            self.answers.release(reserved)
        return Stored(request, nbytes, spent.seconds, spent.calls)

    async def _fetch(self, request: Request, nbytes: int, spent: _Spent) -> NDArray[np.void]:
        parts = self.parts
        wanted = self.share.plan.pixel_request(request)
        can_split = bool(halves(self.share.plan.group(request.shard.group), request))

        async def call() -> NDArray[np.void]:
            ticket = await self._unless_draining(parts.limiter.acquire)
            begun = self.under_way[request] = parts.clock.now()
            problem: FetchProblem | None = _CANCELLED
            pixels = None
            try:
                if self.ended:
                    raise _NotStarted  # the finally below gives the ticket back
                if (gone := self.gone.get(request.block.slice)) is not None:
                    raise TileError(gone)
                if can_split and self.learned is not None and nbytes > self.learned:
                    raise TileError(_SPLIT_AHEAD)
                if can_split and self._is_last(nbytes):
                    raise TileError(_HALVED)
                spent.calls += 1
                parts.progress(Flow(parts.limiter.in_flight, parts.limiter.ceiling))
                pixels = await parts.source.fetch(wanted)
                problem = None
                self.observed.add(nbytes, parts.clock.now() - begun)
            except TileError as error:
                if error.problem not in (_SPLIT_AHEAD, _HALVED):
                    problem = error.problem
                self.ended |= self._ends_job(error.problem)
                if (
                    error.problem.action is Action.RETRY
                    and parts.limiter.in_doubt
                    and await self._is_answered()
                ):
                    problem = None  # to the limiter; the tile's own retries count it
                raise
            finally:
                spent.seconds += parts.clock.now() - begun
                if pixels is None:
                    self.under_way[request] = None
                else:
                    del self.under_way[request]
                parts.limiter.release(ticket, problem)
                parts.progress(Flow(parts.limiter.in_flight, parts.limiter.ceiling))
            return pixels

        def retried(problem: FetchProblem, attempt: int) -> None:
            parts.progress(Retried(request, problem, attempt))

        pixels, _ = await persist(
            call, self.share.policy, parts.budget, _WorkerClock(self), parts.rng, retried, can_split=can_split
        )
        return pixels

    async def _is_answered(self) -> bool:
        """Whether the service answers what it answered before this run's first request: then a tile is to blame.

        Without it the last tiles of a job, where they fail for ever, would look like an outage.
        """
        plan = self.share.plan
        for group in plan.groups:
            for number in range(group.tiling.slices):
                if number not in self.gone and (bands := group.present(number)):
                    self.parts.budget.call()
                    try:
                        await self.parts.source.fetch(plan.first_pixel(group, number, [min(bands)]))
                    except TileError:
                        return False
                    return True
        return False

    def _is_last(self, nbytes: int) -> bool:
        """Whether slots would idle while this request runs, so that its halves end sooner, side by side."""
        if not self.exhausted or self.queue or self.urgent or self.share.max_requests is not None:
            return False
        if self.requests == 1:
            return False  # a job of one request is answered by one
        if any(begun is None for begun in self.under_way.values()):
            return False
        limiter, model = self.parts.limiter, self.observed.model()
        gain_s = model.request_s(nbytes) - model.request_s(nbytes / 2) - 1 / model.starts_per_s
        return limiter.in_flight < limiter.ceiling and gain_s > _WORTH_S

    def _failed(self, request: Request, problem: FetchProblem, calls: int) -> Outcome:
        group = self.share.plan.group(request.shard.group)
        if problem.action is Action.FAIL_ASSET:
            self.gone.setdefault(request.block.slice, problem)
        if self._ends_job(problem):
            raise problem.ends_with(f"{problem.message} (at {request})")
        if problem.action is Action.SPLIT and (parts := halves(group, request)):
            if problem not in (_SPLIT_AHEAD, _HALVED):
                half = max(weight(group, part) for part in parts)
                self.learned = half if self.learned is None else min(self.learned, half)
            return Split(request, problem, parts, calls)
        self.parts.mosaic.fail(request, problem)
        return Failed(request, problem, calls)

    def _ends_job(self, problem: FetchProblem) -> bool:
        """Whether nothing can succeed any more; of many images one may fail as a whole."""
        alone = not self.share.plan.axis
        return problem.action is Action.FAIL_JOB or (problem.action is Action.FAIL_ASSET and alone)

    async def _unless_draining(self, wait: Callable[[], Awaitable[T]]) -> T:
        """The result of a wait that a drain cuts short: nothing that waits to start is started any more."""
        with anyio.CancelScope() as scope:
            self.waits.add(scope)
            try:
                if not self.parts.stop.drain.is_set():
                    return await wait()
            finally:
                self.waits.discard(scope)
        raise _NotStarted

    # Committing --------------------------------------------------------------------------------------------

    async def _close(self, shard: _OpenShard) -> None:
        shard.closing = True
        await self.parts.mosaic.commit(shard.key)
        self._let_go(shard)
        del self.open[shard.key]
        self.feed.done(shard.key)
        self._notify()

    def _let_go(self, shard: _OpenShard) -> None:
        """Give its memory back, once: its last request may end while it is committed in order to be parked."""
        nbytes, shard.nbytes = shard.nbytes, 0
        self.held.release(nbytes)

    async def _checkpoints(self) -> None:
        while True:
            await self.parts.clock.sleep(self.share.checkpoint_s)
            for key in list(self.open):
                if key in self.open:
                    await self.parts.mosaic.commit(key)

    async def _commit_open(self, failure: BaseException | None) -> BaseException | None:
        """Save every open shard as far as it is; a disk that refuses is told once."""
        for key in list(self.open):
            try:
                await self.parts.mosaic.commit(key)
            except DownloadError as error:
                return failure or error
        return failure

    async def _watch_time(self) -> None:
        if self.share.max_time_s is not None:
            await self.parts.clock.sleep(self.share.max_time_s)
            self.parts.stop.ask(f"limits.max_time: {self.share.max_time_s:g} s are over")

    async def _watch_stop(self, everything: anyio.CancelScope) -> None:
        await self.parts.stop.drain.wait()
        self._wake_all()
        for scope in self.waits:
            scope.cancel()
        with anyio.move_on_after(GRACE_S):
            await self.parts.stop.now.wait()
        everything.cancel()

    # Waking ------------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        """The producer looks again."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    def _wake(self, tasks: int) -> None:
        """So many idle tasks look for a request; not all, as with hundreds of answers a second that is dear."""
        for _ in range(min(tasks, len(self.sleepers))):
            self.sleepers.popleft().set()

    def _wake_all(self) -> None:
        self._notify()
        self._wake(len(self.sleepers))


class _NotStarted(Exception):  # noqa: N818  # no error: the run drains, and a request that had not started stays undone
    pass


class _WorkerClock:
    """The clock of one worker's retries, whose sleep ends with the run."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker

    def now(self) -> float:
        return self._worker.parts.clock.now()

    async def sleep(self, seconds: float) -> None:
        await self._worker._unless_draining(lambda: self._worker.parts.clock.sleep(seconds))  # noqa: SLF001


def _size(group: Group, missing: Mapping[int, int]) -> tuple[int, float]:
    """Tiles of which something is missing, and the bytes that one of them brings on the average."""
    together = pixels = 0
    for band, mask in missing.items():
        together |= mask
        pixels += mask.bit_count() * group.bands[band].dtype.itemsize
    tiles = together.bit_count()
    return tiles, pixels * group.tiling.tile**2 / tiles
