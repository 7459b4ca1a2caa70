"""The fixed limits of docs/contract.md §5.1, in the order in which the emulator checks them: sides, bands, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from earthengine_emulator.api import errors
from earthengine_emulator.api.settings import Settings

VALUE_BYTES: Final = 8
"""Bytes that a computed value counts, whatever type it is delivered in (docs/contract.md §5.1)."""


def check_computed(settings: Settings, width: int, height: int, bands: int) -> None:
    """Refuse a request whose computed values take too much memory; equality is allowed.

    Raises:
        ApiError: 400 with the text of E32.
    """
    counted = width * height * bands * VALUE_BYTES
    if counted > settings.limit_computed_bytes:
        raise errors.computation_too_large(bands, width * height, counted, settings.limit_computed_bytes)


def check_pixels(settings: Settings, width: int, height: int, dtypes: Sequence[np.dtype[Any]]) -> None:
    """Refuse a request for pixels that asks for too much; equality is allowed.

    Raises:
        ApiError: 400 with the text of E1 or E2, or one that names the number of bands.
    """
    side, bands, most = settings.limit_side, settings.limit_bands, settings.limit_pixel_bytes
    if width > side or height > side:
        raise errors.dimensions_too_large(width, height, side)
    if len(dtypes) > bands:
        raise errors.invalid_argument(
            f"Number of bands ({len(dtypes)}) must be less than or equal to {bands}."
        )
    counted = width * height * sum(dtype.itemsize + 1 for dtype in dtypes)
    if counted > most:
        raise errors.request_too_large(counted, most)
