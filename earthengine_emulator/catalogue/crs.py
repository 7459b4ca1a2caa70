"""Coordinate systems: what the catalogue and requests may name, and points between them."""

from __future__ import annotations

import re
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api.errors import invalid_argument

if TYPE_CHECKING:
    from pyproj import CRS, Transformer

MODIS_SINUSOIDAL: Final = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs +type=crs"
"""SR-ORG:6974, MODIS's own projection, which no EPSG code names."""
_WELL_KNOWN: Final = {"SR-ORG:6974": MODIS_SINUSOIDAL, "SR-ORG:6842": MODIS_SINUSOIDAL}
_CODE: Final = re.compile(r"^[A-Za-z][A-Za-z-]*:[0-9A-Za-z]+$")

Points = npt.NDArray[np.float64]
_LOCK: Final = Lock()
"""Transformers are not promised to be safe to share between threads."""


@lru_cache(maxsize=256)
def parse(text: str) -> CRS:
    """Return the CRS of a code (`EPSG:32610`, `SR-ORG:6974`) or of WKT; a 400 when it is neither."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        if text.upper() in _WELL_KNOWN:
            return CRS.from_user_input(_WELL_KNOWN[text.upper()])
        if _CODE.match(text) or "[" in text:
            return CRS.from_user_input(text)
    except CRSError:
        pass
    raise invalid_argument(f"The CRS of a map projection could not be parsed: '{text}'.")


@lru_cache(maxsize=256)
def same(one: str, other: str) -> bool:
    """Return whether two CRS texts name the same system."""
    if one == other or (one.upper() == other.upper() and "[" not in one):
        return True
    return bool(parse(one).equals(parse(other), ignore_axis_order=True))


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """Return the transformer from one CRS to another, x (or longitude) before y (or latitude) always."""
    from pyproj import Transformer

    return Transformer.from_crs(parse(source), parse(target), always_xy=True)


def convert(source: str, target: str, x: Points, y: Points) -> tuple[Points, Points]:
    """Return points of `source` in `target`; those that have no place there become infinite."""
    if same(source, target):
        return x, y
    with _LOCK:
        result: tuple[Any, Any] = transformer(source, target).transform(x, y)
    return np.asarray(result[0], np.float64), np.asarray(result[1], np.float64)
