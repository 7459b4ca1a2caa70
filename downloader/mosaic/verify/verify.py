"""Verify a mosaic: read every object, compare every header and checksum, decode every chunk once.

No lock is taken and nothing is written, so a run may be under way. The ledger is read first, and what it named then is
checked; a run only ever adds to that. Memory: one object for each thread.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from downloader.mosaic.format.codec import crc32c
from downloader.mosaic.format.coverage import Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.shard import DamagedShardError, read_shard
from downloader.mosaic.record.coverage import coverage_chunks
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.ownership import has_marker, read_identity
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.record.scan import LedgerClaims, read_claims
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.location import MosaicPath, locate, no_mosaic
from downloader.mosaic.storage.store import Store
from downloader.mosaic.verify.metadata import lost_metadata
from downloader.mosaic.verify.result import Damage, Lost, Verification
from downloader.planning import ShardKey
from downloader.planning.tiling import bits

Watch = Callable[[int, int], None]
"""Called with (objects read, objects in all)."""

_THREADS: Final = min(8, (os.cpu_count() or 1) + 2)

_RUN: Final = 1 << 16
"""Shards looked at together, so that a mosaic of 10⁹ tiles needs no second array of its size."""


@dataclass(slots=True)
class Examination:
    """A verification, and what a repair needs in addition."""

    identity: Identity
    verification: Verification
    states: dict[str, GroupState]
    """By group: what is whole according to the objects; failures according to the ledger."""


def verify(path: MosaicPath, *, watch: Watch | None = None) -> Verification:
    """Return what is damaged, lost, missing or wrong in the mosaic at `path`.

    Raises:
        RefusedError: there is no mosaic of this downloader, or another version of the format made it or its ledger.
    """
    return examine(path, watch=watch).verification


def examine(path: MosaicPath, *, watch: Watch | None = None, exclusive: bool = False) -> Examination:
    """Like `verify`, with what a repair needs; `exclusive` where the caller holds the lock.

    Raises:
        RefusedError: as `verify` does.
        OSError: the store cannot be listed.
    """
    location = locate(path)
    identity = read_identity(path)
    if identity is None:
        raise no_mosaic(path)
    store = location.store()
    before = None if not exclusive and location.seems_held() else _ledger_files(store)
    claims, unreadable = read_claims(store, identity.layouts, checksums=True)
    reading = _ObjectCheck(store, adopt=not identity.refetching)
    for claim in claims.values():
        reading.take(claim)
    damaged = tuple(reading.run(watch))
    for state in reading.states.values():
        state.recount()
    lost = tuple(lost_metadata(store, identity, has_marker=has_marker(path)))
    coverage: dict[str, int] = {}
    for layout in identity.layouts:
        cells, unusable = _coverage(store, layout, reading.states[layout.group.name])
        coverage |= {layout.group.name: cells} if cells else {}
        lost += tuple(unusable)
    is_being_written = before is None or _ledger_files(store) != before
    if is_being_written:
        # Coordinates and coverage are what a run writes late.
        lost = tuple(one for one in lost if "/c/" not in one.key)
    verification = Verification(
        path=location.name,
        service=identity.service,
        groups={name: state.counts() for name, state in reading.states.items()},
        damaged=damaged,
        lost=lost,
        failures=tuple(failure for state in reading.states.values() for failure in state.failures()),
        coverage={} if is_being_written else coverage,
        objects=reading.objects,
        nbytes=reading.nbytes,
        unledgered=reading.unledgered,
        unreadable=unreadable,
        is_being_written=is_being_written,
    )
    return Examination(identity, verification, reading.states)


def _ledger_files(store: Store) -> list[tuple[str, int]]:
    return sorted(store.list(LEDGER))


def _coverage(store: Store, layout: GroupLayout, state: GroupState) -> tuple[int, list[Lost]]:
    """Return the number of cells that differ from `state`, and the chunks that cannot be read."""
    wrong, unusable = 0, []
    for place, block in coverage_chunks(layout.group, state):
        key, cells = layout.coverage_object(place, block)
        try:
            found = layout.codec.decode(store.get(key), cells.dtype, cells.shape)
        except FileNotFoundError:
            wrong += int((cells != Coverage.MISSING).sum())  # which is what a reader sees there
        except ValueError as error:
            unusable.append(Lost(key, str(error)))
        else:
            wrong += int((found != cells).sum())
    return wrong, unusable


@dataclass(slots=True)
class _Piece:
    """One band of one shard, to be checked by a thread."""

    claim: LedgerClaims
    index: int
    band: int
    claimed: int
    """Bits that the ledger says are stored."""
    good: int = 0
    """Bits that are whole."""
    unledgered: int = 0
    objects: int = 0
    nbytes: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def layout(self) -> GroupLayout:
        return self.claim.layout

    @property
    def shard(self) -> tuple[int, int, int]:
        return self.layout.group.tiling.shard_at(self.index)

    def damage(self, key: str, tiles: int, reason: str) -> None:
        group = self.layout.group
        shard = ShardKey(group.name, *self.shard)
        self.damages.append(Damage.of(key, shard, group.bands[self.band].id, tiles, group.tiling, reason))


class _ObjectCheck:
    """Check of all objects of all groups, by a few threads."""

    def __init__(self, store: Store, *, adopt: bool) -> None:
        self._store = store
        self._adopt = adopt
        self._claims: list[tuple[LedgerClaims, np.ndarray[tuple[int, ...], np.dtype[np.uint32]]]] = []
        self.states: dict[str, GroupState] = {}
        self.objects = self.nbytes = self.unledgered = 0

    def take(self, claim: LedgerClaims) -> None:
        """Add a group; its objects are listed now."""
        self._claims.append((claim, claim.listed(self._store)))
        state = GroupState(claim.layout.group)
        state.failed = claim.state.failed
        self.states[claim.layout.group.name] = state

    def run(self, watch: Watch | None) -> Iterator[Damage]:
        total = sum(int(np.count_nonzero(sizes)) for _, sizes in self._claims)
        waiting: deque[Future[_Piece]] = deque()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as pool:
            for piece, present in self._pieces():
                waiting.append(pool.submit(self._check, piece, present))
                if len(waiting) > 2 * _THREADS:
                    yield from self._end(waiting.popleft().result(), watch, total)
            while waiting:
                yield from self._end(waiting.popleft().result(), watch, total)

    def _end(self, piece: _Piece, watch: Watch | None, total: int) -> Iterator[Damage]:
        self.states[piece.layout.group.name].set_mask(piece.index, piece.band, piece.good)
        self.objects += piece.objects
        self.nbytes += piece.nbytes
        self.unledgered += piece.unledgered
        if watch is not None:
            watch(self.objects, total)
        yield from piece.damages

    def _pieces(self) -> Iterator[tuple[_Piece, int]]:
        """Yield each band of each shard of which something is claimed or exists, and the bits of its tiles' objects."""
        for claim, sizes in self._claims:
            plain = claim.layout.profile == "plain"
            for begin in range(0, len(sizes), _RUN):
                known, there = claim.lengths[begin : begin + _RUN], sizes[begin : begin + _RUN]
                touched = (known | there) != 0
                for row, band in np.argwhere(touched.any(axis=-1) if plain else touched).tolist():
                    index = begin + row
                    claimed = claim.state.stored(index)[band]
                    if plain:
                        yield _Piece(claim, index, band, claimed), _mask(there[row, band] != 0)
                    # What the ledger knows and says nothing is stored in is an object that waits to be replaced.
                    elif claimed or known[row, band] != there[row, band]:
                        yield _Piece(claim, index, band, claimed), int(there[row, band] != 0)

    def _check(self, piece: _Piece, present: int) -> _Piece:
        if piece.layout.profile == "plain":
            self._check_tiles(piece, present)
        else:
            self._check_shard(piece)
        return piece

    def _check_shard(self, piece: _Piece) -> None:
        layout, tiling = piece.layout, piece.layout.group.tiling
        key = layout.shard_object(piece.band, *piece.shard)
        try:
            data = np.frombuffer(self._store.get(key), np.uint8)
        except OSError as error:
            piece.damage(key, piece.claimed, _unreadable(error))
            return
        piece.objects, piece.nbytes = 1, data.size
        try:
            index, stored = read_shard(data, data, data.size, layout.header(piece.band, piece.shard))
        except DamagedShardError as error:
            piece.damage(key, piece.claimed, str(error) if data.size else "the object is empty")
            return
        found = stored & tiling.full_mask(*piece.shard)
        if not self._adopt:
            found &= piece.claimed
        if piece.claimed & ~found:
            piece.damage(key, piece.claimed & ~found, "the object has no entry for these tiles")
        bad: dict[str, int] = {}
        depth = tiling.depth
        for entry in dict.fromkeys(slot // depth for slot in bits(found)):
            tiles = found & (1 << depth) - 1 << entry * depth
            start, end = index.span(entry) or (0, 0)
            try:
                layout.forms[piece.band].decode(data[start:end])
                piece.good |= tiles
            except ValueError as error:
                bad[str(error)] = bad.get(str(error), 0) | tiles
        for reason, tiles in bad.items():
            piece.damage(key, tiles, reason)
        piece.unledgered = bool(piece.good & ~piece.claimed)

    def _check_tiles(self, piece: _Piece, present: int) -> None:
        tiling = piece.layout.group.tiling
        wanted = present & tiling.full_mask(*piece.shard) if self._adopt else 0
        for slot in bits(piece.claimed | wanted):
            key = piece.layout.tile_object(piece.band, piece.shard, slot)
            try:
                data = np.frombuffer(self._store.get(key), np.uint8)
            except OSError as error:
                piece.damage(key, 1 << slot, _unreadable(error))
                continue
            piece.objects, piece.nbytes = piece.objects + 1, piece.nbytes + data.size
            is_claimed = bool(piece.claimed >> slot & 1)
            try:
                if is_claimed:
                    self._compare_with_ledger(piece, slot, data)
                piece.layout.forms[piece.band].decode(data)
            except ValueError as error:
                piece.damage(key, 1 << slot, str(error) if data.size else "the object is empty")
                continue
            piece.good |= 1 << slot
            piece.unledgered += not is_claimed

    def _compare_with_ledger(
        self, piece: _Piece, slot: int, data: np.ndarray[tuple[int], np.dtype[np.uint8]]
    ) -> None:
        length = int(piece.claim.lengths[piece.index, piece.band, slot])
        if length != data.size:
            raise ValueError(f"{data.size} bytes are there, {length} were stored")
        sums = piece.claim.checksums
        if sums is not None and int(sums[piece.index, piece.band, slot]) != crc32c(data.tobytes()):
            raise ValueError("the object's checksum is not the one in the ledger")


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the object is gone"
    return f"the object cannot be read ({error.strerror or error})"


def _mask(present: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    return int.from_bytes(np.packbits(present, bitorder="little").tobytes(), "little")
