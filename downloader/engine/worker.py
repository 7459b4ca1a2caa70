"""The loop that fetches and stores shards: the same for one process and for many.

shards → requests → [ acquire → fetch → place ] by a bounded pool → commit of each shard whose last request ended
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from downloader.engine.endgame import Endgame
from downloader.engine.fetcher import Fetcher
from downloader.engine.open_shards import OpenShard, OpenShards
from downloader.engine.resources import Parts, Share, Used, reached
from downloader.engine.stop import GRACE_S, NotStarted
from downloader.errors import DownloadError, StoppedError, TileError, first_of
from downloader.events import Split
from downloader.planning import Request, ShardKey
from downloader.planning.compute_cost import most_seconds
from downloader.protocols import Feed

_PATIENCE_S: Final = 0.1
"""How long an idle pool waits for a shard to finish by itself before it is committed as far as it is. Where durations
scatter by a third, 0.1 s in place of 1 s makes a job of four requests a shard a tenth quicker."""


async def work(share: Share, parts: Parts, feed: Feed) -> None:
    """Fetch and store what the shards of `feed` miss; returns when all is committed or the run was asked to stop.

    Args:
        share: limits of the worker.
        parts: source, destination and surroundings.
        feed: the shards.

    Raises:
        DownloadError: the job ended before its work did; everything placed so far is committed.
    """
    await Worker(share, parts, feed).run()


class ListedShards:
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


class Worker:
    """One pool of tasks that fetch, and one task that hands requests to it."""

    def __init__(self, share: Share, parts: Parts, feed: Feed) -> None:
        """Prepare; `run` does the work, once. Arguments are those of `work`."""
        self.share = share
        self.parts = parts
        self.feed = feed
        memory = share.memory // 2
        self.shards = OpenShards(
            share.plan,
            parts.mosaic,
            share.limits.concurrency,
            share.memory - memory,
            whole=not share.is_piecemeal,
        )
        self.endgame = Endgame(share.plan, parts.limiter, parts.clock)
        self.fetcher = Fetcher(share, parts, memory, self.endgame, self._shortened, partial(self._wake, 1))
        self._queue: deque[Request] = deque()
        self._urgent: deque[Request] = deque()
        """Parts of split requests: before anything new."""
        self._ahead: deque[tuple[ShardKey, Mapping[int, int]]] = deque()
        """Shards seen and not yet opened, with what they miss: enough of them to see the end a round trip before."""
        self._seen_all = False
        """Whether no shard comes after those `_ahead`."""
        self._has_room = True
        """Whether the next shard may be opened; else those that are open are finished first."""
        self._exhausted = False
        """Whether everything was handed out."""
        self._used = Used()
        """By what was handed out."""
        self._limit: str | None = None
        """The limit of the job that was reached: nothing more is handed out, what is handed out is finished."""
        self._failure: DownloadError | None = None
        """The answer that ended the job: nothing more is asked for, and answers under way are still stored."""
        self._changed = anyio.Event()
        """Set, and replaced, whenever the producer should look again."""
        self._sleepers: deque[anyio.Event] = deque()
        """Fetching tasks without a request, the longest idle first."""

    async def run(self) -> None:
        """See `work`."""
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as side:
                side.start_soon(self._checkpoint)
                side.start_soon(self._watch_stop, side.cancel_scope)
                async with anyio.create_task_group() as pool:
                    pool.start_soon(self._produce)
                    for _ in range(2 * self.share.limits.concurrency):  # half of them may place pixels
                        pool.start_soon(self._fetch_loop, pool)
                side.cancel_scope.cancel()
            if self._failure is not None:
                raise self._failure
            if self._limit is not None:
                self.parts.stop.ask(self._limit)
        except BaseException as error:  # noqa: BLE001  # re-raised below, once what is there is saved
            failure = first_of(error)
            if isinstance(failure, TileError):
                failure = StoppedError(str(failure))
        self.parts.spending.used = self._spent
        with anyio.CancelScope(shield=True):
            try:
                await self.shards.commit()
            except DownloadError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    @property
    def _spent(self) -> Used:
        """Use that counts against the limits."""
        return self.parts.spending.used + self._used + Used(eecu_s=most_seconds(self.fetcher.wasted_s))

    @property
    def _may_ask(self) -> bool:
        """Whether another request may be on its way: some more than slots, so that one waits for each that is freed."""
        concurrency = self.share.limits.concurrency
        return self.endgame.unanswered < concurrency + max(2, concurrency // 4)

    @property
    def _is_draining(self) -> bool:
        return self.parts.stop.drain.is_set() or self._failure is not None

    # Handing out -------------------------------------------------------------------------------------------

    async def _produce(self) -> None:
        async for key, missing in self._look_ahead():
            if self._is_draining or not await self._open(key):
                break
            for request in self.share.plan.group(key.group).requests(key, missing):
                if not await self._hand_out(request):
                    break
            shard = self.shards[key]
            shard.handed_out = True
            if shard.pending == 0:
                await self._close(shard)
            if self._is_draining or self._limit is not None:
                break
        self._exhausted = True
        self._wake_all()

    async def _look_ahead(self) -> AsyncIterator[tuple[ShardKey, Mapping[int, int]]]:
        """Yield every shard that misses something, looking further ahead each time: the end is seen a wave before it comes."""
        number = 0
        while True:
            wanted = min(2 * len(self._ahead) + 2, self.share.limits.concurrency + 1)
            while not self._seen_all and len(self._ahead) < wanted:
                key = self.feed.take()
                if key is None:
                    self._seen_all = self.feed.is_ended
                    break
                if missing := await self._missing(key):
                    self._ahead.append((key, missing))
                else:
                    self.feed.done(key)
                number += 1
                if number % 256 == 0:
                    await anyio.lowlevel.checkpoint()
            if self._ahead:
                yield self._ahead.popleft()
            elif self._seen_all:
                return
            else:
                try:
                    await self.parts.stop.cuts_short(self.feed.more)
                except NotStarted:
                    return

    async def _missing(self, key: ShardKey) -> Mapping[int, int]:
        """Return what a shard misses; the tiles of a polygon, which may be a large one, are looked up in a thread."""
        if self.share.plan.group(key.group).region is None:
            return self.parts.mosaic.missing(key)
        return await anyio.to_thread.run_sync(self.parts.mosaic.missing, key)

    async def _open(self, key: ShardKey) -> bool:
        """Wait until one more shard may be open; False when the run was asked to stop meanwhile."""
        while not self._is_draining:
            self._has_room = self.shards.has_room(key)
            if self._has_room:
                await self.shards.open(key)
                return True
            if self.endgame.has_aside:
                self._wake(len(self._sleepers))
            with anyio.move_on_after(_PATIENCE_S):
                await self._changed.wait()
                continue
            if self._may_ask and not self._queue:
                # The pool idles because slow requests hold every open shard.
                await self.shards.park()
        return False

    async def _hand_out(self, request: Request) -> bool:
        """Queue one request once the pool is ready for it; False when the run should hand out no more."""
        while self._queue and not self._is_draining:
            await self._changed.wait()
        if self._is_draining:
            return False
        more = Used.by(self.share.plan, request)
        self._limit = reached(self.share.limits, self._spent, more)
        if self._limit is not None:
            return False
        self._enqueue(request, self._queue, more)
        return True

    def _queue_parts(self, split: Split) -> None:
        """Queue the halves of a request before anything new, as far as the limits of the job allow."""
        if not split.attempts:
            self._used -= Used(1)  # it was counted, and not made
        more = Used(1)  # the pixels of the halves are counted
        for part in split.parts:
            if (limit := reached(self.share.limits, self._spent, more)) is not None:
                self._limit = self._limit or limit
                return
            self._enqueue(part, self._urgent, more)

    def _enqueue(self, request: Request, queue: deque[Request], more: Used) -> None:
        self._count(request, more)
        queue.append(request)
        self._wake(1)

    def _count(self, request: Request, more: Used) -> None:
        self._used += more
        self.shards[request.shard].pending += 1

    # Fetching ----------------------------------------------------------------------------------------------

    async def _fetch_loop(self, pool: TaskGroup) -> None:
        while (request := await self._next()) is not None:
            try:
                outcome = await self.fetcher.attempt(request)
            except NotStarted:
                return
            except DownloadError as error:
                if not self.fetcher.has_ended:
                    raise
                self._failure = self._failure or error
                pool.cancel_scope.deadline = min(pool.cancel_scope.deadline, anyio.current_time() + GRACE_S)
                self._wake_all()
                return
            self.parts.progress(outcome)
            shard = self.shards[request.shard]
            if isinstance(outcome, Split):
                self._queue_parts(outcome)
            shard.pending -= 1
            if shard.pending == 0 and shard.handed_out:
                pool.start_soon(self._close, shard)
            if self._exhausted and not self.shards.is_pending:
                self._wake_all()
            if self.parts.outcomes is not None:
                with contextlib.suppress(anyio.BrokenResourceError):
                    await self.parts.outcomes.send(outcome)

    async def _next(self) -> Request | None:
        while not self._is_draining:
            if self._may_ask:
                if self._urgent:
                    return self._urgent.popleft()
                if self._queue:
                    request = self._queue.popleft()
                    self._notify()
                    return request
                if self.endgame.has_aside and (self._exhausted or not self._has_room):
                    return self.endgame.take_aside()
            if self._exhausted and not self.shards.is_pending:
                return None
            woken = anyio.Event()
            self._sleepers.append(woken)
            await woken.wait()
        return None

    def _shortened(self, request: Request) -> Request:
        """Return the part of a request to ask for, now that its turn has come; what remains of it is kept for later."""
        is_end = self._seen_all and (self._used.requests > 1 or self._ahead)
        if not is_end or self.share.limits.max_requests is not None:
            return request
        part, *rest = self.endgame.in_time(request, self._ahead)
        for other in rest:
            self._count(other, Used(1))
            self.endgame.set_aside(other)
        if rest:
            self._wake(len(rest))
        return part

    # Committing --------------------------------------------------------------------------------------------

    async def _close(self, shard: OpenShard) -> None:
        await self.shards.close(shard)
        self.feed.done(shard.key)
        self._notify()

    async def _checkpoint(self) -> None:
        while True:
            await self.parts.clock.sleep(self.share.checkpoint_s)
            await self.shards.commit()

    async def _watch_stop(self, everything: anyio.CancelScope) -> None:
        await self.parts.stop.drain.wait()
        self._wake_all()
        with anyio.move_on_after(GRACE_S):
            await self.parts.stop.now.wait()
        everything.cancel()

    # Waking ------------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        """Let the producer look again."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _wake(self, tasks: int) -> None:
        """Let so many idle tasks look for a request; waking all of them at hundreds of answers a second costs too much."""
        for _ in range(min(tasks, len(self._sleepers))):
            self._sleepers.popleft().set()

    def _wake_all(self) -> None:
        self._notify()
        self._wake(len(self._sleepers))
