"""The leading axis: what is fetched for each time or sample, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from downloader.grid import Window
from downloader.planning.tiling import Tiling

__all__ = ["Axis", "Slice", "TileRegion"]

Axis = Literal["", "time", "sample"]
"""The leading axis of every array; empty where arrays are (y, x)."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One index of the leading axis."""

    id: str
    """What it is called along the axis: an image's id, a day, the value of a property, a sample's number."""
    asset: str = ""
    """Full name of the image that `getPixels` reads; empty where an expression is computed."""
    expression: str = ""
    """Serialised expression, canonical JSON, that `computePixels` computes; empty where an asset is read."""
    time_us: int | None = None
    """Microseconds since 1970, UTC; None where there is no time."""
    images: tuple[tuple[str, str], ...] = ()
    """(full name, updateTime) of each image behind it: a change of one is drift."""
    problem: str = ""
    """Why nothing of it can be asked for; empty where it can. Its tiles fail with these words."""
    properties: Mapping[str, object] = field(default_factory=dict, hash=False)
    """What is kept along the axis beside id and time."""


class TileRegion(Protocol):
    """Which tiles a region touches; picklable."""

    def mask(self, tiling: Tiling, layer: int, row: int, column: int) -> int:
        """Bits of the tiles of one shard that the region touches."""
        ...

    def count(self, tiling: Tiling) -> int:
        """Tiles of one slice that the region touches."""
        ...

    def inside(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels of `window` belong to the region, (height, width); None where all do."""
        ...
