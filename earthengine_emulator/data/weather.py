"""Clouds over the land: quality bands as a pure function of an image's index.

With E, mix and hash of `noise.py`: the seed ω is the CRC-32 of the image's `system:index`, the threshold
THRESHOLDS[mix(ω) mod 4]. With U = (X₀ + step · c) // 16, V = (Y₀ + step · r) // 16, and E of the place with the
seed ω, d = threshold - E(64 · U, 64 · V), e is the same at (U + 3, V - 2), and g = hash(ω ^ CRC-32 of the band id, c, r):

- `cs`, `cs_cdf` = (clamp(5000 + d // 2, 0, 8900) + g mod 1024) / 10000;
- `QA_PIXEL` and `StateQA` are the first that holds: d ≤ -1500 cloud, d ≤ 0 dilated cloud, e ≤ -1500 shadow, d ≤ 600 cirrus, else clear;
- `QA_RADSAT` is 8 where g mod 256 = 0, else 0.

Clouds change nothing in the other bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from earthengine_emulator.catalogue.model import Pixels, Valid
from earthengine_emulator.data.land import Land, Rows
from earthengine_emulator.data.noise import Ints, elevation, hash_array, mix, text_seed

THRESHOLDS: Final = (65_536, 38_000, 34_000, 30_000)
"""Cloud water from which a pixel is cloudy, in the four kinds of weather: clear, some cloud, half, most."""
_CELL: Final = 16
"""Landform units across which a cloud is the same."""
_SHADOW: Final = (3, -2)
"""Cells to the east and south at which the cloud stands that throws a shadow here."""

Codes = tuple[int, int, int, int, int]
"""QA_PIXEL of clear land, dilated cloud, cloud, shadow and cirrus."""
NEW_CODES: Final[Codes] = (21824, 21826, 22280, 23888, 54596)
OLD_CODES: Final[Codes] = (5440, 5442, 5896, 7440, 5440)
"""Landsat 5 sees no cirrus."""
MODIS_CODES: Final[Codes] = (8, 10, 1033, 12, 776)
"""StateQA: land that is clear, mixed, cloudy by both tests, shadowed, under high cirrus."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The clouds of one image."""

    index: str
    """Its `system:index`, which images of several collections may share."""
    origin: tuple[int, int]
    """Landform column and row of pixel (0, 0)."""
    step: int
    """Landform units per pixel."""

    def clearness(self, window: tuple[int, int, int, int], shift: tuple[int, int] = (0, 0)) -> Ints:
        """Return by how much the cloud water of pixels (height, width) stays below the threshold."""
        column, row, width, height = window
        seed = text_seed(self.index)
        x = (self.origin[0] + self.step * np.arange(column, column + width, dtype=np.int64)) // _CELL
        y = (self.origin[1] + self.step * np.arange(row, row + height, dtype=np.int64)) // _CELL
        cells_x, cells_y = np.arange(x[0], x[-1] + 1), np.arange(y[0], y[-1] + 1)
        water = elevation(seed, 64 * (cells_x + shift[0]), 64 * (cells_y + shift[1]))
        clear: Ints = THRESHOLDS[mix(seed) % 4] - water[np.ix_(y - y[0], x - x[0])]
        return clear

    def drawn(self, band: str, window: tuple[int, int, int, int]) -> npt.NDArray[np.int64]:
        """Return a hash of each pixel (height, width)."""
        column, row, width, height = window
        columns, rows = np.arange(column, column + width), np.arange(row, row + height)
        seed = text_seed(self.index) ^ text_seed(band)
        return hash_array(seed, columns[None, :], rows[:, None]).astype(np.int64)


Formula = Callable[[Weather, tuple[int, int, int, int]], npt.NDArray[Any]]
"""Values (height, width) of a window: column, row, width, height."""


def score(band: str) -> Formula:
    """Return the formula of a band of Cloud Score+: from 0, cloudy, to 1."""

    def formula(weather: Weather, window: tuple[int, int, int, int]) -> npt.NDArray[np.float64]:
        values = np.clip(5000 + weather.clearness(window) // 2, 0, 8900)
        return (values + weather.drawn(band, window) % 1024) / 10_000

    return formula


def quality(codes: Codes) -> Formula:
    """Return the formula of QA_PIXEL or StateQA."""
    clear, dilated, cloud, shadow, cirrus = codes

    def formula(weather: Weather, window: tuple[int, int, int, int]) -> Ints:
        here = weather.clearness(window)
        there = weather.clearness(window, _SHADOW)
        conditions = [here <= -1500, here <= 0, there <= -1500, here <= 600]
        return np.select(conditions, [cloud, dilated, shadow, cirrus], clear)

    return formula


def saturation(weather: Weather, window: tuple[int, int, int, int]) -> Ints:
    """Return QA_RADSAT: bit 3 in one of 256 pixels."""
    return np.where(weather.drawn("QA_RADSAT", window) % 256 == 0, 8, 0)


@dataclass(frozen=True)
class Sky:
    """An image of the land, some of whose bands tell of the clouds over it."""

    land: Land
    weather: Weather
    formulas: Mapping[int, Formula]
    """Band index → formula; the others show the land."""

    def interleaves(self, bands: tuple[int, ...]) -> bool:
        """Return whether one pass can write all of the bands."""
        return not any(b in self.formulas for b in bands) and self.land.interleaves(bands)

    def alike(self, band: int) -> tuple[object, ...] | None:
        """Return what bands of several images have in common that one pass can make; None for one that tells of clouds."""
        return None if band in self.formulas else self.land.alike(band)

    def together(self, bands: Sequence[tuple[Any, int]], window: tuple[int, int, int, int]) -> Pixels:
        """Return pixels (height, width, bands) of a window of bands, of this image and others, that are `alike`."""
        return self.land.together(bands, window)

    def prepare(self, bands: tuple[int, ...], column: int, row: int, width: int, height: int) -> Rows:
        """Return a writer for the rows of a window of bands that `interleaves`."""
        return self.land.prepare(bands, column, row, width, height)

    def read(self, band: int, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of one band's window and their validity."""
        if band not in self.formulas:
            return self.land.read(band, column, row, width, height)
        values = self.formulas[band](self.weather, (column, row, width, height))
        swath = (self.land.swaths or {}).get(band)
        valid = swath.valid(column, row, width, height) if swath else None
        return values.astype(self.land.bands[band].type.dtype), valid
