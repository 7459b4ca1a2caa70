"""Shards as bytes: our header, encoded chunks one after the other, then Zarr's index of them and its checksum.

Nothing here decodes a pixel. An object that holds some tiles already is topped up by keeping their encoded bytes as they
are, after a check of each one's checksum. The index has the form of Zarr v3's `sharding_indexed` codec: for each entry
offset and length as little-endian uint64, both 2⁶⁴−1 where there is none, then a crc32c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.codec import CRC_BYTES, Buffer, ChunkCodec, crc32c
from downloader.mosaic.format.header import ShardHeader

_ABSENT: Final = np.uint64(2**64 - 1)
_ENTRY_BYTES: Final = 16


class DamagedShardError(ValueError):
    """The object is not the whole shard of its place: cut, damaged, or another shard's."""


def index_bytes(slots: int) -> int:
    """Return the length of the index at a shard's end, its checksum included."""
    return slots * _ENTRY_BYTES + CRC_BYTES


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where in its object each chunk of a shard lies."""

    entries: NDArray[np.uint64]
    """(slots, 2): offset from the object's start and length in bytes; 2⁶⁴−1 twice where a chunk is absent."""

    @classmethod
    def parse(cls, tail: Buffer, slots: int, size: int) -> ShardIndex:
        """Return the index from the last `index_bytes(slots)` bytes of an object of `size` bytes.

        Raises:
            DamagedShardError: the object is shorter than its index, or the index is not what was written.
        """
        length = index_bytes(slots)
        if size < length or len(tail) < length:
            raise DamagedShardError(f"{size} bytes are fewer than the {length} of a shard's index")
        data = np.frombuffer(tail, np.uint8)[-length:]
        body, checksum = data[:-CRC_BYTES], data[-CRC_BYTES:]
        if crc32c(body.tobytes()) != int.from_bytes(checksum.tobytes(), "little"):
            raise DamagedShardError("the checksum of the shard's index does not match")
        index = cls(np.frombuffer(body.tobytes(), "<u8").reshape(slots, 2))
        present = index.entries[:, 1] != _ABSENT
        offsets, lengths = index.entries[present, 0], index.entries[present, 1]
        end = size - length
        if (offsets > end).any() or (lengths > end - offsets).any():
            raise DamagedShardError("the shard's index points outside the object")
        return index

    @property
    def present(self) -> int:
        """Bits of the slots that have an entry."""
        present = self.entries[:, 1] != _ABSENT
        return int.from_bytes(np.packbits(present, bitorder="little").tobytes(), "little")

    def span(self, slot: int) -> tuple[int, int] | None:
        """Return (start, end) of a slot's chunk in the object; None where it has no entry."""
        offset, length = self.entries[slot].tolist()
        return None if length == int(_ABSENT) else (offset, offset + length)

    def checksum(self, data: Buffer) -> int:
        """Return the crc32c over the index and the chunks' own checksums, of the whole object `data`."""
        view = np.frombuffer(data, np.uint8)
        spans = (self.span(slot) for slot in range(len(self.entries)))
        sums = [view[max(start, end - CRC_BYTES) : end].tobytes() for start, end in filter(None, spans)]
        return crc32c(b"".join([self.entries.tobytes(), *sums]))


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
    index = ShardIndex.parse(tail, header.cells, size)
    try:
        return index, header.read_stored(head) & index.present
    except ValueError as error:
        raise DamagedShardError(str(error)) from error


@dataclass(frozen=True, slots=True)
class EncodedShard:
    """A shard's object, ready to be written."""

    buffers: list[Buffer]
    """The object, in pieces; kept entries are views of the old one."""
    stored: int
    """Bits of the slots it holds."""
    checksum: int
    """See `ShardIndex.checksum`."""
    damaged: int = 0
    """Bits of the slots whose old entry was damaged and not replaced; they are missing now."""

    @property
    def nbytes(self) -> int:
        """Length of the object."""
        return sum(len(buffer) for buffer in self.buffers)


def encode_shard(entries: Mapping[int, Buffer], header: ShardHeader, damaged: int = 0) -> EncodedShard:
    """Return the object that holds `entries` (slot → encoded chunk) at the place of `header`, in their order."""
    index = np.full((header.cells, 2), _ABSENT, "<u8")
    stored = sum(1 << slot for slot in entries)
    buffers: list[Buffer] = [header.with_stored(stored).to_bytes()]
    offset = header.nbytes
    for slot, chunk in entries.items():
        index[slot] = offset, len(chunk)
        buffers.append(chunk)
        offset += len(chunk)
    sums = [bytes(entries[slot][-CRC_BYTES:]) for slot in sorted(entries)]
    body = index.tobytes()
    buffers.append(body + crc32c(body).to_bytes(CRC_BYTES, "little"))
    return EncodedShard(buffers, stored, crc32c(b"".join([body, *sums])), damaged)


def merge(
    old: Buffer | None, entries: Mapping[int, Buffer], header: ShardHeader, codec: ChunkCodec, drop: int = 0
) -> EncodedShard:
    """Return an object with `entries` added to those of an old one, without decoding; new ones replace old ones.

    Args:
        old: the object as it is; None where there is none.
        entries: slot → encoded chunk.
        header: that of the object's place.
        codec: tells whether a chunk's checksum is right.
        drop: bits of the slots whose old entries are not kept.

    Of an old object that is not the whole shard of this place nothing is kept; an old entry whose checksum is wrong is
    dropped. What is kept stays where it was as long as nothing before it goes, so that a reader who has the old index
    finds its chunks in the new object, too.
    """
    kept: dict[int, Buffer] = {}
    starts: dict[int, int] = {}
    damaged = 0
    if old is not None:
        data = np.frombuffer(old, np.uint8)
        try:
            index, stored = read_shard(data, data, data.size, header)
        except DamagedShardError:
            index, stored = None, 0
        for slot in range(header.cells):
            if index is None or slot in entries or not (stored & ~drop) >> slot & 1:
                continue
            start, end = index.span(slot) or (0, 0)
            chunk = data[start:end]
            if codec.intact(chunk):
                kept[slot], starts[slot] = chunk, start
            else:
                damaged |= 1 << slot
    first = {slot: kept[slot] for slot in sorted(kept, key=starts.__getitem__)}
    return encode_shard({**first, **dict(sorted(entries.items()))}, header, damaged)
