"""Fetch what readers of one mosaic wait for, and hold the mosaic's lock no longer than that takes.

A session is a run of the engine whose tiles are handed out as readers come to them. It ends, and gives the lock back, after
two seconds in which nothing was missing. Where another process holds the lock, its ledger is read until the tiles are there.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from downloader.engine.connect import Connection, connect
from downloader.engine.context import RunOptions
from downloader.engine.memory import current_memory, pixel_memory
from downloader.engine.prepare import existing_mosaic, prepare
from downloader.engine.resources import Spending
from downloader.engine.run import fetch_missing, opened
from downloader.engine.stop import Stop
from downloader.engine.verify import kept_job
from downloader.errors import DownloadError, IncompleteError, LockedError, StoppedError
from downloader.job import Job
from downloader.job.environment import with_environment
from downloader.lazy.kept import Kept
from downloader.lazy.loop import BackgroundLoop, background
from downloader.lazy.waits import Tiles, Wait, Waits
from downloader.lazy.wanted import Wanted
from downloader.mosaic.record.scan import scan
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.status import means, read_mosaic
from downloader.mosaic.storage.cloud import forget_memory
from downloader.mosaic.storage.location import MosaicPath, errors_of, locate
from downloader.planning import Plan, ShardKey, TileKey
from downloader.planning.tiling import bits
from downloader.progress.late import late

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from downloader.events import Event
    from downloader.mosaic.writer import ZarrMosaic

_Result = TypeVar("_Result")

_IDLE_S: Final = 2.0
"""Seconds without a missing tile after which the lock is given back."""

_CONNECTED_S: Final = 60.0
"""Seconds after that for which the connection and the plan are kept."""

_LOOK_S: Final = 0.25
"""Seconds between two looks at a mosaic that another process writes; four times as long as a look takes, if that is more."""

_BEFORE_S: Final = 1.0
"""Seconds that another process writes before its mosaic is read."""

_SHOWN_S: Final = 0.25
"""Seconds between two looks at how far it is."""

_TURN_S: Final = 5.0
"""Seconds after which the lock is given to another process that waits for it, whatever is still missing."""


class Filler:
    """One mosaic that this process reads lazily: what is known of it, and the task that fetches for its readers."""

    def __init__(
        self,
        path: str,
        job: Job | None = None,
        credentials: Credentials | None = None,
        bound: int | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: the mosaic.
            job: its job; None for the one that it keeps, read once something is missing.
            credentials: a google-auth object in place of the job's `auth`.
            bound: bytes of pixels that are kept, those read last; None for all.
        """
        self.path = path
        self._job = job
        self.process = os.getpid()
        """The process in which it works; a forked child needs another one."""
        self._credentials = credentials
        self._kept = None if bound is None else Kept(bound)
        self._loop: BackgroundLoop = background()
        self._loop.works.add(self)
        self._states: dict[str, GroupState] | None = None
        self._mosaic: ZarrMosaic | None = None
        self._stop: Stop | None = None
        self._waits = Waits(self._lacks)
        self._wanted = Wanted(self._count_bands, self._tried)
        self._is_serving = False
        self._look_s = 0.0
        """Seconds that the last look took."""
        self._turn_ends = 0.0
        """When the lock goes to another process that waits for it."""
        self._others_s = 0.0
        """Seconds for which it then has it; 0 where it is not given away."""
        self._spending = Spending()
        """What all sessions used, which `limits` counts together."""
        self._locked: LockedError | None = None
        """What is said of another process that has the lock, and lives."""
        self._failed: dict[ShardKey, int] = {}
        """Tiles that failed since this process reads."""

    def is_of(self, job: Job | None, credentials: Credentials | None) -> bool:
        """Return whether it fetches for this job, and with these credentials; None stands for any."""
        same_job = job is None or self._job is job or self._job == job
        return same_job and (credentials is None or self._credentials is credentials)

    # For readers, in their own threads.

    @contextlib.contextmanager
    def hold(
        self,
        asked: Tiles,
        ahead: Sequence[Tiles],
        *,
        again: bool,
        wait_s: float,
        progress: bool,
    ) -> Iterator[Tiles]:
        """Keep tiles stored during the block; yields those that could not be had.

        Args:
            asked: the tiles.
            ahead: tiles that are likely to be asked for next: fetched as well, and not waited for.
            again: whether tiles that failed before are tried again.
            wait_s: seconds to wait for another process that writes the mosaic.
            progress: whether a terminal or a notebook shows that a second was not enough.

        Raises:
            LockedError: another process writes the mosaic, and did not bring the tiles.
            DownloadError: nothing can be fetched, as `download` has it.
        """
        with contextlib.nullcontext() if self._kept is None else self._kept.held(tuple(asked)):
            lacking = (self._lacks(key, tiles) for part in (asked, *ahead) for key, tiles in part.items())
            if self._states is None or any(lacking):
                work = self._fetch(asked, ahead, again=again, wait_s=wait_s)
                yield self._wait_for(work, "fetching tiles", asked, progress=progress)
            else:
                yield {}

    def make(self, wait_s: float, *, progress: bool) -> None:
        """Create the mosaic, or extend it to what the job means. Arguments are those of `hold`.

        Raises:
            DownloadError: as a run, before its first tile.
        """
        self._wait_for(self._make(wait_s), "asking for the images", {}, progress=progress)

    def describe(self, failed: Tiles) -> str:
        """Return the first of the tiles that failed, and why, as a readable line."""
        for key, tiles in failed.items():
            state = (self._states or {})[key.group]
            for cause in state.failed.get(state.index(key), ()):
                for slot in bits(cause.tiles & tiles):
                    tile = TileKey(
                        key.group, *state.group.tiling.tile_at((key.slice, key.row, key.column), slot)
                    )
                    return f"{tile} could not be fetched ({cause.cause}): {cause.message}"
        return f"{len(failed)} shards could not be fetched"

    def _wait_for(
        self, work: Coroutine[Any, Any, _Result], text: str, asked: Tiles, *, progress: bool
    ) -> _Result:
        """Return the result of work on the loop; what takes more than a moment is shown."""
        future = self._loop.submit(work)
        total = sum(tiles.bit_count() for tiles in asked.values())

        def counted() -> tuple[int, int]:
            lacks = (self._lacks(key, tiles).bit_count() for key, tiles in asked.items())
            return (0 if self._states is None else total - sum(lacks)), total

        try:
            with late(text, wanted=progress) as tell:
                while not concurrent.futures.wait([future], _SHOWN_S).done:
                    tell(*counted())
            return future.result()
        except concurrent.futures.CancelledError:
            raise self._at_the_end() from None
        except BaseException:
            # An interrupt of the thread that waits: what nobody else wants is not asked for.
            future.cancel()
            raise

    def _lacks(self, key: ShardKey, tiles: int) -> int:
        """Return those of a shard's tiles that are wanted and not stored."""
        lacks = 0
        if self._states is not None:
            for mask in self._states[key.group].missing(key).values():
                lacks |= mask
        return tiles & lacks

    # On the loop.

    async def end(self) -> None:
        """See `Ending`."""
        if self._stop is not None:
            self._stop.ask("the process ends")
        while self._is_serving:
            self._wanted.notify()
            await anyio.sleep(0.02)

    def _at_the_end(self) -> DownloadError:
        return StoppedError(f"{self.path}: the process ends; what was fetched is saved")

    async def _fetch(self, asked: Tiles, ahead: Sequence[Tiles], *, again: bool, wait_s: float) -> Tiles:
        if self._states is None:
            await self._look()
        if again:
            for key in asked:
                self._failed.pop(key, None)
        failed = {key: lost for key, tiles in asked.items() if (lost := tiles & self._failed.get(key, 0))}
        left = {
            key: lacks
            for key, tiles in asked.items()
            if (lacks := self._lacks(key, tiles & ~failed.get(key, 0)))
        }
        for part in (left, *ahead):  # what is waited for comes first
            for key, tiles in part.items():
                self._want(key, tiles & ~self._failed.get(key, 0))
        wait = Wait(left, wait_s, failed)
        if wait.left:
            await self._join(wait)
        elif self._wanted.pending:
            self._serve()
        return wait.failed

    async def _make(self, wait_s: float) -> None:
        await self._join(Wait({}, wait_s, is_for_mosaic=True))

    async def _join(self, wait: Wait) -> None:
        asked = tuple(wait.left)
        self._serve()
        try:
            await self._waits.until_ended(wait)
        finally:
            for key in asked:
                self._wanted.keep(key, self._waits.awaited(key))

    def _want(self, key: ShardKey, tiles: int) -> None:
        if tiles := self._lacks(key, tiles):
            self._wanted.add(key, tiles)

    def _is_asked(self) -> bool:
        return bool(self._waits or self._wanted.pending) or self._loop.is_ending

    def _serve(self) -> None:
        """Start the task that fetches, where it is not under way."""
        if not self._is_serving:
            self._is_serving = True
            self._loop.spawn(self._work())
        self._wanted.notify()

    async def _work(self) -> None:
        problem: Exception | None = None
        try:
            while self._is_asked() and not self._loop.is_ending:
                await self._sessions()
        except Exception as error:  # noqa: BLE001  # handed to the readers that wait
            problem = error
        finally:
            self._is_serving = False
            self._wanted.pending.clear()
            self._waits.end_all(problem or self._at_the_end())

    async def _sessions(self) -> None:
        """Connect, plan, and hold sessions until no reader came for a while."""
        if self._states is not None:
            await self._look()  # another process may have brought everything meanwhile
            if not self._waits:
                self._wanted.pending.clear()
                return
        job = self._job
        if job is None:
            job = with_environment(await anyio.to_thread.run_sync(partial(kept_job, self.path)))
        before = current_memory()
        async with connect(job, self._credentials, self._loop.budget) as connection:
            plan, _ = await prepare(job, connection, await existing_mosaic(job))
            memory = pixel_memory(job.limits.memory, plan, before)
            while not self._loop.is_ending:
                if not await self._session(job, plan, connection, memory):
                    if self._waits:
                        await self._look_again()
                    else:
                        self._wanted.pending.clear()
                if not await self._wanted.until(self._is_asked, _CONNECTED_S):
                    return

    async def _session(self, job: Job, plan: Plan, connection: Connection, memory: int) -> bool:
        """Fetch what is wanted until nothing was for a while; return False where another process has the lock, or gets it."""
        stop = self._stop = Stop()
        options = RunOptions(
            credentials=self._credentials,
            only=self._wanted.chosen,
            feed=self._wanted,
            budget=self._loop.budget,
            spending=self._spending,
        )
        self._wanted.begin(_IDLE_S if self._wanted.pending else 0.0)
        error: DownloadError | None = None
        is_waiting = True
        with anyio.CancelScope() as waiting:
            if self._waits and locate(self.path).has_lease:
                self._loop.spawn(self._look_meanwhile(waiting, lambda: is_waiting))
            try:
                async with opened(job, plan, connection, _unheard, stop, options, memory) as context:
                    is_waiting, self._locked = False, None
                    self._mosaic, self._states = context.mosaic, context.mosaic.found.states
                    self._turn_ends = anyio.current_time() + _TURN_S
                    self._settle()
                    _, error = await fetch_missing(context)
            except LockedError as locked:
                error = locked
            finally:
                is_waiting = False
                self._mosaic, self._stop = None, None
                self._wanted.end()
        if waiting.cancelled_caught:
            self._locked = None
            return False
        if isinstance(error, LockedError):
            self._locked = error
            self._waits.lose_patience(error)
            return False
        if error is not None and not isinstance(error, IncompleteError):
            raise error
        if stop.drain.is_set():
            raise stop.error("what was fetched is saved")
        if self._others_s:
            await anyio.sleep(self._others_s)
            self._others_s = 0.0
            return False
        for wait in self._waits:
            if wait.is_for_mosaic:
                wait.end()
            elif not any(self._wanted.pending.get(key) for key in wait.left):
                wait.end(StoppedError(f"{self.path}: tiles were not fetched; read them again"))
        return True

    async def _look_meanwhile(self, waiting: anyio.CancelScope, goes_on: Callable[[], bool]) -> None:
        """Look at what the holder of a lease writes while this process waits for it, as long as readers wait for tiles."""
        await anyio.sleep(_BEFORE_S)
        with contextlib.suppress(DownloadError):  # opening meets it as well
            while goes_on():
                await self._look_again()
                if self._locked is not None:
                    self._waits.lose_patience(self._locked)
                if goes_on() and all(wait.ended.is_set() for wait in self._waits):
                    waiting.cancel()
                    return

    async def _look_again(self) -> None:
        """Wait for a moment, and look."""
        await anyio.sleep(max(_LOOK_S, 4 * self._look_s))
        before = anyio.current_time()
        await self._look()
        self._look_s = anyio.current_time() - before

    async def _look(self) -> None:
        """Read what is stored, as another process may have written it."""
        waits = tuple(self._waits)

        def read() -> dict[str, GroupState] | None:
            if (
                self._job is not None
                and any(wait.is_for_mosaic for wait in waits)
                and not means(self.path, self._job)
            ):
                return None
            place = locate(self.path)
            with errors_of(place):
                return scan(place.store(), read_mosaic(self.path).layouts).states

        states = await anyio.to_thread.run_sync(read)
        if states is not None and self._mosaic is None:
            self._states = states
            for wait in waits:
                if wait.is_for_mosaic:
                    wait.end()
            self._settle()

    def _settle(self) -> None:
        """Let readers go on whose tiles are stored."""
        self._waits.look()
        for key, tiles in tuple(self._wanted.pending.items()):
            self._wanted.keep(key, self._lacks(key, tiles))

    def _tried(self, key: ShardKey, tiles: int) -> None:
        """Note that the requests for tiles of a shard have ended, and what they brought is committed."""
        if self._states is None:
            return
        state = self._states[key.group]
        failed = tiles & state.failed_mask(state.index(key))
        if failed:
            self._failed[key] = self._failed.get(key, 0) | failed
        self._waits.look(key, failed)
        if self._kept is not None and self._mosaic is not None:
            tiling = state.group.tiling
            nbytes = tiling.tile**2 * state.group.itemsize * state.complete(state.index(key)).bit_count()
            self._kept.add(key, nbytes, self._wanted.chosen, self._mosaic.drop)
        if (
            anyio.current_time() > self._turn_ends
            and self._mosaic is not None
            and self._mosaic.lock.is_wanted()
        ):
            self._others_s = self._mosaic.lock.others_s
            self._wanted.close()

    def _count_bands(self, group: str) -> int:
        return len((self._states or {})[group].group.bands)


def _unheard(_event: Event) -> None:
    """Ignore an event of a session: readers are told what concerns them."""


_FILLERS: weakref.WeakValueDictionary[str, Filler] = weakref.WeakValueDictionary()
_FINDING = threading.Lock()


def filler_of(
    path: MosaicPath, job: Job | None = None, credentials: Credentials | None = None, bound: int | None = None
) -> Filler:
    """Return the one filler of a mosaic in this process.

    Args:
        path: the mosaic.
        job: its job; None for the one that it keeps. A filler of another job is left to those who have it.
        credentials: as `Filler` takes them.
        bound: as `Filler` takes it.
    """
    location = locate(path)
    name = location.name if location.has_lease else os.path.realpath(location.name)
    with _FINDING:
        found = _FILLERS.get(name)
        if found is None or found.process != os.getpid() or not found.is_of(job, credentials):
            found = _FILLERS[name] = Filler(name, job, credentials, bound)
            if bound is not None:
                weakref.finalize(found, forget_memory, name)
        return found


def _forget() -> None:
    """Begin anew in a forked child, in which the loop of these fillers is gone."""
    global _FINDING  # noqa: PLW0603
    _FINDING = threading.Lock()
    _FILLERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
