"""Reading every n-th pixel of a plane, with no more memory than the picture needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Thinning"]

_STORED = 1
"""What `coverage` holds where a tile is stored (its `flag_meanings`)."""


@dataclass(frozen=True, slots=True)
class Thinning:
    """One slice of a group, thinned."""

    node: Any
    """The group."""
    step: int
    """Pixels from one that is shown to the next."""
    number: int
    """Index along the leading axis."""

    @classmethod
    def of(
        cls,
        node: Any,  # noqa: ANN401  # zarr's groups and arrays are loosely typed
        array: Any,  # noqa: ANN401  # as above
        size: int,
        number: int,
        most_tiles: int | None = None,
    ) -> Thinning:
        """The thinning that fits into `size` pixels a side, and reads no more tiles of a band than `most_tiles`."""
        height, width = array.shape[-2:]
        step = max(1, -(-max(height, width) // size))
        tile = array.chunks[-1]
        tiles = math.ceil(height / tile) * math.ceil(width / tile)
        if most_tiles is not None and tiles > most_tiles:
            step = max(step, math.ceil(math.sqrt(height * width / most_tiles)))
            step = max(step, 2 * tile)
        if step > tile:
            # Each pixel of the picture is in a tile of its own, and so of `coverage` only these cells are read.
            step = math.ceil(step / tile) * tile
        return cls(node, step, number)

    def plane(self, array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """Every `step`-th pixel of a band, (rows, columns)."""
        # zarr decodes tile by tile, and leaves out those of which nothing is wanted.
        leading = (self.number,) * (array.ndim - 2)
        return np.asarray(array[(*leading, slice(None, None, self.step), slice(None, None, self.step))])

    def stored(self, array: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """Which of the thinned pixels lie in tiles that are stored."""
        rows, columns = (np.arange(0, length, self.step) for length in array.shape[-2:])
        if "coverage" not in self.node:
            return np.ones((len(rows), len(columns)), bool)
        coverage = self.node["coverage"]
        leading = (self.number,) * (coverage.ndim - 2)
        tile = array.chunks[-1]
        if self.step % tile == 0:
            apart = self.step // tile
            cells = np.asarray(coverage[(*leading, slice(None, None, apart), slice(None, None, apart))])
            return np.asarray(cells == _STORED, np.bool_)
        cells = np.asarray(coverage[leading] if leading else coverage[:])
        return np.asarray(cells[np.ix_(rows // tile, columns // tile)] == _STORED, np.bool_)
