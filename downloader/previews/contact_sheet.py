"""Samples side by side: a sheet of chips, from the first on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sheet"]

_GAP: Final = 2
"""Pixels between chips."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """As many chips as fit into a square, row by row."""

    count: int
    columns: int
    chip: tuple[int, int]
    """(height, width) of a chip as it is shown, in pixels."""
    step: int = 1
    """Pixels of a chip from one that is shown to the next: larger than 1 where not even one chip fits."""

    @classmethod
    def of(cls, array: Any, size: int) -> Sheet:  # noqa: ANN401  # zarr's arrays are loosely typed
        """The sheet of an array (sample, y, x), `size` pixels a side at most."""
        samples, full_height, full_width = array.shape
        step = max(1, -(-max(full_height, full_width) // size))
        height, width = -(-full_height // step), -(-full_width // step)
        columns = max(1, min(math.ceil(math.sqrt(samples)), size // (width + _GAP)))
        rows = max(1, min(math.ceil(samples / columns), size // (height + _GAP)))
        return cls(min(samples, rows * columns), columns, (height, width), step)

    def lay(self, array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """The chips of a band; 0 between them."""
        return self._laid(np.asarray(array[: self.count, :: self.step, :: self.step]))

    def stored(self, node: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """Which pixels of the sheet are those of a chip that is stored."""
        known = np.asarray(node["coverage"][: self.count, 0, 0]) == 1
        return self._laid(np.broadcast_to(known[:, None, None], (self.count, *self.chip))).astype(np.bool_)

    def _laid(self, chips: NDArray[Any]) -> NDArray[Any]:
        height, width = self.chip
        rows = math.ceil(self.count / self.columns)
        sheet = np.zeros((rows, height + _GAP, self.columns, width + _GAP), chips.dtype)
        for number, chip in enumerate(chips):
            sheet[number // self.columns, :height, number % self.columns, :width] = chip
        return sheet.reshape(rows * (height + _GAP), self.columns * (width + _GAP))[:-_GAP, :-_GAP]
