"""A mosaic opened for writing: shards, ledger and `coverage`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import anyio.to_thread

from downloader.errors import StoppedError
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.record.coverage import write_coverage
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_to_bytes
from downloader.mosaic.record.ledger import LedgerEntry, LedgerWriter, Piece
from downloader.mosaic.record.ownership import write_hierarchy
from downloader.mosaic.record.paths import MARKER
from downloader.mosaic.record.scan import Scan, scan
from downloader.mosaic.record.state import Counts, FailedTiles, TileFailure
from downloader.mosaic.shard_writer import ShardWriter
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.lock import Lock
from downloader.mosaic.storage.store import Store, put_all
from downloader.mosaic.updates import accepted
from downloader.planning import ShardKey


class ZarrMosaic(ShardWriter):
    """A mosaic opened for writing, made by `open_for_writing`; implements `Mosaic`."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        found: Scan,
        ledger: LedgerWriter,
        lock: Lock,
        notices: tuple[str, ...] = (),
    ) -> None:
        super().__init__(store, identity.layouts, found.states, ledger, lock)
        self._own_ledger = ledger
        self.identity = identity
        """Identity of the mosaic."""
        self.found = found
        """Result of the scan at the start."""
        self.notices = notices
        """Lines about what the start found, for the user."""
        self.lock = lock
        """The right to write it."""

    # What a run asks.

    @property
    def layouts(self) -> tuple[GroupLayout, ...]:
        """Layouts of its groups."""
        return self.identity.layouts

    def counts(self) -> dict[str, Counts]:
        """Return the number of tiles by state of each group; kept up to date, so that asking is free."""
        return {name: state.counts() for name, state in self._states.items()}

    def count_stored(self) -> int:
        """Return how many tiles are stored, over all groups; free."""
        return sum(state.counts().stored for state in self._states.values())

    def failures(self) -> Iterator[TileFailure]:
        """Yield (tile, bands, cause, message) of every tile that failed."""
        for state in self._states.values():
            yield from state.failures()

    def partial(self) -> list[ShardKey]:
        """Return the shards of which something is stored and something is not, whatever failed in them."""
        return [key for state in self._states.values() for key in state.partial()]

    def failed(self) -> list[ShardKey]:
        """Return the shards in which tiles failed."""
        return [key for state in self._states.values() for key in state.failed_shards()]

    def known(self, key: ShardKey) -> tuple[list[int], tuple[FailedTiles, ...]]:
        """Return the bits of the tiles stored in a shard, band by band, and what failed in it."""
        state = self._states[key.group]
        index = state.index(key)
        return state.stored(index), state.failed.get(index, ())

    def blank_notices(self) -> Iterator[str]:
        """Yield a line for each group in which tiles hold nothing but nodata or zero."""
        for name, bands in self.blank.items():
            tiles = bands // len(self._layouts[name].group.bands)
            if tiles:
                where = f" of group {name}" if name else ""
                yield (
                    f"{tiles:,} tiles{where} came back all nodata or zero, and are stored so: outside of what the image"
                    " covers that is right, elsewhere look at the image"
                )

    def disk_bytes(self) -> int:
        """Return the length of all objects of the mosaic, metadata and ledger included."""
        return sum(nbytes for _, nbytes in self.store.list(""))

    # What a run does.

    async def record(self, entries: Iterable[LedgerEntry]) -> None:
        """Write the lines of shards that workers of this run committed, whose objects are durable.

        Raises:
            StoppedError: the disk is full or does not work.
            LockedError: the mosaic was taken away from this run; nothing is noted.
        """
        await anyio.to_thread.run_sync(self._record, tuple(entries), limiter=self._writers)

    async def finish(self) -> None:
        """Write `coverage` as the ledger has it now.

        What this run wrote is listed first: objects that another process deleted or cut meanwhile count as missing.

        Raises:
            StoppedError: the disk is full or does not work, or something was deleted or cut.
            LockedError: the mosaic was taken away from this run; nothing is written.
        """
        await anyio.to_thread.run_sync(self._finish)

    async def accept_updates(self, times: Mapping[str, str]) -> None:
        """Record new `updateTime`s of images whose stored pixels are kept.

        Args:
            times: full name of each image that changed → its `updateTime` now.

        Raises:
            StoppedError: the disk is full or does not work.
        """
        await anyio.to_thread.run_sync(self._restate, accepted(self.identity, times))

    def drop(self, key: ShardKey) -> None:
        """Delete the pixels of a shard without open requests; they count as missing.

        Raises:
            StoppedError: the store does not work.
        """
        layout, state = self._layouts[key.group], self._states[key.group]
        index, place = state.index(key), (key.slice, key.row, key.column)
        stored = {name: had for name, had in zip(state.bands, state.stored(index), strict=True) if had}
        pieces = {name: Piece.without(had, layout.profile) for name, had in stored.items()}
        line = LedgerEntry(key.group, place, pieces)
        with self._guard:
            state.update(*line.applied(state))

        def delete() -> None:
            self._append(line)
            self.store.delete(
                one for name, had in stored.items() for one in layout.objects(state.bands[name], place, had)
            )

        trying(self.store, str(key), 4096, delete)

    def close(self) -> None:
        """Release the lock. Commits nothing."""
        self.lock.release()

    # In worker threads.

    def _record(self, entries: tuple[LedgerEntry, ...]) -> None:
        self._lock.check()

        def append() -> None:
            self._append(*entries)

        trying(self.store, "the ledger's lines", 4096 * len(entries), append)
        with self._guard:
            self.touched.update(entry.group for entry in entries)
            for entry in entries:
                state = self._states[entry.group]
                state.update(*entry.applied(state))

    def _finish(self) -> None:
        # Not by the clock alone: a run that was paused must not tell readers what is stored.
        self.lock.confirm()
        lost = trying(self.store, "what the last look at the shards found", 1 << 20, self._find_lost)
        for name, layout in self._layouts.items():
            state = self._states[name]
            needed = state.group.tiling.tiles
            trying(self.store, "coverage", needed, partial(write_coverage, self.store, layout, state))
        if self.identity.refetching and all(c.stored == c.tiles for c in self.counts().values()):
            self._restate(replace(self.identity, refetching=False))
        if lost:
            raise StoppedError(
                f"{self.store.name}: {lost:,} tiles (band by band) were deleted or cut by another process while this run"
                " worked; they count as missing: run the job again to fetch them"
            )

    def _find_lost(self) -> int:
        """Compare the objects of the groups written to with the ledger; return how many tiles are gone since."""
        if not self.touched:
            return 0
        layouts = [self._layouts[name] for name in self.touched]
        found = scan(self.store, layouts, self._own_ledger, adopt=not self.identity.refetching)
        if found.lost:
            self._states.update(found.states)
        return found.lost

    def _restate(self, identity: Identity) -> None:
        """Write the identity: the marker, then the Zarr attributes."""

        def write() -> None:
            put_all(self.store, [(MARKER, identity_to_bytes(identity))])
            write_hierarchy(self.store, identity)

        self.lock.confirm()
        trying(self.store, "the mosaic's metadata", 1 << 20, write)
        self.identity = identity
