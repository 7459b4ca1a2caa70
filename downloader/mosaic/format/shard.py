"""Shards as bytes: our header, encoded chunks one after the other, then Zarr's index of them and its checksum.

An object that holds some tiles already is topped up by keeping the encoded bytes of its chunks as they are, after a check of
each one's checksum; a chunk is decoded only where tiles of some of its slices come or go. The index has the form of Zarr v3's `sharding_indexed` codec: for each entry
offset and length as little-endian uint64, both 2⁶⁴−1 where there is none, then a crc32c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.chunk import ChunkForm, Tile
from downloader.mosaic.format.codec import CRC_BYTES, Buffer, checksum
from downloader.mosaic.format.header import ShardHeader
from downloader.planning.tiling import bits

_ABSENT: Final = np.uint64(2**64 - 1)
_ENTRY_BYTES: Final = 16


_DEAD_SHARE: Final = 1 / 8
"""Largest share of replaced chunks in an object, relative to current ones, before it is rewritten without them."""


class DamagedShardError(ValueError):
    """The object is not the whole shard of its place: cut, damaged, or another shard's."""


def index_bytes(entries: int) -> int:
    """Return the length of the index at a shard's end, its checksum included."""
    return entries * _ENTRY_BYTES + CRC_BYTES


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Places of a shard's chunks in its object."""

    entries: NDArray[np.uint64]
    """(chunks, 2): offset from the object's start and length in bytes; 2⁶⁴−1 twice where a chunk is absent."""

    @classmethod
    def parse(cls, tail: Buffer, entries: int, size: int) -> ShardIndex:
        """Return the index from the last `index_bytes(entries)` bytes of an object of `size` bytes.

        Raises:
            DamagedShardError: the object is shorter than its index, or the index is not what was written.
        """
        length = index_bytes(entries)
        if size < length or len(tail) < length:
            raise DamagedShardError(f"{size} bytes are fewer than the {length} of a shard's index")
        data = np.frombuffer(tail, np.uint8)[-length:]
        body = data[:-CRC_BYTES].tobytes()
        if checksum(body) != data[-CRC_BYTES:].tobytes():
            raise DamagedShardError("the checksum of the shard's index does not match")
        index = cls(np.frombuffer(body, "<u8").reshape(entries, 2))
        present = index.entries[:, 1] != _ABSENT
        offsets, lengths = index.entries[present, 0], index.entries[present, 1]
        end = size - length
        if (offsets > end).any() or (lengths > end - offsets).any():
            raise DamagedShardError("the shard's index points outside the object")
        return index

    @property
    def present(self) -> int:
        """Bits of the chunks that have an entry."""
        present = self.entries[:, 1] != _ABSENT
        return int.from_bytes(np.packbits(present, bitorder="little").tobytes(), "little")

    def span(self, entry: int) -> tuple[int, int] | None:
        """Return (start, end) of a chunk in the object; None where it has no entry."""
        offset, length = self.entries[entry].tolist()
        return None if length == int(_ABSENT) else (offset, offset + length)


def read_shard(head: Buffer, tail: Buffer, size: int, header: ShardHeader) -> tuple[ShardIndex, int]:
    """Return the index of an object and the bits of the slots that it holds.

    Args:
        head: its first bytes, at least the header.
        tail: its last bytes, at least the index.
        size: its length in bytes.
        header: that of its place.

    Raises:
        DamagedShardError: it is cut, damaged, or the object of another place or mosaic.
    """
    index = ShardIndex.parse(tail, header.entries, size)
    try:
        return index, header.read_stored(head) & _cells_of(index.present, header.depth)
    except ValueError as error:
        raise DamagedShardError(str(error)) from error


@dataclass(frozen=True, slots=True)
class EncodedShard:
    """A shard's object, ready to be written."""

    buffers: list[Buffer]
    """The object, in pieces; kept entries are views of the old one."""
    stored: int
    """Bits of the slots it holds."""
    damaged: int = 0
    """Bits of the slots whose old entry was damaged and not replaced; they are missing now."""

    @property
    def nbytes(self) -> int:
        """Length of the object."""
        return sum(len(buffer) for buffer in self.buffers)


def encode_shard(
    chunks: Mapping[int, Buffer],
    header: ShardHeader,
    stored: int,
    damaged: int = 0,
    before: tuple[Buffer, Mapping[int, tuple[int, int]]] = (b"", {}),
) -> EncodedShard:
    """Encode a shard's object.

    Args:
        chunks: entry → encoded chunk, in the order in which they stand in the object.
        header: that of the place.
        stored: bits of the slots that the chunks hold.
        damaged: bits of the slots that were damaged and are missing now.
        before: what of an old object stays where it was, from its header on, and the spans of its chunks that count.
    """
    body, spans = before
    index = np.full((header.entries, 2), _ABSENT, "<u8")
    for entry, (start, end) in spans.items():
        index[entry] = start, end - start
    buffers: list[Buffer] = [header.with_stored(stored).to_bytes(), *([body] if len(body) else [])]
    offset = header.nbytes + len(body)
    for entry, chunk in chunks.items():
        index[entry] = offset, len(chunk)
        buffers.append(chunk)
        offset += len(chunk)
    table = index.tobytes()
    buffers.append(table + checksum(table))
    return EncodedShard(buffers, stored, damaged)


def merge(
    old: Buffer | None, tiles: Mapping[int, Tile], header: ShardHeader, form: ChunkForm, keep: int = -1
) -> EncodedShard:
    """Encode an object with `tiles` and those of an old one; new tiles replace old ones.

    Args:
        old: the object as it is; None where there is none.
        tiles: slot → tile.
        header: that of the object's place.
        form: of the band's chunks.
        keep: bits of the slots whose old tiles are kept; all by default.

    Of an old object that is not the whole shard of this place nothing is kept; an old chunk whose checksum is wrong is
    dropped with its tiles. What is kept stays where it was, so that a reader who has the old index finds its chunks in the
    new object, too; once more than a small part of the object is such that nothing counts of it, it closes up.
    """
    new: dict[int, dict[int, Tile]] = {}
    for slot, tile in tiles.items():
        new.setdefault(slot // header.depth, {})[slot % header.depth] = tile
    added = sum(1 << slot for slot in tiles)
    data = np.zeros(0, np.uint8) if old is None else np.frombuffer(old, np.uint8)
    spans: dict[int, tuple[int, int]] = {}
    kept = damaged = dropped = 0
    try:
        index, stored = read_shard(data, data, data.size, header)
        dropped = stored & ~keep & ~added
    except DamagedShardError:
        index, stored = None, 0
    for entry in range(header.entries) if index is not None else ():
        cells = stored & keep & ~added & _cells_of(1 << entry, header.depth)
        span = index.span(entry) if index is not None and cells else None
        if span is None:
            continue
        if form.codec.intact(data[slice(*span)]):
            spans[entry] = span
            kept |= cells
        else:
            damaged |= cells
    changed = {slot // header.depth for slot in bits(dropped)} & spans.keys() if header.depth > 1 else set()
    chunks: dict[int, Buffer] = {}
    for entry in sorted(changed | new.keys()):
        span = spans.pop(entry, None)
        cells = kept >> entry * header.depth & (1 << header.depth) - 1
        chunks[entry] = form.chunk(new.get(entry, {}), None if span is None else data[slice(*span)], cells)
    live = sum(end - start for start, end in spans.values())
    body = data[header.nbytes : data.size - index_bytes(header.entries)] if index is not None else data[:0]
    if body.size - live > _DEAD_SHARE * (live + sum(map(len, chunks.values()))):
        moved = {entry: data[slice(*spans[entry])] for entry in sorted(spans, key=spans.__getitem__)}
        return encode_shard({**moved, **chunks}, header, kept | added, damaged)
    return encode_shard(chunks, header, kept | added, damaged, (body, spans))


def _cells_of(entries: int, depth: int) -> int:
    """Return the bits of all tiles of the chunks whose bits are given."""
    if depth == 1:
        return entries
    return sum((1 << depth) - 1 << entry * depth for entry in bits(entries))
