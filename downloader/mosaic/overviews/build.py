"""One making of all levels of all groups of a mosaic: what is to do, doing it, telling readers."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.mosaic.format.coordinates import coordinate_chunks, write_axis
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.overviews.build_shard import make_shard
from downloader.mosaic.overviews.coverage import level_chunks, level_coverage, with_stale
from downloader.mosaic.overviews.levels import Level, levels_of, policies_of
from downloader.mosaic.overviews.multiscales import show, visible_levels
from downloader.mosaic.overviews.stale import Record, combined, versions
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.store import Store, cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.record.identity import Identity
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.lock import Lock

__all__ = ["Making", "Watch"]

Watch = Callable[[int, int], None]
"""Called with (shards made, shards to make); may raise to stop, which loses nothing that was made."""

_SAVE_S: Final = 20.0
"""Seconds after which the record is written while shards are made: what a kill costs."""

_MADE: Final = 2
"""Version of how pixels are made; another one makes all of them anew."""


class Making:
    """One making of all levels of all groups."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        states: Mapping[str, GroupState],
        lock: Lock,
        record: Record,
        asked: dict[str, str],
        watch: Watch,
    ) -> None:
        self._store = store
        self._identity = identity
        self._states = states
        self._lock = lock
        self._watch = watch
        self._asked = asked
        self._chains = {
            layout.group.name: levels_of(layout, policies_of(layout) | asked) for layout in identity.layouts
        }
        self._record = record
        self._there: dict[str, NDArray[np.uint32]] = {}
        self._saved = time.monotonic()
        self._done = 0

    @property
    def chains(self) -> Mapping[str, tuple[Level, ...]]:
        """Group → its levels, the finest first."""
        return self._chains

    def run(self) -> tuple[int, int]:
        """Make what is missing or out of date; (shards that hold something, shards made)."""
        wanted = self._wanted()
        levels = {level.layout.group.name: level for chain in self._chains.values() for level in chain}
        todo = {name: self._stale(level, wanted[name]) for name, level in levels.items()}
        total = sum(int(stale.sum()) for stale in todo.values())
        shown = visible_levels(self._store)
        covers = {
            name: cells
            for group, chain in self._chains.items()
            for name, cells in level_coverage(chain, self._states[group])
        }
        told = _number(covers)
        if total:
            self._record.told = 0
            self._save()
            for name in shown & levels.keys():
                self._write_coverage(levels[name], with_stale(levels[name], covers[name], todo[name]))
            for name, level in levels.items():
                self._make(level, wanted[name], todo[name], total)
        if self._record.told != told or shown != levels.keys() or self._record.policies != self._asked:
            self._show(levels, covers)
            self._record.told, self._record.policies = told, self._asked
            self._save()
        return sum(int(np.count_nonzero(numbers)) for numbers in wanted.values()), total

    # What there is to do.

    def _wanted(self) -> dict[str, NDArray[np.uint64]]:
        """Level → the numbers that its shards are to be made under."""
        salts = {name: self._salt(chain) for name, chain in self._chains.items()}
        base = versions(self._store, self._identity.layouts, salts)
        wanted = {}
        for name, chain in self._chains.items():
            numbers = base[name]
            for level in chain:
                numbers = wanted[level.layout.group.name] = combined(numbers)
        return wanted

    def _salt(self, chain: tuple[Level, ...]) -> int:
        """A number for how the pixels of a group's levels are made."""
        facts: list[object] = [_MADE]
        for level in chain[:1]:
            facts += [
                (band.id, band.pyramiding, band.dtype.str, repr(nodata), band.mask_of)
                for band, nodata in zip(level.layout.group.bands, level.layout.nodata, strict=True)
            ]
        return zlib.crc32(repr(facts).encode()) or 1

    def _stale(self, level: Level, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which shards of a level are not there as they should be."""
        name = level.layout.group.name
        kept = self._record.level(name, numbers.shape)
        there = self._there[name] = _objects(self._store, level.layout)
        return np.asarray((kept.numbers != numbers) | (kept.objects != there))

    # Making.

    def _make(self, level: Level, wanted: NDArray[np.uint64], todo: NDArray[np.bool_], total: int) -> None:
        kept = self._record.levels[level.layout.group.name]
        waiting: deque[tuple[tuple[int, int, int], Future[int]]] = deque()

        def end() -> None:
            place, future = waiting.popleft()
            kept.objects[place] = future.result()
            kept.numbers[place] = wanted[place]
            self._done += 1
            if time.monotonic() - self._saved >= _SAVE_S:
                self._save()
            self._watch(self._done, total)

        pool = ThreadPoolExecutor(max(cores(), self._store.writers // 2), thread_name_prefix="overviews")
        try:
            for layer, row, column in np.argwhere(todo).tolist():
                place = (layer, row, column)
                self._lock.check()
                replaces = bool(self._there[level.layout.group.name][place])
                work = partial(make_shard, self._store, level, place, self._states, replaces=replaces)
                waiting.append((place, pool.submit(work)))
                if len(waiting) > 2 * cores():
                    end()
            while waiting:
                end()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            self._save()
            raise
        pool.shutdown()

    # Telling readers.

    def _write_coverage(self, level: Level, cells: NDArray[np.uint8]) -> None:
        def write() -> None:
            written = []
            for key, chunk in level_chunks(level.layout, cells):
                self._store.put(key, [level.layout.codec.encode(chunk)])
                written.append(key)
            self._store.flush(written)

        trying(self._store, "coverage of overviews", cells.size, write)

    def _show(self, levels: Mapping[str, Level], covers: Mapping[str, NDArray[np.uint8]]) -> None:
        self._lock.confirm()
        for name, level in levels.items():
            self._write_coverage(level, covers[name])

        def write() -> None:
            written = []
            for level in levels.values():
                for key, values in coordinate_chunks(level.layout):
                    self._store.put(key, [level.layout.codec.encode(values)])
                    written.append(key)
            self._store.flush(written)
            write_axis(self._store, tuple(level.layout for level in levels.values()))
            show(self._store, self._chains, self._identity.root_attributes())

        trying(self._store, "the metadata of overviews", 1 << 20, write)

    def _save(self) -> None:
        trying(self._store, "the record of overviews", 1 << 20, partial(self._record.write, self._store))
        self._saved = time.monotonic()


def _number(covers: Mapping[str, NDArray[np.uint8]]) -> int:
    """A number for what the levels tell of themselves."""
    number = 1
    for name, cells in sorted(covers.items()):
        number = zlib.crc32(cells.tobytes(), zlib.crc32(f"{name} {cells.shape}".encode(), number))
    return number or 1


def _objects(store: Store, layout: GroupLayout) -> NDArray[np.uint32]:
    """(layer, row, column) of a level's shards: how many objects each has."""
    t = layout.group.tiling
    counts = np.zeros((t.shard_layers, t.shard_rows, t.shard_columns), np.uint32)
    for band in range(len(layout.arrays)):
        folder = layout.folder(band)
        for key, size in store.list(folder):
            parts = key[len(folder) + 1 :].split("/")
            if (
                not size
                or not all(part.isdecimal() for part in parts)
                or len(parts) != 2 + len(layout.leading)
            ):
                continue
            place = tuple(map(int, parts)) if layout.leading else (0, int(parts[0]), int(parts[1]))
            if layout.profile == "plain":
                place = (place[0] // t.shard_slices, place[1] // t.shard, place[2] // t.shard)
            if all(index < length for index, length in zip(place, counts.shape, strict=True)):
                counts[place] += 1
    return counts
