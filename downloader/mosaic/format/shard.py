"""Shards as bytes: encoded chunks one after the other, then Zarr's index of them and its checksum.

Nothing here decodes a pixel. An object that holds some tiles already is topped up by keeping their encoded bytes
as they are, after a look at each one's checksum. The index's form is the `sharding_indexed` codec's of Zarr v3:
for each entry offset and length as little-endian uint64, both 2⁶⁴−1 where there is none, then a crc32c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.codec import CRC_BYTES, Buffer, ChunkCodec, crc32c

__all__ = ["DamagedShardError", "Merged", "ShardIndex", "index_bytes", "join", "merge"]

_ABSENT: Final = np.uint64(2**64 - 1)
_ENTRY_BYTES: Final = 16


class DamagedShardError(ValueError):
    """The object is no whole shard: too short, or its index does not match its checksum."""


def index_bytes(slots: int) -> int:
    """Length of the index at a shard's end, its checksum included."""
    return slots * _ENTRY_BYTES + CRC_BYTES


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where in its object each chunk of a shard lies."""

    entries: NDArray[np.uint64]
    """(slots, 2): offset from the object's start and length in bytes; 2⁶⁴−1 twice where a chunk is absent."""

    @classmethod
    def parse(cls, tail: Buffer, slots: int, size: int) -> ShardIndex:
        """The index from the last `index_bytes(slots)` bytes of an object of `size` bytes.

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
        entries = body.tobytes()
        index = cls(np.frombuffer(entries, "<u8").reshape(slots, 2))
        present = index.entries[:, 1] != _ABSENT
        offsets, lengths = index.entries[present, 0], index.entries[present, 1]
        end = size - length
        if (offsets > end).any() or (lengths > end - offsets).any():
            raise DamagedShardError("the shard's index points outside the object")
        return index

    @property
    def stored(self) -> int:
        """Bits of the slots that have an entry."""
        present = self.entries[:, 1] != _ABSENT
        return int.from_bytes(np.packbits(present, bitorder="little").tobytes(), "little")

    def span(self, slot: int) -> tuple[int, int] | None:
        """(start, end) of a slot's chunk in the object; None where it has no entry."""
        offset, length = self.entries[slot].tolist()
        return None if length == int(_ABSENT) else (offset, offset + length)


@dataclass(frozen=True, slots=True)
class Merged:
    """A shard's object with some entries kept and some new."""

    buffers: list[Buffer]
    """The object, in pieces; kept entries are views of the old one."""
    stored: int
    """Bits of the slots it has."""
    damaged: int
    """Bits of the slots whose old entry was damaged and not replaced; they are missing now."""

    @property
    def nbytes(self) -> int:
        """Length of the object."""
        return sum(len(buffer) for buffer in self.buffers)


def join(entries: Mapping[int, Buffer], slots: int) -> list[Buffer]:
    """The object that holds `entries` (slot → encoded chunk), in pieces to be written one after the other."""
    index = np.full((slots, 2), _ABSENT, "<u8")
    buffers: list[Buffer] = []
    offset = 0
    for slot in sorted(entries):
        chunk = entries[slot]
        index[slot] = offset, len(chunk)
        buffers.append(chunk)
        offset += len(chunk)
    body = index.tobytes()
    buffers.append(body + crc32c(body).to_bytes(CRC_BYTES, "little"))
    return buffers


def merge(
    old: Buffer | None, entries: Mapping[int, Buffer], slots: int, codec: ChunkCodec, drop: int = 0
) -> Merged:
    """`entries` added to what an object holds, without decoding; new ones replace old ones.

    Args:
        old: the object as it is; None where there is none.
        entries: slot → encoded chunk.
        slots: entries of the index.
        codec: tells whether a chunk's checksum is right.
        drop: bits of the slots whose old entries are not kept.

    An old object that is no whole shard keeps nothing; an old entry whose checksum is wrong is dropped.
    """
    kept: dict[int, Buffer] = {}
    damaged = 0
    if old is not None:
        data = np.frombuffer(old, np.uint8)
        try:
            index = ShardIndex.parse(data[-index_bytes(slots) :], slots, data.size)
        except DamagedShardError:
            index = ShardIndex(np.full((slots, 2), _ABSENT, "<u8"))
        for slot in range(slots):
            span = index.span(slot)
            if span is None or slot in entries or drop >> slot & 1:
                continue
            chunk = data[span[0] : span[1]]
            if codec.intact(chunk):
                kept[slot] = chunk
            else:
                damaged |= 1 << slot
    together = {**kept, **entries}
    stored = sum(1 << slot for slot in together)
    return Merged(join(together, slots), stored, damaged)
