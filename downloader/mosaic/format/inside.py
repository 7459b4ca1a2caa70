"""The array `inside` (sample, y, x): truth values of the pixels in each field's polygon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from downloader.model.grid import Window
from downloader.mosaic.format.codec import ChunkCodec
from downloader.mosaic.format.documents import array_document
from downloader.planning.polygon import Shape

INSIDE: Final = "inside"
"""Name of the array."""

_CHUNK_PIXELS: Final = 2**20
"""Pixels of one chunk, which holds as many whole samples as fit."""


@dataclass(frozen=True, slots=True)
class InsideArray:
    """The array of one group; like arrays along the axis it grows in place, its last chunk padded."""

    shapes: tuple[Shape | None, ...]
    """By sample, in pixels of its chip; None where it has no pixels, of which none lies inside."""
    side: int
    """Pixels along a chip's side."""
    name: str = INSIDE

    def document(self, dimension: str, codec: ChunkCodec) -> dict[str, Any]:
        """Return its `zarr.json`."""
        shape = (len(self.shapes), self.side, self.side)
        codecs, about = codec.to_json(np.dtype("?")), {"long_name": "whether the pixel lies in the field"}
        return array_document(shape, self._chunk, "bool", False, (dimension, "y", "x"), codecs, about)

    def chunks(self, prefix: str, codec: ChunkCodec) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of every chunk; equal fields give equal bytes."""
        run = self._chunk[0]
        whole = Window(0, 0, self.side, self.side)
        for number, first in enumerate(range(0, len(self.shapes), run)):
            pixels = np.zeros(self._chunk, np.bool_)
            for place, shape in enumerate(self.shapes[first : first + run]):
                inside = None if shape is None else shape.inside(whole)
                pixels[place] = shape is not None if inside is None else inside
            yield f"{prefix}{INSIDE}/c/{number}/0/0", codec.encode(pixels)

    @property
    def _chunk(self) -> tuple[int, int, int]:
        return max(1, _CHUNK_PIXELS // self.side**2), self.side, self.side
