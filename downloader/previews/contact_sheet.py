"""Lay out samples side by side, from the first on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.flat import flat
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage

_GAP: Final = 2
"""Pixels between chips."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet of as many chips as fit into a square, row by row."""

    count: int
    columns: int
    chip: tuple[int, int]
    """(height, width) of a chip as it is shown, in pixels."""
    step: int = 1
    """Distance of shown pixels within a chip; above 1 if not even one chip fits."""

    @classmethod
    def of(cls, array: Any, size: int) -> Sheet:  # noqa: ANN401  # zarr's arrays are loosely typed
        """Return the sheet of an array (sample, y, x), at most `size` pixels a side."""
        samples, full_height, full_width = array.shape
        step = max(1, -(-max(full_height, full_width) // size))
        height, width = -(-full_height // step), -(-full_width // step)
        columns = max(1, min(math.ceil(math.sqrt(samples)), size // (width + _GAP)))
        rows = max(1, min(math.ceil(samples / columns), size // (height + _GAP)))
        return cls(min(samples, rows * columns), columns, (height, width), step)

    def lay(self, array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """Return the chips of a band, with 0 between them."""
        return self._laid(np.asarray(array[: self.count, :: self.step, :: self.step]))

    def stored(self, node: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """Return which pixels of the sheet belong to a stored chip."""
        known = np.asarray(flat(node[COVERAGE_TILES])[: self.count, 0, 0]) == Coverage.STORED
        return self._laid(np.broadcast_to(known[:, None, None], (self.count, *self.chip))).astype(np.bool_)

    def _laid(self, chips: NDArray[Any]) -> NDArray[Any]:
        height, width = self.chip
        rows = math.ceil(self.count / self.columns)
        sheet = np.zeros((rows, height + _GAP, self.columns, width + _GAP), chips.dtype)
        for number, chip in enumerate(chips):
            sheet[number // self.columns, :height, number % self.columns, :width] = chip
        return sheet.reshape(rows * (height + _GAP), self.columns * (width + _GAP))[:-_GAP, :-_GAP]
