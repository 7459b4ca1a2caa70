"""The fetching of one run in a worker's process: as a local run, of shards that are handed out a few at a time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import anyio

from downloader.earthengine.pixels import RestPixelSource
from downloader.engine.dask.messages import Assignment, Done, Grant, Instruction, Mailbox, Portion
from downloader.engine.memory import pixel_memory
from downloader.engine.resources import Parts, Share
from downloader.engine.stop import Stop
from downloader.engine.worker import work
from downloader.events import Event, Flow
from downloader.flow.clock import MonotonicClock
from downloader.flow.limiter import AdaptiveLimiter
from downloader.flow.retry import RetryBudget
from downloader.flow.shared_limiter import JobLimiter
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.shard_writer import ShardWriter
from downloader.mosaic.subset import Selection
from downloader.planning import ShardKey

if TYPE_CHECKING:
    from downloader.earthengine.client import EarthEngine
    from downloader.mosaic.storage.store import Store, WorkerLock
    from downloader.protocols import Feed

    def _conforms(feed: _HandedOut) -> Feed:
        return feed


_ROOM: Final = 1.25
"""The pool is made for so much more than the present share, so that a share may grow a little without a new pool."""


class _HandedOut:
    """A `Feed` of the shards of one round of work."""

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


class Pool:
    """Limiter, writer and tasks of one run. Made and used on one event loop."""

    def __init__(
        self,
        assignment: Assignment,
        store: Store,
        lock: WorkerLock,
        client: EarthEngine,
        mailbox: Mailbox,
        on_done: Callable[[ShardKey], None],
    ) -> None:
        """Prepare; `run` fetches.

        Args:
            assignment: what to do.
            store: the mosaic's objects.
            lock: the right to write them.
            client: the service.
            mailbox: takes all that the run is told.
            on_done: told of each shard that is finished.
        """
        self._assignment = assignment
        self._mailbox = mailbox
        self._on_done = on_done
        self._memory = assignment.memory or pixel_memory(assignment.limits.memory, assignment.plan)
        self._states = {layout.group.name: GroupState(layout.group) for layout in assignment.layouts}
        self._writer = ShardWriter(store, assignment.layouts, self._states, mailbox, lock)
        self._chosen: dict[ShardKey, dict[int, int]] = {}
        self._instruction = Instruction(assignment.grant, 0)
        self.stop = Stop()
        grant, clock, rng = assignment.grant, MonotonicClock(), random.Random()  # noqa: S311  # jitter, not a secret
        self.concurrency = grant.concurrency
        self.limiter = AdaptiveLimiter(
            grant.concurrency, grant.requests_per_second, clock, rng, assignment.limits.give_up_after
        )
        # The run's whole quota bounds it; what this worker may have of that changes, and the limiter keeps to it.
        client.limiter = in_turn = JobLimiter(self.limiter, assignment.limits.concurrency, client.renewal)
        self.budget = RetryBudget(extra=grant.retries)
        self._parts = Parts(
            RestPixelSource(client),
            Selection(self._writer, self._chosen),
            in_turn,
            clock,
            rng,
            self._tell,
            self.budget,
            self.stop,
        )
        self._now: _HandedOut | None = None
        self._next = _HandedOut(self._done)
        self._size = 0
        self._woken = anyio.Event()

    @property
    def blank(self) -> Mapping[str, int]:
        """Group → tiles, band by band, that came with nothing but nodata or zero."""
        return self._writer.blank

    async def run(self) -> None:
        """Fetch shards as they are handed out, until the run is over or asks to stop."""
        assignment = self._assignment
        while not self._instruction.leave and not self.stop.drain.is_set():
            if not self._next.keys:
                self._woken = anyio.Event()
                await self._woken.wait()
                continue
            feed, self._next = self._next, _HandedOut(self._done)
            self._now, feed.is_over = feed, self._instruction.is_last
            self._size = max(1, int(self._instruction.grant.concurrency * _ROOM + 0.5))
            # What the run counts is its own business.
            limits = assignment.limits.model_copy(
                update={"concurrency": self._size, "max_bytes": None, "max_eecu": None}
            )
            share = Share(assignment.plan, limits, self._memory, assignment.checkpoint_s)
            await work(share, self._parts, feed)
            self._now = None

    def accept(self, portions: Sequence[Portion]) -> None:
        """Add shards to fetch."""
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

    def obey(self, instruction: Instruction) -> None:
        """Follow an instruction of the run."""
        self._instruction = instruction
        self._take_up(instruction.grant)
        if self._now is not None and (instruction.is_last or instruction.leave):
            self._now.end()
        if instruction.stop and not self.stop.drain.is_set():
            self.stop.ask(instruction.reason)
        if instruction.stop > 1 and not self.stop.now.is_set():
            self.stop.ask(instruction.reason)
        self._woken.set()

    def abandon(self, reason: str) -> None:
        """Stop at once: save what is fetched, and leave."""
        for _ in range(2):
            self.stop.ask(reason)
        self._woken.set()

    def _take_up(self, grant: Grant) -> None:
        if grant.concurrency != self.concurrency:
            self.limiter.set_concurrency(grant.concurrency)
            self.concurrency = grant.concurrency
        if grant.requests_per_second > 0:
            self.limiter.set_rate(grant.requests_per_second)
        self.budget.extra = grant.retries
        if self._now is not None and grant.concurrency > self._size:
            # The pool is too small for its new share: the next round gets a larger one.
            self._next.keys.extend(self._now.keys)
            self._now.keys.clear()
            self._now.end()

    def _tell(self, event: Event) -> None:
        if not isinstance(event, Flow):  # each look of the run brings the numbers
            self._mailbox.put(event)

    def _done(self, key: ShardKey) -> None:
        self._chosen.pop(key, None)
        self._mailbox.put(Done(key))
        self._on_done(key)
