"""The header at the beginning of each shard's object: its mosaic and place, and the cells that it holds.

Zarr's index stands at the object's end and its offsets begin behind the header, so Zarr readers never see it. An object
that was moved, swapped or restored to another place is known by it: `EEDSHARD3`, the length of the text in four bytes
(little-endian), the text in JSON with a member for each field of `ShardHeader`, and a crc32c of all before. The bits are
hexadecimal, with leading zeros, so that all headers of one place are equally long.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from downloader.mosaic.format.codec import CRC_BYTES, Buffer, checksum

_MAGIC: Final = b"EEDSHARD3"
_TEXT: Final = len(_MAGIC) + 4
"""Where the text begins."""


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
    """Consecutive cells in each chunk, one for each slice."""

    @property
    def entries(self) -> int:
        """Number of chunks of a shard, stored or not."""
        return self.cells // self.depth

    @property
    def nbytes(self) -> int:
        """Length of the header; the same for all headers of one place."""
        return len(self.to_bytes())

    def with_stored(self, stored: int) -> ShardHeader:
        """Return the header of the same place with other cells stored."""
        return replace(self, stored=stored)

    def to_bytes(self) -> bytes:
        """Return the header as it stands in the object."""
        text = json.dumps({**asdict(self), "stored": f"{self.stored:0{-(-self.cells // 4)}x}"}).encode()
        body = _MAGIC + len(text).to_bytes(4, "little") + text
        return body + checksum(body)

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
        if not view[:_TEXT].tobytes().startswith(_MAGIC):
            raise ValueError("the object has no header")
        end = _TEXT + int.from_bytes(view[len(_MAGIC) : _TEXT].tobytes(), "little")
        body = view[:end].tobytes()
        if checksum(body) != view[end : end + CRC_BYTES].tobytes():
            raise ValueError("the checksum of the object's header does not match")
        fields = json.loads(body[_TEXT:])
        return cls(**{**fields, "shard": tuple(fields["shard"]), "stored": int(fields["stored"], 16)})

    @property
    def place(self) -> str:
        """Place of the object, for messages."""
        group = f"{self.group}/" if self.group else ""
        level = f" at level {self.level}" if self.level != 1 else ""
        layer, row, column = self.shard
        return f"{group}{self.band}{level}, shard {layer}/{row}/{column}"
