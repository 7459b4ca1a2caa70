"""The service's fixed limits, named once (docs/contract.md §5.1); the emulator enforces a copy of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

MAX_REQUEST_BYTES: Final = 50_331_648
"""Ceiling for one pixel request, counted as width × height × Σ over bands of (itemsize + 1 mask byte); equality passes."""

MAX_REQUEST_SIDE: Final = 32_768
"""Ceiling for width and for height of a request, in pixels."""

MAX_REQUEST_BANDS: Final = 1_024
"""Ceiling for the bands of one request."""


MAX_COMPUTED_VALUES: Final = 10_485_760
"""Numbers (pixels × bands, masks included) of one computed request: the service was seen to refuse outputs of more than
80 MiB in numbers of its own, of some 8 bytes each, whatever types are asked for."""


def counted_bytes(width: int, height: int, dtypes: Iterable[np.dtype[np.generic]]) -> int:
    """Return the bytes that the service counts against `MAX_REQUEST_BYTES`."""
    return width * height * sum(dtype.itemsize + 1 for dtype in dtypes)


def fits(width: int, height: int, dtypes: tuple[np.dtype[np.generic], ...], depth: int = 0) -> bool:
    """Return whether one request may ask for so many pixels of bands of these types.

    Args:
        width: columns.
        height: rows.
        dtypes: types of the bands.
        depth: images that the service holds of each pixel to compute it: values that go in count as those that come out; 0
            where pixels are read.
    """
    return (
        len(dtypes) <= MAX_REQUEST_BANDS
        and max(width, height) <= MAX_REQUEST_SIDE
        and counted_bytes(width, height, dtypes) <= MAX_REQUEST_BYTES
        and width * height * len(dtypes) * depth <= MAX_COMPUTED_VALUES
    )
