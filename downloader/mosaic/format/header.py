"""The header at the beginning of each shard's object: which shard of which mosaic it is, and which cells it holds.

Zarr's index stands at the object's end and its offsets begin behind the header, so Zarr readers never see it. An object
that was moved, swapped or restored to another place is known by it. All numbers are little-endian:

| bytes | content |
|---|---|
| 8 | `EEDSHARD` |
| 2, 2, 2 | version; length of the group's and the band's name in bytes |
| 16 | id of the mosaic |
| 4, 4, 4, 4 | overview level (1 for the pixels); layer, row and column in shards |
| 4, 4 | number of cells; how many of them each chunk holds |
| n, m | group and band, UTF-8; the group of an overview is the one that it is made of |
| ⌈cells ÷ 8⌉ | a bit for each cell that is stored, the lowest first |
| 4 | crc32c of all before |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from downloader.mosaic.format.codec import CRC_BYTES, Buffer, crc32c

HEADER_VERSION: Final = 2

_MAGIC: Final = b"EEDSHARD"
_FIXED: Final = struct.Struct("<8sHHH16sIIIIII")
"""Magic, version, length of the group, length of the band, mosaic, level, layer, row, column, cells, depth."""


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """Place and content of a shard's object."""

    mosaic: str
    """Id of the mosaic, 32 hexadecimal digits."""
    group: str
    band: str
    """The band's id."""
    level: int
    """1 for the pixels; else the factor of the overview."""
    shard: tuple[int, int, int]
    """(layer, row, column), in shards."""
    cells: int
    """Number of cells of a shard, stored or not."""
    stored: int = 0
    """Bits of the cells that are stored."""
    depth: int = 1
    """Cells that each chunk holds, one after the other; in number of slices."""

    @property
    def entries(self) -> int:
        """Number of chunks of a shard, stored or not."""
        return self.cells // self.depth

    @property
    def nbytes(self) -> int:
        """Length of the header; the same for all headers of one place."""
        text = len(self.group.encode()) + len(self.band.encode())
        return _FIXED.size + text + -(-self.cells // 8) + CRC_BYTES

    def with_stored(self, stored: int) -> ShardHeader:
        """Return the header of the same place with other cells stored."""
        return replace(self, stored=stored)

    def to_bytes(self) -> bytes:
        """Return the header as it stands in the object."""
        group, band = self.group.encode(), self.band.encode()
        fixed = _FIXED.pack(
            _MAGIC, HEADER_VERSION, len(group), len(band), bytes.fromhex(self.mosaic), self.level, *self.shard, self.cells, self.depth
        )  # fmt: skip
        body = fixed + group + band + self.stored.to_bytes(-(-self.cells // 8), "little")
        return body + crc32c(body).to_bytes(CRC_BYTES, "little")

    def read_stored(self, data: Buffer) -> int:
        """Return the bits of the cells stored, from the first bytes of an object that lies at this header's place.

        Raises:
            ValueError: the object has no header, a damaged one, or that of another place or mosaic.
        """
        found = ShardHeader.parse(data)
        if found.mosaic != self.mosaic:
            raise ValueError("the object belongs to another mosaic")
        if found.with_stored(0) != self.with_stored(0):
            raise ValueError(f"the object is that of {found.place}, not of {self.place}")
        return found.stored

    @classmethod
    def parse(cls, data: Buffer) -> ShardHeader:
        """Return the header from the first bytes of an object.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        view = np.frombuffer(data, np.uint8)
        if view.size < _FIXED.size or view[: len(_MAGIC)].tobytes() != _MAGIC:
            raise ValueError("the object has no header")
        _, version, group, band, mosaic, level, layer, row, column, cells, depth = _FIXED.unpack(
            view[: _FIXED.size].tobytes()
        )
        if version != HEADER_VERSION:
            raise ValueError(f"the object's header is of version {version}")
        end = _FIXED.size + group + band + -(-cells // 8)
        body = view[:end].tobytes()
        checksum = view[end : end + CRC_BYTES].tobytes()
        if len(checksum) < CRC_BYTES or crc32c(body) != int.from_bytes(checksum, "little"):
            raise ValueError("the checksum of the object's header does not match")
        text = body[_FIXED.size : _FIXED.size + group + band]
        stored = int.from_bytes(body[_FIXED.size + group + band :], "little")
        try:
            names = text[:group].decode(), text[group:].decode()
        except UnicodeDecodeError as error:
            raise ValueError("the object's header holds no names") from error
        return cls(mosaic.hex(), *names, level, (layer, row, column), cells, stored, depth)

    @property
    def place(self) -> str:
        """Where the object belongs, for messages."""
        group = f"{self.group}/" if self.group else ""
        level = f" at level {self.level}" if self.level != 1 else ""
        layer, row, column = self.shard
        return f"{group}{self.band}{level}, shard {layer}/{row}/{column}"
