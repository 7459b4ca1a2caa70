"""Pixels as a pure function of image, band, column and row: the emulator's land.

With the nodes n, fields f and hashes of `noise.py`, pixel (c, r) with i, x = c // 32, c mod 32 and j, y = r // 32, r mod 32 is

    across(j) = n(i, j) + ((n(i + 1, j) - n(i, j)) · x + 16) // 32
    slope     = (across(j + 1) - across(j) + 16) // 32
    land      = 4 · (32 + across(j) + f + slope · y)
    column    = 4 · (hash(s, c, COLUMN_SALT) >> 27) + (c + s) mod 4         s = mix(image ^ CRC-32 of the band id)
    row       = 4 · (hash(image, r, ROW_SALT) >> 27) + 2 · (r mod 2)
    v         = (land + column) xor row                                     128 ≤ v < 8192

Bands of reflectance (GRAINY) have noise in their low bits too, as real scenes do, and compress accordingly. Each row runs
through 65,536 values of its band, from a place drawn for the row:

    k         = (hash(image, r, GRAIN_SALT) + c) mod 65536
    h         = hash(CRC-32 of the band id, k, GRAIN_SALT)
    w         = v + 4 · (h mod 32 + h // 256 mod 32)
    v         = w xor (w // 16 mod 4)

The last two bits of v make every pixel differ from its eight neighbours; the last step only exchanges values, so that they
still do. The hashes expose shifts, exchanged tiles and exchanged bands. ENCODINGS turn v into the band's type. Landforms,
origins, steps, swaths and tones stand where the images are made (`sentinel2.py`, `landsat.py`, `sentinel1.py`, `gridded.py`,
`synthetic.py`).

The columns' part is made once per 32 rows, so that a pixel costs one multiplication, one addition and one exclusive or
over long contiguous rows, in 16-bit arithmetic, written straight into the answer's buffer with the bands interleaved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from earthengine_emulator.catalogue.model import Band, Pixels, Valid
from earthengine_emulator.data.noise import (
    CELL,
    GRAINS,
    GRAINY,
    arable,
    crops,
    grain_starts,
    grains,
    hash_array,
    mix_array,
    nodes,
    text_seed,
)

Words = npt.NDArray[np.uint16]

COLUMN_SALT: Final = 0x434F4C
ROW_SALT: Final = 0x524F57
FLOOR: Final = 32
"""Quarter values below all land: a valid pixel is never 0, whatever the textures do."""


def _byte(v: Words) -> Pixels:
    return ((v >> 7 << 2) | (v & 3)).astype(np.uint8)


ENCODINGS: Final[Mapping[str, Callable[[Words], Pixels]]] = {
    "u1": _byte,
    "i1": lambda v: (_byte(v).astype(np.int16) - 128).astype(np.int8),
    "u2": lambda v: v,
    "i2": lambda v: (v - np.uint16(2000)).view(np.int16),
    "u4": lambda v: v.astype(np.uint32) * np.uint32(65537),
    "i4": lambda v: v.astype(np.int32) * np.int32(1000) - np.int32(2_000_000),
    "i8": lambda v: v.astype(np.float64) * 1_000_003 - 2.0**34,
    "f4": lambda v: v.astype(np.float32) * np.float32(0.125) - np.float32(100),
    "f8": lambda v: v.astype(np.float64) / 10_000,
    "reflectance": lambda v: v * np.uint16(4) + np.uint16(7000),
    "heat": lambda v: v + np.uint16(40_000),
    "kelvin": lambda v: v.astype(np.float32) * np.float32(0.015625) + np.float32(220),
    "rain": lambda v: (
        (np.maximum(v, np.uint16(1600)) - np.uint16(1600)).astype(np.float32) / np.float32(200_000)
    ),
    "pascal": lambda v: v.astype(np.float32) * np.float32(8) + np.float32(70_000),
    "decibel": lambda v: v.astype(np.float64) / 256 - 26,
    "wind": lambda v: v.astype(np.float32) * np.float32(0.00390625) - np.float32(8),
}
"""From the formula's 16-bit value to the band's type; all but `f8` and `rain` are exact, and those are one IEEE division."""


@dataclass(frozen=True, slots=True)
class Swath:
    """The valid pixels of a band: low ≤ a·column + b·row < high."""

    a: int
    b: int
    low: int
    high: int

    def valid(self, column: int, row: int, width: int, height: int) -> Valid | None:
        """Return validity (height, width) of a window; None where all of it is valid."""
        columns = np.arange(column, column + width, dtype=np.int64)
        rows = np.arange(row, row + height, dtype=np.int64)
        place = self.a * columns[None, :] + self.b * rows[:, None]
        mask: Valid = (place >= self.low) & (place < self.high)
        return None if mask.all() else mask


@dataclass(frozen=True)
class Land:
    """The formula for one image."""

    name: str
    """Asset name: the seed of texture and fields."""
    bands: tuple[Band, ...]
    kinds: tuple[str, ...]
    """Key of ENCODINGS for each band."""
    steps: tuple[int, ...]
    """Landform units per pixel for each band."""
    place: str
    """The landform's name: images of one place show the same land."""
    origin: tuple[int, int] = (0, 0)
    """Landform column and row of pixel (0, 0)."""
    swaths: Mapping[int, Swath] | None = None
    """Band index → valid part, for bands that have masked pixels."""
    tones: tuple[str, ...] | None = None
    """The band id by which the formula knows each band, where that is not its own."""

    def tone(self, band: int) -> str:
        """Return the band id by which the formula knows a band."""
        return self.tones[band] if self.tones else self.bands[band].id

    def interleaves(self, bands: tuple[int, ...]) -> bool:
        """Return whether the bands share lattice and encoding and have no mask, so that one pass can write them all."""
        first = bands[0]
        return all(
            self.bands[b].lattice is self.bands[first].lattice and self.kinds[b] == self.kinds[first]
            for b in bands
        ) and not (self.swaths and any(b in self.swaths for b in bands))

    def alike(self, band: int) -> tuple[object, ...] | None:
        """Return what bands of several images have in common that one pass can make; None for a band with a mask."""
        if self.swaths and band in self.swaths:
            return None
        return self.place, self.origin, self.steps[band], self.kinds[band], self.bands[band].lattice

    def together(self, bands: Sequence[tuple[Any, int]], window: tuple[int, int, int, int]) -> Pixels:
        """Return pixels (height, width, bands) of a window of bands, of this image and others, that are `alike`."""
        own = [(getattr(one, "land", one), band) for one, band in bands]
        out = np.empty((window[3], window[2] * len(own)), own[0][0].bands[own[0][1]].type.dtype)
        Rows(own, *window).write(0, out)
        return out.reshape(window[3], window[2], len(own))

    def prepare(self, bands: tuple[int, ...], column: int, row: int, width: int, height: int) -> Rows:
        """Return a writer for the rows of a window; `bands` must satisfy `interleaves` (swaths apart)."""
        return Rows([(self, band) for band in bands], column, row, width, height)

    def read(self, band: int, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of one band's window and their validity."""
        out = np.empty((height, width), self.bands[band].type.dtype)
        self.prepare((band,), column, row, width, height).write(0, out)
        swath = (self.swaths or {}).get(band)
        return out, swath.valid(column, row, width, height) if swath else None


class Rows:
    """The rows of one window: everything that does not change within 32 rows, ready to be combined."""

    def __init__(
        self, bands: Sequence[tuple[Land, int]], column: int, row: int, width: int, height: int
    ) -> None:
        """Prepare bands that differ in image and tone alone.

        Args:
            bands: image and band of each.
            column: first column of the window.
            row: its first row.
            width: its columns.
            height: its rows.
        """
        land, first = bands[0]
        count, step, lattice = len(bands), land.steps[first], land.bands[first].lattice
        i0, i1 = column // CELL, (column + width - 1) // CELL + 1
        j0, j1 = row // CELL, (row + height - 1) // CELL + 1
        place, size = text_seed(land.place), (-(-lattice.width // CELL), -(-lattice.height // CELL))
        tones = tuple(one.tone(band) for one, band in bands)
        images = np.array([text_seed(one.name) for one, _ in bands], np.uint32)
        corners, cells = np.s_[j0 : j1 + 1, i0 : i1 + 1], (slice(j0, j1), slice(i0, i1))
        of = {tone: nodes(place, land.origin, step, size, tone)[corners] for tone in dict.fromkeys(tones)}
        node = np.stack([of[tone] for tone in tones], axis=-1)
        farmed = arable(place, land.origin, step, size)[cells]
        field = np.where(farmed[..., None], crops(images, step, tones, cells), 0).astype(np.int32)
        texture = _texture(images, tones, column, width).reshape(-1)

        inside = slice((column - i0 * CELL) * count, (column - i0 * CELL + width) * count)
        weight = np.repeat(np.tile(np.arange(CELL, dtype=np.int32), i1 - i0), count)[inside]

        def spread(per_cell: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
            """Return each cell's value for all of its columns, bands innermost."""
            return np.repeat(per_cell, CELL, axis=1).reshape(len(per_cell), -1)[:, inside]

        across = spread(node[:, 1:] - node[:, :-1]) * weight
        across += 16
        across >>= 5
        across += spread(node[:, :-1])
        slope = across[1:] - across[:-1]
        slope += 16
        slope >>= 5
        slope <<= 2
        base = across[:-1] + spread(field)
        base += FLOOR
        base <<= 2
        base += texture
        self._slope = slope.astype(np.uint16)
        self._base = base.astype(np.uint16)
        self._rows: Words
        self._grain: _Grain | _Grains | None
        if (images == images[0]).all():
            self._rows = _row_texture(int(images[0]), row, height)
            self._grain = _Grain.of(tones, int(images[0]), column, row, width, height)
        else:
            self._rows = np.tile(_row_texture(images, row, height), width)
            self._grain = _Grains(tones, images, (column, row, width, height))
        self._row = row
        self._first_cell = j0
        self._encode = ENCODINGS[land.kinds[first]]
        self._direct = land.kinds[first] == "u2"

    def write(self, first: int, out: Pixels) -> None:
        """Fill `out` (rows, width · bands), in the delivered dtype, with rows `first`… of the window."""
        done = 0
        while done < len(out):
            row = self._row + first + done
            cell, offset = divmod(row, CELL)
            count = min(CELL - offset, len(out) - done)
            part = out[done : done + count]
            words = part if self._direct else np.empty(part.shape, np.uint16)
            np.multiply(_OFFSETS[offset : offset + count], self._slope[cell - self._first_cell], out=words)
            words += self._base[cell - self._first_cell]
            words ^= self._rows[first + done : first + done + count]
            if self._grain is not None:
                self._grain.add(words, first + done)
            if not self._direct:
                part[...] = self._encode(words)
            done += count


class _Grains:
    """The noise of a window's rows of bands of several images: as `_Grain`, with a place of its own for each image."""

    def __init__(
        self, bands: tuple[str, ...], images: npt.NDArray[np.uint32], window: tuple[int, int, int, int]
    ) -> None:
        column, row, width, height = window
        kinds = tuple(dict.fromkeys(bands))
        self._table = np.stack([grains(band, GRAINS) for band in kinds]).reshape(-1)
        self._of = np.array([kinds.index(band) * GRAINS for band in bands])
        self._starts = grain_starts(images, row, height) + column
        self._columns = np.arange(width)[:, None]
        self._mixed = np.tile(np.array([3 if band in GRAINY else 0 for band in bands], np.uint16), width)

    def add(self, words: Words, first: int) -> None:
        """Add the noise to rows `first`… of the window, in place."""
        starts = self._starts[first : first + len(words), None, :]
        words += self._table[(starts + self._columns) % GRAINS + self._of].reshape(words.shape)
        high = words >> np.uint16(4)
        high &= self._mixed
        words ^= high


class _Grain:
    """The noise of a window's rows, its bands interleaved.

    Each row adds a run of its bands' noise, which begins at another place for each row. The two lowest bits, by which
    neighbours differ, are then mixed with two bits of the noise: a permutation of the values, so that neighbours still
    differ.
    """

    def __init__(
        self, flat: Words, count: int, mixed: Words, starts: npt.NDArray[np.int64], width: int
    ) -> None:
        self._runs = np.lib.stride_tricks.sliding_window_view(flat, width * count)[::count]
        self._mixed = mixed
        self._starts = starts

    @classmethod
    def of(
        cls, bands: tuple[str, ...], image: int, column: int, row: int, width: int, height: int
    ) -> _Grain | None:
        """Return the noise of bands in a window; None where none of them has any."""
        if not any(band in GRAINY for band in bands):
            return None
        starts = (grain_starts(image, row, height) + column) % GRAINS
        mixed = np.tile(np.array([3 if band in GRAINY else 0 for band in bands], np.uint16), width)
        return cls(_interleaved_grains(bands, GRAINS + width), len(bands), mixed, starts, width)

    def add(self, words: Words, first: int) -> None:
        """Add the noise to rows `first`… of the window, in place."""
        words += self._runs[self._starts[first : first + len(words)]]
        high = words >> np.uint16(4)
        high &= self._mixed
        words ^= high


@lru_cache(maxsize=16)
def _interleaved_grains(bands: tuple[str, ...], length: int) -> Words:
    """Return the noise of several bands side by side."""
    return np.stack([grains(band, length) for band in bands], axis=-1).reshape(-1)


_OFFSETS: Final[Words] = np.arange(CELL, dtype=np.uint16)[:, None]


def _texture(
    images: npt.NDArray[np.uint32], bands: Sequence[str], column: int, width: int
) -> npt.NDArray[np.int32]:
    """Return texture (width, bands) of the columns from `column` on, each band's of its image."""
    seeds = mix_array(images ^ np.array([text_seed(band) for band in bands], np.uint32))
    columns = np.arange(column, column + width, dtype=np.int64)[:, None]
    texture = (hash_array(seeds, columns, COLUMN_SALT) >> np.uint32(27)).astype(np.int32) * 4
    texture += ((columns + (seeds & np.uint32(3))) & 3).astype(np.int32)
    return texture


def _row_texture(image: int | npt.NDArray[np.uint32], row: int, height: int) -> Words:
    """Return texture (height, 1) of the rows from `row` on, shared by all bands of an image; of several (height, images)."""
    rows = np.arange(row, row + height, dtype=np.int64)[:, None]
    texture: Words = (hash_array(image, rows, ROW_SALT) >> np.uint32(27)).astype(np.uint16) * np.uint16(4)
    texture += ((rows & 1) << 1).astype(np.uint16)
    return texture


@dataclass(frozen=True)
class Arithmetic:
    """The `grid` image of docs/contract.md §10: value(b, r, c) = (31·r + 17·c + 1009·b) mod 65521, b counted from 0."""

    def read(self, band: int, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of one band's window; all valid."""
        columns = 17 * np.arange(column, column + width, dtype=np.int64)
        rows = 31 * np.arange(row, row + height, dtype=np.int64) + 1009 * band
        return ((rows[:, None] + columns[None, :]) % 65521).astype(np.uint16), None
