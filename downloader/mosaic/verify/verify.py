"""Verify a mosaic: read every object, compare every header and checksum, decode every chunk once.

No lock is taken and nothing is written, so a run may be under way. The ledger is read first, and what it named then is
checked; a run only ever adds to that. Memory: one object for each thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.codec import crc32c
from downloader.mosaic.format.coverage import Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.shard import read_shard
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

Bytes = NDArray[np.uint8]

Watch = Callable[[int, int], None]
"""Called with (objects read, objects in all)."""

_THREADS: Final = min(8, (os.cpu_count() or 1) + 2)

_RUN: Final = 1 << 12
"""Shards looked at together, so that a mosaic of 10⁹ tiles needs no second array of its size."""


@dataclass(slots=True)
class Examination:
    """A verification with the details that a repair needs."""

    identity: Identity
    verification: Verification
    states: dict[str, GroupState]
    """By group: tiles that are intact by their objects, failures by the ledger."""


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
    damaged = tuple(reading.run(claims.values(), watch))
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
        self.states: dict[str, GroupState] = {}
        self.objects = self.nbytes = self.unledgered = 0

    def run(self, claims: Iterable[LedgerClaims], watch: Watch | None) -> Iterator[Damage]:
        """List the objects of all groups, check them, and yield what is damaged."""
        listed = [(claim, claim.listed(self._store)) for claim in claims]
        total = sum(int(np.count_nonzero(sizes)) for _, sizes in listed)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as pool:
            for claim, sizes in listed:
                state = self.states[claim.layout.group.name] = GroupState(claim.layout.group)
                state.failed = claim.state.failed
                for begin in range(0, len(sizes), _RUN):
                    for piece in pool.map(self._check, *self._pieces(claim, sizes, begin)):
                        state.set_mask(piece.index, piece.band, piece.good)
                        self.objects += piece.objects
                        self.nbytes += piece.nbytes
                        self.unledgered += piece.unledgered
                        if watch is not None:
                            watch(self.objects, total)
                        yield from piece.damages
                state.recount()

    def _pieces(
        self, claim: LedgerClaims, sizes: NDArray[np.uint32], begin: int
    ) -> tuple[list[_Piece], list[int]]:
        """Return the pieces of a run of shards that are claimed or exist, and of each the bits of its tiles' objects."""
        known, there = claim.lengths[begin : begin + _RUN], sizes[begin : begin + _RUN]
        plain = claim.layout.profile == "plain"
        touched = (known | there) != 0
        pieces, present = [], []
        for row, band in np.argwhere(touched.any(axis=-1) if plain else touched).tolist():
            claimed = claim.state.stored(begin + row)[band]
            # What the ledger knows and says nothing is stored in is an object that waits to be replaced.
            if plain or claimed or known[row, band] != there[row, band]:
                pieces.append(_Piece(claim, begin + row, band, claimed))
                present.append(_mask(there[row, band] != 0) if plain else 0)
        return pieces, present

    def _check(self, piece: _Piece, present: int) -> _Piece:
        layout = piece.layout
        if layout.profile == "sharded":
            self._check_object(
                piece, layout.shard_object(piece.band, *piece.shard), piece.claimed, self._entries
            )
            return piece
        wanted = present & layout.group.tiling.full_mask(*piece.shard) if self._adopt else 0
        for slot in bits(piece.claimed | wanted):
            key = layout.tile_object(piece.band, piece.shard, slot)
            self._check_object(piece, key, 1 << slot, self._tile)
        return piece

    def _check_object(
        self,
        piece: _Piece,
        key: str,
        tiles: int,
        read: Callable[[_Piece, int, Bytes], Iterable[tuple[int, Bytes]]],
    ) -> None:
        """Check an object that is claimed to hold `tiles`; `read` yields (tiles, bytes) of each of its chunks."""
        try:
            data = np.frombuffer(self._store.get(key), np.uint8)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            piece.damage(
                key,
                tiles,
                "the object is gone" if gone else f"the object cannot be read ({error.strerror or error})",
            )
            return
        piece.objects, piece.nbytes = piece.objects + 1, piece.nbytes + data.size
        bad: dict[str, int] = {}
        try:
            chunks = dict(read(piece, tiles, data))
        except ValueError as error:
            piece.damage(key, tiles, str(error) if data.size else "the object is empty")
            return
        if lacks := piece.claimed & tiles & ~sum(chunks):
            bad["the object has no entry for these tiles"] = lacks
        for held, chunk in chunks.items():
            try:
                piece.layout.forms[piece.band].decode(chunk)
                piece.good |= held
            except ValueError as error:
                bad[str(error)] = bad.get(str(error), 0) | held
        for reason, damaged in bad.items():
            piece.damage(key, damaged, reason)
        piece.unledgered += bool(piece.good & sum(chunks) & ~piece.claimed)

    def _entries(self, piece: _Piece, _tiles: int, data: Bytes) -> Iterator[tuple[int, Bytes]]:
        tiling = piece.layout.group.tiling
        index, stored = read_shard(data, data, data.size, piece.layout.header(piece.band, piece.shard))
        found = stored & (tiling.full_mask(*piece.shard) if self._adopt else piece.claimed)
        for entry in dict.fromkeys(slot // tiling.depth for slot in bits(found)):
            start, end = index.span(entry) or (0, 0)
            yield found & (1 << tiling.depth) - 1 << entry * tiling.depth, data[start:end]

    def _tile(self, piece: _Piece, tile: int, data: Bytes) -> Iterator[tuple[int, Bytes]]:
        where, sums = (piece.index, piece.band, tile.bit_length() - 1), piece.claim.checksums
        if piece.claimed & tile:
            if (length := int(piece.claim.lengths[where])) != data.size:
                raise ValueError(f"{data.size} bytes are there, {length} were stored")
            if sums is not None and int(sums[where]) != crc32c(data.tobytes()):
                raise ValueError("the object's checksum is not the one in the ledger")
        yield tile, data


def _mask(present: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(present, bitorder="little").tobytes(), "little")
