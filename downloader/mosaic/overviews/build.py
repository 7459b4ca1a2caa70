"""Build all levels of all groups of a mosaic: find the stale shards, make them, update what readers see."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.mosaic.overviews.build_shard import make_shard
from downloader.mosaic.overviews.coverage import level_chunks, level_coverage, with_stale
from downloader.mosaic.overviews.levels import Level, levels_of, policies_of
from downloader.mosaic.overviews.multiscales import show_levels, visible_levels
from downloader.mosaic.overviews.stale import recipe_of, stale_shards
from downloader.mosaic.record.identity_json import statement_of
from downloader.mosaic.record.ledger import LedgerEntry, LedgerWriter, Piece
from downloader.mosaic.record.scan import read_claims
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.store import Store, cores, put_changed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.record.identity import Identity
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.lock import Lock


Watch = Callable[[int, int], None]
"""Called with (shards made, shards to make); may raise to stop, which loses nothing that was made."""

_SAVE_S: Final = 20.0
"""Seconds after which lines are written while shards are made: what a kill costs."""


class OverviewBuilder:
    """Builds what is missing or stale of a mosaic's overviews, once."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        states: Mapping[str, GroupState],
        lock: Lock,
        policies: Mapping[str, str],
        watch: Watch,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            store: the mosaic's objects.
            identity: what the mosaic is.
            states: by group, what is stored.
            lock: held by the caller.
            policies: band id → how its levels are made, where that is not the band's own way.
            watch: told how far the work is.
        """
        self._store = store
        self._identity = identity
        self._states = states
        self._lock = lock
        self._watch = watch
        self._ledger = LedgerWriter(store, lock.epoch)
        self._lines: list[LedgerEntry] = []
        self._saved = time.monotonic()
        self._done = 0
        self.chains: Mapping[str, tuple[Level, ...]] = {
            layout.group.name: levels_of(layout, {**policies_of(layout), **policies})
            for layout in identity.layouts
        }
        """Group → its levels, the finest first."""

    def run(self) -> tuple[int, int]:
        """Build; return how many shards have something stored below them, and how many were made.

        Raises:
            StoppedError: the disk is full or does not work, or a tile below is damaged.
            LockedError: the mosaic was taken away from this process.
            OSError: the store cannot be read.
        """
        levels = {level.layout.group.name: level for chain in self.chains.values() for level in chain}
        layouts = [*self._identity.layouts, *(level.layout for level in levels.values())]
        claims, _ = read_claims(self._store, layouts)
        found = [
            (chain, *shards)
            for chain in self.chains.values()
            for shards in stale_shards(chain, claims, self._store)
        ]
        total = sum(int(stale.sum()) for _, _, stale, _, _ in found)
        covers = {
            name: cells
            for group, chain in self.chains.items()
            for name, cells in level_coverage(chain, self._states[group])
        }
        if total:
            visible = visible_levels(self._store)
            for _, level, stale, _, _ in found:
                if (name := level.layout.group.name) in visible:
                    self._write_coverage(level, with_stale(level, covers[name], stale))
            for chain, level, stale, _, there in found:
                self._make(level, stale, there, recipe_of(chain), total)
        self._lock.confirm()
        for name, level in levels.items():
            self._write_coverage(level, covers[name])
        attributes = statement_of(self._identity)[0]
        show = partial(show_levels, self._store, self.chains, attributes)
        trying(self._store, "the metadata of overviews", 1 << 20, show)
        return sum(int(used.sum()) for _, _, _, used, _ in found), total

    def _make(
        self, level: Level, stale: NDArray[np.bool_], there: NDArray[np.bool_], recipe: int, total: int
    ) -> None:
        group = level.layout.group.name
        waiting: deque[tuple[tuple[int, int, int], Future[dict[str, Piece]]]] = deque()

        def end() -> None:
            shard, future = waiting.popleft()
            self._lines.append(LedgerEntry(group, shard, future.result(), recipe=recipe))
            self._done += 1
            if time.monotonic() - self._saved >= _SAVE_S:
                self._save()
            self._watch(self._done, total)

        pool = ThreadPoolExecutor(max(cores(), self._store.writers // 2), thread_name_prefix="overviews")
        try:
            for layer, row, column in np.argwhere(stale).tolist():
                shard = (layer, row, column)
                self._lock.check()
                replaces = bool(there[shard])
                work = partial(make_shard, self._store, level, shard, self._states, replaces=replaces)
                waiting.append((shard, pool.submit(work)))
                if len(waiting) > 2 * cores():
                    end()
            while waiting:
                end()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._save()

    def _save(self) -> None:
        """Write the lines of the shards that were made."""
        lines, self._lines = self._lines, []
        if lines:
            self._lock.check()
            append = partial(self._ledger.append, *lines)
            trying(self._store, "the ledger's lines", 4096 * len(lines), append)
        self._saved = time.monotonic()

    def _write_coverage(self, level: Level, cells: NDArray[np.uint8]) -> None:
        """Write the chunks of a level's `coverage` that are missing or differ."""
        codec = level.layout.codec
        chunks = [(key, codec.encode(chunk)) for key, chunk in level_chunks(level.layout, cells)]
        trying(self._store, "coverage of overviews", cells.size, partial(put_changed, self._store, chunks))
