"""Tags of a TIFF file, as far as they say what its pixels are; read without a library for rasters."""

from __future__ import annotations

import struct
from typing import Final

_TYPES: Final = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d", 16: "Q"}
"""Type → its letter, of those that are read."""


def read_tags(data: bytes) -> dict[int, tuple[float, ...] | str]:
    """Tag → its values, a text for ASCII ones, of the first image of a classic TIFF.

    Raises:
        ValueError: it is none.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise ValueError("no classic TIFF")
    found: dict[int, tuple[float, ...] | str] = {}
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for number in range(count):
            at = start + 2 + 12 * number
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
            if kind not in _TYPES:
                continue
            form = f"{order}{length}{_TYPES[kind]}"
            size = struct.calcsize(form)
            offset = at + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, at + 8)[0]
            values = struct.unpack_from(form, data, offset)
            found[tag] = values[0].rstrip(b"\0").decode("ascii", "replace") if kind == 2 else values
    except (struct.error, MemoryError) as error:
        raise ValueError(f"a damaged TIFF: {error}") from None
    return found
