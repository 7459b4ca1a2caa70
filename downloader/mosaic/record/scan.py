"""Compare the ledger with the objects that exist.

Objects are listed once. Where an object is as long as the ledger says, the ledger is believed; where it is not, or where
the ledger does not name the object, the shard's own header and index are read. An object that is gone, cut, or another
shard's by its header counts as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.codec import crc32c
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.shard import index_bytes, read_shard
from downloader.mosaic.record.ledger import LedgerEntry, LedgerReader, LedgerWriter, Piece
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.store import Store


@dataclass(slots=True)
class Scan:
    """State of every group, and what a run should report of it."""

    states: dict[str, GroupState] = field(default_factory=dict)
    """By name of the group."""
    garbage: int = 0
    """Lines of the ledger that could not be read."""
    lost: int = 0
    """Tiles, band by band, that the ledger knew and that are missing or damaged now."""

    def notices(self) -> Iterator[str]:
        """Yield the lines that a run should print."""
        if self.garbage:
            yield (
                f"the ledger has {self.garbage:,} lines that cannot be read (of a run that was killed, or damaged):"
                " what they said was read from the shards"
            )
        if self.lost:
            yield (
                f"{self.lost:,} tiles (band by band) that earlier runs stored are missing or damaged, and are fetched"
                " again; `downloader verify` looks for more"
            )


def scan(
    store: Store, layouts: Iterable[GroupLayout], writer: LedgerWriter | None = None, *, adopt: bool = True
) -> Scan:
    """Return the state of every group.

    Args:
        store: the mosaic's objects.
        layouts: its groups.
        writer: for lines about what the ledger did not know; None to write nothing.
        adopt: whether objects that differ from the ledger count by what they hold; else they count as missing.

    Raises:
        RefusedError: the ledger was written by another version.
        OSError: the store cannot be read.
    """
    claims, garbage = read_claims(store, layouts)
    result = Scan(garbage=garbage)
    for name, claim in claims.items():
        changes = claim.correct_by_objects(store, result, adopt=adopt)
        if claim.known:
            claim.state.recount()
        result.states[name] = claim.state
        if writer is not None and changes:
            writer.append(*(claim.entry(index, pieces) for index, pieces in sorted(changes.items())))
    return result


def read_claims(
    store: Store, layouts: Iterable[GroupLayout], *, checksums: bool = False
) -> tuple[dict[str, LedgerClaims], int]:
    """Return the claims of the ledger by group, and the number of lines that could not be read.

    Args:
        store: the mosaic's objects.
        layouts: its groups.
        checksums: whether the checksums of objects are kept, too.

    Raises:
        RefusedError: the ledger was written by another version.
    """
    claims = {layout.group.name: LedgerClaims(layout, checksums=checksums) for layout in layouts}
    reader = LedgerReader(store)
    for number, entry in enumerate(reader.entries(), 1):
        if entry.group in claims:
            claims[entry.group].apply(entry, number)
    return claims, reader.garbage


Changes = dict[int, dict[str, Piece]]
"""Shard's number → band id → what was found."""


class LedgerClaims:
    """Claims of the ledger about one group: its state, and the lengths of its objects."""

    def __init__(self, layout: GroupLayout, *, checksums: bool = False) -> None:
        self.layout = layout
        self.state = GroupState(layout.group)
        self._tiling = layout.group.tiling
        self._plain = layout.profile == "plain"
        shape = (
            self._tiling.shards, len(layout.group.bands), *((self._tiling.slots,) if self._plain else ())
        )  # fmt: skip
        self.lengths: NDArray[np.uint32] = np.zeros(shape, np.uint32)
        """(shards, bands), `plain`: (shards, bands, slots): bytes of the objects."""
        self.checksums: NDArray[np.uint32] | None = None
        """`plain`: crc32c of the objects as the ledger has them, shaped as `lengths`; None where not asked for."""
        if checksums and self._plain:
            self.checksums = np.zeros(shape, np.uint32)
        self.order: NDArray[np.uint32] = np.zeros(self._tiling.shards, np.uint32)
        """By shard, number of the last line that tells of pixels, from 1; 0 where there is none."""
        self.recipe: NDArray[np.uint32] = np.zeros(self._tiling.shards, np.uint32)
        """By shard, the recipe of that line (`recipe_of` in overviews)."""
        self.known = False
        """Whether anything is known of the group, from the ledger or the listing."""

    def apply(self, entry: LedgerEntry, number: int) -> None:
        """Apply the line of this number; one for a place outside the group is ignored."""
        self.known = True
        t = self._tiling
        ends = (t.shard_layers, t.shard_rows, t.shard_columns)
        if any(not 0 <= place < end for place, end in zip(entry.shard, ends, strict=True)):
            return
        index, stored, failed = entry.applied(self.state)
        self.state.set(index, stored, failed)
        if entry.pieces:
            self.order[index], self.recipe[index] = number, entry.recipe
        for name, piece in entry.pieces.items():
            band = self.state.bands.get(name)
            if band is None:
                continue
            if not self._plain:
                self.lengths[index, band] = piece.length
            for slot, length, checksum in piece.chunks if self._plain else ():
                if slot < t.slots:
                    self.lengths[index, band, slot] = length
                    if self.checksums is not None:
                        self.checksums[index, band, slot] = checksum

    def correct_by_objects(self, store: Store, result: Scan, *, adopt: bool = True) -> Changes:
        """Correct the claims by the objects that exist; return the pieces that changed, by shard and band."""
        sizes = self.listed(store)
        changes: Changes = {}
        if not self.known:
            return changes
        # In runs of shards, so that a mosaic of 10⁹ tiles needs no second array of its size.
        for begin in range(0, len(sizes), 1 << 16):
            part = slice(begin, begin + (1 << 16))
            for row, band, *slots in np.argwhere(sizes[part] != self.lengths[part]).tolist():
                index, slot = begin + row, slots[0] if slots else None
                before = self.state.stored(index)[band]
                if slot is not None and not adopt and not before >> slot & 1:
                    continue
                size = int(sizes[(index, band, *slots)])
                found = self._found(store, index, band, slot, size if adopt else 0)
                # A damaged object keeps its length in the ledger: the next start has seen it already.
                piece = found or (Piece(0, size) if slot is None else Piece.without(1 << slot, "plain"))
                stored = piece.applied(before)
                self.state.set_mask(index, band, stored)
                result.lost += (before & ~stored).bit_count()
                pieces, name = changes.setdefault(index, {}), self.layout.group.bands[band].id
                told = pieces.get(name, Piece(0))
                pieces[name] = Piece(told.stored | piece.stored, piece.length, (*told.chunks, *piece.chunks))
        return changes

    def entry(self, index: int, pieces: dict[str, Piece]) -> LedgerEntry:
        """Return the line about what was found of a shard."""
        failed = self.state.failed.get(index, ())
        return LedgerEntry(self.layout.group.name, self._tiling.shard_at(index), pieces, failed)

    def listed(self, store: Store) -> NDArray[np.uint32]:
        """Return the lengths of the objects that exist, shaped like `lengths`."""
        # Not zeros_like: that would touch every page of what may be a gigabyte.
        sizes = np.zeros(self.lengths.shape, np.uint32)
        t = self._tiling
        for band in self.state.bands.values():
            for key, size in store.list(self.layout.folder(band)):
                found = self.layout.parse_key(key, band)
                if found is None:
                    continue
                self.known = True
                shard, slot = found
                index = t.shard_index(*shard)
                sizes[(index, band, slot) if self._plain else (index, band)] = size
        return sizes

    def _found(self, store: Store, index: int, band: int, slot: int | None, size: int) -> Piece | None:
        """Read an object of this size, of a shard or of the tile in a slot; None for one that is gone or damaged."""
        shard = self._tiling.shard_at(index)
        full = self._tiling.full_mask(*shard)
        if not size or (slot is not None and not full >> slot & 1):
            return None
        try:
            if slot is None:
                key, header = self.layout.shard_object(band, *shard), self.layout.header(band, shard)
                head = store.get_range(key, 0, min(header.nbytes, size))
                tail = store.get_range(key, max(0, size - index_bytes(header.entries)), size)
                return Piece(read_shard(head, tail, size, header)[1] & full, size)
            # Without a line there is no checksum to compare it with: it must at least decode.
            data = bytes(store.get(self.layout.tile_object(band, shard, slot)))
            self.layout.forms[band].decode(data)
        except (ValueError, FileNotFoundError):
            return None
        return Piece(1 << slot, 0, ((slot, len(data), crc32c(data)),))
