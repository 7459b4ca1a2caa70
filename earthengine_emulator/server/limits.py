"""The fixed limits of contract §5.1, in the order in which the emulator checks them: sides, bands, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from earthengine_emulator.server import errors
from earthengine_emulator.server.settings import Settings


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
