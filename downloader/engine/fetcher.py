"""Single requests: fetched with retries and placed, split where they are too large, or recorded as failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from downloader.engine.endgame import Endgame
from downloader.engine.resources import Parts, Share, retry_policy
from downloader.engine.stop import NotStarted, Stop
from downloader.errors import MAY_BE_CHARGED, Action, Cause, FetchProblem, JobError, TileError
from downloader.events import Failed, Flow, Outcome, Retried, Split, Stored
from downloader.flow.memory import MemoryBudget
from downloader.flow.retry import persist
from downloader.planning import PixelRequest, Request
from downloader.planning.compute_cost import seconds_of
from downloader.planning.split import apart, halves, weight
from downloader.protocols import Clock

_MANY: Final = 32
"""Slices from which on the expression of a stack takes long enough to write that others should not wait for it."""

_CANCELLED: Final = FetchProblem(Action.RETRY, Cause.CANCELLED, "given up on this side")
_SPLIT_AHEAD: Final = FetchProblem(
    Action.SPLIT, Cause.SPLIT_AHEAD, "the service refused requests of this size before"
)


@dataclass(slots=True)
class _Asked:
    """A request under way, and what it has used so far."""

    request: Request
    nbytes: int
    """Bytes of its pixels."""
    reserved: int
    """Bytes of memory kept for its answer."""
    can_split: bool
    wanted: PixelRequest | None = None
    """The call that brings it; None until it is written."""
    calls: int = 0
    wasted: int = 0
    """Those that brought nothing, and that the service may have computed all the same."""
    seconds: float = 0.0


class Fetcher:
    """Fetches requests for a worker, and remembers what the service refused."""

    def __init__(
        self,
        share: Share,
        parts: Parts,
        memory: int,
        endgame: Endgame,
        shortened: Callable[[Request], Request],
        answered: Callable[[], None],
    ) -> None:
        """Start with nothing learned.

        Args:
            share: limits of the worker.
            parts: what it works with.
            memory: bytes of answers at a time.
            endgame: told of each call.
            shortened: given a request whose turn has come, returns the part of it to ask for.
            answered: called when pixels have come, before they are placed.
        """
        self._share = share
        self._policy = retry_policy(share.limits)
        self._parts = parts
        self._endgame = endgame
        self._shortened = shortened
        self._answered = answered
        self._clock = _StoppableClock(parts.clock, parts.stop)
        self.answers = MemoryBudget(memory)
        self.wasted_s = 0.0
        """EECU-seconds of calls that brought nothing, and that the service may have computed all the same."""
        self.has_ended = False
        """Whether an answer said that nothing can succeed any more."""
        self._gone: dict[int, FetchProblem] = {
            number: FetchProblem(Action.FAIL_TILE, Cause.NO_IMAGE, part.problem)
            for number, part in enumerate(share.plan.slices)
            if part.problem
        }
        """Slices whose image the service refuses as a whole, and why: nothing more of them is asked for."""
        self._answerable: int | None = None
        """Bytes of pixels that the service is expected to answer at once, where larger requests failed."""

    async def attempt(self, request: Request) -> Outcome:
        """Fetch one request: its pixels are placed, or its parts are to be queued, or its failure is recorded.

        Raises:
            NotStarted: the run drains, and the request had not started; it stays undone.
            DownloadError: nothing can succeed any more.
        """
        group = self._share.plan.group(request.shard.group)
        if (gone := self._gone_in(request)) is not None:
            if request.block.slices > 1:
                return Split(request, gone, apart(group, request, self._gone), 0)
            return self._failed(_Asked(request, 0, 0, can_split=False), gone)
        nbytes = weight(group, request)
        reserved = min(nbytes, self.answers.limit)
        self._endgame.waits(request)
        await self.answers.reserve(reserved)
        asked = _Asked(request, nbytes, reserved, can_split=bool(halves(group, request)))
        try:
            pixels = await self._fetch(asked)
            self._answered()
            await self._parts.mosaic.place(asked.request, pixels)
        except TileError as error:
            return self._failed(asked, error.problem)
        finally:
            self._endgame.ended(asked.request)
            self.answers.release(asked.reserved)
        eecu_s = seconds_of(self._share.plan, asked.request)
        return Stored(asked.request, asked.nbytes, asked.seconds, asked.calls, eecu_s, asked.wasted * eecu_s)

    async def _fetch(self, asked: _Asked) -> NDArray[np.void]:
        parts = self._parts
        asked.wanted = await self._wanted(asked.request)

        async def call() -> NDArray[np.void]:
            return await self._call(asked)

        def retried(problem: FetchProblem, attempt: int) -> None:
            parts.progress(Retried(asked.request, problem, attempt))

        return await persist(
            call,
            self._policy,
            parts.budget,
            self._clock,
            parts.rng,
            retried,
            lambda: asked.can_split,
        )

    async def _wanted(self, request: Request) -> PixelRequest:
        """Return the call that brings a request; that of a large stack is written in a thread."""
        plan = self._share.plan
        try:
            if request.block.slices < _MANY:
                return plan.pixel_request(request)
            return await anyio.to_thread.run_sync(plan.pixel_request, request)
        except JobError as error:
            if request.block.slices == 1:
                raise
            # Together the graphs are longer, or nested deeper, than the service takes.
            raise TileError(FetchProblem(Action.SPLIT, Cause.PAYLOAD_SIZE, error.message)) from error

    async def _call(self, asked: _Asked) -> NDArray[np.void]:
        """Make one call, once the limiter lets it start."""
        parts, limiter = self._parts, self._parts.limiter
        ticket = await parts.stop.cuts_short(limiter.acquire)
        begun = parts.clock.now()
        problem: FetchProblem | None = _CANCELLED
        pixels = None
        try:
            self._refuse(asked)
            if not asked.calls:
                await self._shorten(asked)
            begun = self._endgame.begins(asked.request)
            asked.calls += 1
            parts.progress(Flow(limiter.in_flight, limiter.ceiling))
            assert asked.wanted is not None  # noqa: S101  # written before its turn
            pixels = await parts.source.fetch(asked.wanted)
            problem = None
            self._endgame.answered(asked.request, asked.nbytes, parts.clock.now() - begun)
        except TileError as error:
            if error.problem is not _SPLIT_AHEAD:
                problem = error.problem
            if error.problem.cause in MAY_BE_CHARGED:
                asked.wasted += 1
                self.wasted_s += seconds_of(self._share.plan, asked.request)
            self.has_ended |= self._ends_job(error.problem)
            if (
                error.problem.action is Action.RETRY
                and limiter.in_doubt
                and await self._is_answered(ticket, asked)
            ):
                problem = None  # to the limiter; the tile's own retries count it
            raise
        finally:
            asked.seconds += parts.clock.now() - begun
            if pixels is None:
                self._endgame.waits(asked.request)
            limiter.release(ticket, problem)
            parts.progress(Flow(limiter.in_flight, limiter.ceiling))
        return pixels

    def _refuse(self, asked: _Asked) -> None:
        """Raise NotStarted or TileError for a request that is better not made."""
        if self.has_ended:
            raise NotStarted
        if (gone := self._gone_in(asked.request)) is not None:
            raise TileError(gone)
        if asked.can_split and self._answerable is not None and asked.nbytes > self._answerable:
            raise TileError(_SPLIT_AHEAD)

    async def _shorten(self, asked: _Asked) -> None:
        """Ask for a part of a request where that ends the job sooner; the rest is a request of its own."""
        part = self._shortened(asked.request)
        if part is asked.request:
            return
        self._endgame.ended(asked.request)
        group = self._share.plan.group(part.shard.group)
        asked.request, asked.nbytes = part, weight(group, part)
        asked.can_split = bool(halves(group, part))
        unused = asked.reserved - min(asked.nbytes, asked.reserved)
        asked.reserved -= unused
        self.answers.release(unused)
        asked.wanted = await self._wanted(part)

    async def _is_answered(self, ticket: int, asked: _Asked) -> bool:
        """Return whether the service answers a request that it answered before the run: then a tile is to blame.

        Without it the last tiles of a job, where they fail for ever, would look like an outage.
        """
        plan = self._share.plan
        for group in plan.groups:
            for number in range(group.tiling.slices):
                if number not in self._gone and (bands := group.present(number)):
                    await self._parts.limiter.again(ticket)
                    self._parts.budget.call()
                    asked.calls += 1
                    try:
                        await self._parts.source.fetch(plan.first_pixel(group, number, [min(bands)]))
                    except TileError:
                        return False
                    return True
        return False

    def _failed(self, asked: _Asked, problem: FetchProblem) -> Outcome:
        request = asked.request
        group = self._share.plan.group(request.shard.group)
        alone = request.block.slices == 1
        if problem.action is Action.FAIL_ASSET and alone:
            slices = self._share.plan.slices
            # Samples may share an image.
            of = slices[request.block.slice].images if slices else ()
            for number in [k for k, one in enumerate(slices) if of and one.images == of] or [
                request.block.slice
            ]:
                self._gone.setdefault(number, problem)
        if self._ends_job(problem):
            raise problem.ends_with(f"{problem.message} (at {request})") from TileError(problem)
        wasted_s = asked.wasted * seconds_of(self._share.plan, request) if asked.wasted else 0.0
        # One of several slices may be to blame: in the end it fails alone.
        if (problem.action is Action.SPLIT or not alone) and (parts := halves(group, request)):
            if problem.action is Action.SPLIT and problem is not _SPLIT_AHEAD:
                half = max(weight(group, part) for part in parts)
                self._answerable = half if self._answerable is None else min(self._answerable, half)
            return Split(request, problem, parts, asked.calls, wasted_s)
        self._parts.mosaic.fail(request, problem)
        return Failed(request, problem, asked.calls, wasted_s)

    def _gone_in(self, request: Request) -> FetchProblem | None:
        """Return why the service refuses an image of the request's slices as a whole; None where it refuses none."""
        if not self._gone:
            return None
        return next((self._gone[number] for number in request.block.numbers if number in self._gone), None)

    def _ends_job(self, problem: FetchProblem) -> bool:
        """Return whether nothing can succeed any more; of many images one may fail as a whole."""
        alone = not self._share.plan.axis
        return problem.action is Action.FAIL_JOB or (problem.action is Action.FAIL_ASSET and alone)


class _StoppableClock:
    """The clock of retries, whose sleep ends when the run drains."""

    def __init__(self, clock: Clock, stop: Stop) -> None:
        self._clock = clock
        self._stop = stop

    def now(self) -> float:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        await self._stop.cuts_short(lambda: self._clock.sleep(seconds))
