"""The NPY container, byte for byte as docs/contract.md §4.3 has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

MAGIC: Final = b"\x93NUMPY\x01\x00"
ALIGNMENT: Final = 64
GROWTH_DIGITS: Final = 21
"""numpy's writer leaves room for this many digits of the first dimension, so that a file can grow in place."""


def structure(bands: Sequence[tuple[str, np.dtype[Any]]]) -> np.dtype[Any]:
    """Return the packed element type: one field per band, in the order asked."""
    return np.dtype([(name, dtype) for name, dtype in bands])


def header(
    bands: Sequence[tuple[str, np.dtype[Any]]], width: int, height: int, pad_to: int = ALIGNMENT
) -> bytes:
    """Return magic, version 1.0, length and dict, padded so that the pixels start at a multiple of `pad_to` bytes."""
    descr = ", ".join(f"({name!r}, {dtype.str!r})" for name, dtype in bands)
    text = f"{{'descr': [{descr}], 'fortran_order': False, 'shape': ({height}, {width}), }}"
    text += " " * (GROWTH_DIGITS - len(str(height)))
    fixed = len(MAGIC) + 2
    length = -(-(fixed + len(text) + 1) // pad_to) * pad_to - fixed
    if length > 0xFFFF:
        raise ValueError(f"an NPY 1.0 header of {length} bytes does not fit its two-byte length")
    return MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode("latin-1") + b"\n"
