"""Names of arrays: a band's own name where that is safe in a path and not taken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

RESERVED: Final = frozenset(
    {"x", "y", "time", "sample", "image_id", "spatial_ref", "coverage", "overviews", "zarr.json"}
)
"""Names that the mosaic itself uses in a group."""

_LONGEST: Final = 120
"""Longest name in bytes: file systems take 255, and a temporary file's suffix needs a few."""


def array_names(
    bands: Iterable[str], known: Mapping[str, str] | None = None, taken: Iterable[str] = ()
) -> dict[str, str]:
    """Return band id → array name; the names differ also on a file system that ignores case.

    Args:
        bands: ids as the service spells them.
        known: names in an existing mosaic; they stay.
        taken: names of other arrays.
    """
    names = dict(known or {})
    taken = {name.casefold() for name in (*names.values(), *taken)} | RESERVED
    bands = [band for band in bands if band not in names]
    # A band that can keep its own name keeps it, whichever comes before it in the list.
    for band in sorted(
        bands, key=lambda band: _safe(band) != _composed(band) or _composed(band).casefold() in taken
    ):
        name = _safe(band)
        if name != _composed(band):
            name += "_"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[band] = name
    return names


def _composed(band: str) -> str:
    """Return a name with composed letters, as some file systems decompose them and others distinguish both forms."""
    return unicodedata.normalize("NFC", band)


def is_safe(name: str) -> bool:
    """Return whether a name may become a part of a path: letters of any script with their marks, digits, `_`, `.`, `-`."""
    return bool(name) and not name.startswith((".", "__")) and all(map(_is_plain, name))


def _is_plain(sign: str) -> bool:
    return sign.isalnum() or sign in "_.-" or unicodedata.category(sign).startswith("M")


def _safe(band: str) -> str:
    name = "".join(sign if _is_plain(sign) else "_" for sign in _composed(band))
    name = name.encode()[:_LONGEST].decode(errors="ignore")
    name = re.sub(r"^(\.|__)[._]*", "", name)
    return name if name.strip("_") or (name and name == band) else "band"
