"""Names of arrays: a band's own name where that is safe in a path and not taken."""

from __future__ import annotations

import re
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
    for band in sorted(bands, key=lambda band: _safe(band) != band or band.casefold() in taken):
        name = _safe(band)
        if name != band:
            name += "_"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[band] = name
    return names


def _safe(band: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", band)[:_LONGEST]
    name = re.sub(r"^(\.|__)[._]*", "", name)
    return name if name.strip("_") or (name and name == band) else "band"
