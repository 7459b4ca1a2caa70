"""Read every n-th pixel of a plane, with no more memory than the picture needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.flat import flat
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage

_ALL = (slice(None), slice(None))


@dataclass(frozen=True, slots=True)
class Thinning:
    """One slice of a group, decimated."""

    node: Any
    """The group."""
    step: int
    """Distance of shown pixels."""
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
        """Return the decimation that fits into `size` pixels a side and reads at most `most_tiles` tiles of a band."""
        height, width = array.shape[-2:]
        step = max(1, -(-max(height, width) // size))
        tile = array.chunks[-1]
        tiles = math.ceil(height / tile) * math.ceil(width / tile)
        if most_tiles is not None and tiles > most_tiles:
            step = max(step, math.ceil(math.sqrt(height * width / most_tiles)))
            step = max(step, 2 * tile)
        if step > tile:
            # Each shown pixel is in a tile of its own, so that only these cells of `coverage` are read.
            step = math.ceil(step / tile) * tile
        return cls(node, step, number)

    def plane(self, array: Any, part: tuple[slice, slice] = _ALL) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """Return every `step`-th pixel of a band, (rows, columns), or of `part` of it, in pixels of the picture."""
        # zarr decodes only the tiles that hold one of these pixels.
        leading = (self.number,) * (array.ndim - 2)
        places = (
            slice(None if p.start is None else p.start * self.step, p.stop and p.stop * self.step, self.step)
            for p in part
        )
        return np.asarray(array[(*leading, *places)])

    def stored(self, array: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """Return which of the shown pixels lie in stored tiles."""
        rows, columns = (np.arange(0, length, self.step) for length in array.shape[-2:])
        if COVERAGE_TILES not in self.node:
            return np.ones((len(rows), len(columns)), bool)
        coverage = flat(self.node[COVERAGE_TILES])
        leading = (self.number,) * (coverage.ndim - 2)
        tile = array.chunks[-1]
        if self.step % tile == 0:
            apart = self.step // tile
            cells = np.asarray(coverage[(*leading, slice(None, None, apart), slice(None, None, apart))])
            return np.asarray(cells == Coverage.STORED, np.bool_)
        cells = np.asarray(coverage[leading] if leading else coverage[:])
        return np.asarray(cells[np.ix_(rows // tile, columns // tile)] == Coverage.STORED, np.bool_)


@dataclass(frozen=True, slots=True)
class Layered:
    """A decimated overview, with the pixels themselves where only the overview has gaps.

    At a coarse level, a tile that is missing or was stored after the overviews were made leaves a gap far around it.
    """

    base: Thinning
    overview: Thinning
    bands: Mapping[str, Any]
    """Band → its array of the overview."""
    gaps: NDArray[np.bool_]
    """Pixels of the picture that only the overview lacks."""

    def stored(self, array: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """Return which of the shown pixels lie in stored tiles."""
        return self.base.stored(array)

    def plane(self, array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """Return the shown pixels of a band; only in gaps the pixels themselves are read."""
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
