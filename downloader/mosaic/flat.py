"""Views of arrays of samples with steps in which all chips lie along one axis, as in the plan."""

from __future__ import annotations

from typing import Any

import numpy as np

from downloader.errors import RefusedError
from downloader.planning import Tiling


class FlatArray:
    """View of a Zarr array (sample, step, …) as (chip, …). Other attributes are those of the array."""

    def __init__(self, array: Any) -> None:  # noqa: ANN401  # zarr's arrays are loosely typed
        self._array = array
        self._steps = array.shape[1]
        self.shape = (array.shape[0] * self._steps, *array.shape[2:])
        self.chunks = (array.chunks[0] * array.chunks[1], *array.chunks[2:])
        self.ndim = array.ndim - 1

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as above
        return getattr(self._array, name)

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401  # as numpy's
        """Return the values of a chip, or of a run of them: the first index is a number or a slice without a step."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            first = slice(None)
        if not isinstance(first, slice):
            return self._array[(*divmod(int(first), self._steps), *rest)]
        begin, end, _ = first.indices(self.shape[0])
        samples = slice(begin // self._steps, -(-end // self._steps))
        read = np.asarray(self._array[(samples, slice(None), *rest)])
        chips = read.reshape(-1, *read.shape[2:])
        skipped = samples.start * self._steps
        return chips[begin - skipped : max(begin, end) - skipped]


def flat(array: Any) -> Any:  # noqa: ANN401  # as above
    """Return an array with one leading axis: itself, or (sample, step, …) as (chip, …)."""
    names = tuple(array.metadata.dimension_names or ())
    return FlatArray(array) if names[:2] == ("sample", "step") else array


def check_steps(array: Any, tiling: Tiling, path: str) -> None:  # noqa: ANN401  # as above
    """Raise RefusedError for an array with fewer steps than its mosaic, whose chips would be numbered differently."""
    if tiling.steps and array.shape[1] != tiling.steps:
        raise RefusedError(f"{path}: was left while its samples were extended; run its job again")
