"""The chunks of one band: tiles of one or several slices, encoded together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from downloader.mosaic.format.codec import Buffer, ChunkCodec
from downloader.planning.tiling import bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tile = bytes | np.ndarray[Any, Any]
"""A tile before its chunk is written: encoded where it is a whole chunk, else its pixels (height, width)."""


@dataclass(frozen=True)
class ChunkForm:
    """Shape, type and codec of the chunks of one band."""

    codec: ChunkCodec
    dtype: np.dtype[np.generic]
    fill: np.generic
    """Value of pixels beyond the group's edge and of slices that are not stored."""
    side: int
    """Pixels along a tile's side."""
    depth: int = 1
    """Slices in a chunk."""

    def tile(self, pixels: NDArray[Any]) -> Tile:
        """Return a copy of a tile's pixels (height, width), clipped at the group's edge, in the form that `chunk` takes."""
        if self.depth > 1:
            return pixels.copy()
        if pixels.shape == (self.side, self.side):
            return self.codec.encode(np.ascontiguousarray(pixels))
        return self.codec.encode(self._filled({0: pixels})[0])

    def chunk(self, tiles: Mapping[int, Tile], old: Buffer | None = None, kept: int = 0) -> Buffer:
        """Return the encoded chunk of new tiles and of those kept from an old chunk.

        Args:
            tiles: slice within the chunk → tile.
            old: the chunk as it is; None where there is none.
            kept: bits of the slices within the old chunk that are kept; the others become fill.

        Raises:
            ValueError: the old chunk is damaged.
        """
        if self.depth == 1:
            (data,) = tiles.values()
            assert isinstance(data, bytes)  # noqa: S101  # for the type checker
            return data
        before: dict[int, Any] = {}
        if old is not None and kept:
            pixels = self.decode(old)
            before = {within: pixels[within] for within in bits(kept)}
        return self.codec.encode(self._filled({**before, **tiles}))

    def decode(self, data: Buffer) -> NDArray[Any]:
        """Return the pixels (depth, side, side) of a chunk. Raises ValueError where it is damaged."""
        return self.codec.decode(data, self.dtype, (self.depth, self.side, self.side))

    def _filled(self, tiles: Mapping[int, Any]) -> NDArray[Any]:
        pixels = np.full((self.depth, self.side, self.side), self.fill, self.dtype)
        for within, tile in tiles.items():
            pixels[within, : tile.shape[0], : tile.shape[1]] = tile
        return pixels
