"""Reading every n-th pixel of a plane, with no more memory than the picture needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layered", "Thinning"]

_ALL = (slice(None), slice(None))

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

    def plane(self, array: Any, part: tuple[slice, slice] = _ALL) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """Every `step`-th pixel of a band, (rows, columns); `part` of them, in pixels of the picture."""
        # zarr decodes tile by tile, and leaves out those of which nothing is wanted.
        leading = (self.number,) * (array.ndim - 2)
        places = (
            slice(None if p.start is None else p.start * self.step, p.stop and p.stop * self.step, self.step)
            for p in part
        )
        return np.asarray(array[(*leading, *places)])

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


@dataclass(frozen=True, slots=True)
class Layered:
    """An overview, thinned, and the pixels themselves where it has holes that they have not.

    Of a tile that is missing, or came after the overviews were made, a coarse level says that all around it is missing.
    """

    base: Thinning
    overview: Thinning
    bands: Mapping[str, Any]
    """Band → its array of the overview."""
    gaps: NDArray[np.bool_]
    """Pixels of the picture that the overview lacks."""

    @classmethod
    def of(
        cls,
        base: Thinning,
        array: Any,  # noqa: ANN401  # as above
        overview: Thinning,
        bands: Mapping[str, Any],
        coarse: Any,  # noqa: ANN401  # as above
    ) -> Layered:
        """Of one band's arrays, `array` of the pixels and `coarse` of the overview."""
        return cls(base, overview, bands, base.stored(array) & ~overview.stored(coarse))

    def stored(self, array: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """As `Thinning` has it."""
        return self.base.stored(array)

    def plane(self, array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """As `Thinning` has it; only where there are gaps the pixels themselves are read."""
        coarse = self.bands[str(array.attrs["band"])]
        picture = self.overview.plane(coarse)
        side = max(1, coarse.chunks[-1] // self.overview.step)
        for top in range(0, picture.shape[0], side):
            for left in range(0, picture.shape[1], side):
                part = (slice(top, top + side), slice(left, left + side))
                gaps = self.gaps[part]
                if gaps.any():
                    picture[part] = np.where(gaps, self.base.plane(array, part), picture[part])
        return picture
