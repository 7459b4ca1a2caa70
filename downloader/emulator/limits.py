"""The fixed limits of contract §5.1, in the order in which the emulator checks them: sides, bands, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import errors


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for; equality is allowed."""

    pixel_bytes: int = 48 * 2**20
    """Width × height × sum over bands of (bytes of the type + 1 mask byte)."""
    side: int = 32_768
    """Columns, and rows."""
    bands: int = 1_024
    payload_bytes: int = 10 * 2**20
    """Length of a request body."""
    page_full: int = 1_000
    """Entries per page with view FULL."""
    page_basic: int = 10_000
    """Entries per page with view BASIC."""

    def check(self, width: int, height: int, dtypes: Sequence[np.dtype[Any]]) -> None:
        """Refuse a request that asks for too much.

        Raises:
            ApiError: 400 with the text of E1 or E2, or one that names the number of bands.
        """
        if width > self.side or height > self.side:
            raise errors.dimensions_too_large(width, height, self.side)
        if len(dtypes) > self.bands:
            raise errors.invalid_argument(
                f"Number of bands ({len(dtypes)}) must be less than or equal to {self.bands}."
            )
        counted = width * height * sum(dtype.itemsize + 1 for dtype in dtypes)
        if counted > self.pixel_bytes:
            raise errors.request_too_large(counted, self.pixel_bytes)
