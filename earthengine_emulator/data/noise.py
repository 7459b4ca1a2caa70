"""Integer value noise, spectra along the elevation, and the nodes between which pixels are interpolated.

All arithmetic is on integers, so the pixels are the same on every machine. `//` rounds down, `mod` is never negative,
hashes are taken modulo 2³². With hash(s, a, b) = mix(s ^ mix(a ^ mix(b))), and as seeds the CRC-32 of names (`image` of
the asset's full name, `place` of the landform's):

Elevation E(X, Y), 0…65535, at landform column X and row Y: the sum over OCTAVES p of weight · noise, divided by 256. An
octave has the seed mix(place + p) and cells of 2ᵖ. At their corners noise is hash(seed, X // 2ᵖ, Y // 2ᵖ) >> 16. Between
them, with t = (X mod 2ᵖ) · 256 // 2ᵖ and w = t² · (768 - 2t) // 65536, likewise u for Y: top = left · (256 - w) +
right · w, bottom likewise, noise = (top · (256 - u) + bottom · u) // 65536.

Node (i, j) of a band is at X = X₀ + 32 · step · i, Y = Y₀ + 32 · step · j, where (X₀, Y₀) is the place of pixel (0, 0) and
`step` the landform units per pixel. Its value n is linear, rounded down, between the band's numbers in SPECTRA at the
elevations KNOTS. From SHORE up the slope is shaded: n += n · clamp(E(X, Y) - E(X + 64, Y + 64), -1200, 1200) // 4096.

A cell (i, j) whose four nodes all have SHORE ≤ E < FIELDS_UP_TO is a field: with h = hash(image, i · step, j · step),
f = ((h mod 256) - 128) · strength // 128 + ((h // 256 mod 256) - 128) · 20 // 128. Elsewhere f = 0.

These slow, nonlinear parts are evaluated only at nodes 32 pixels apart, and kept for each band and place; `land.py` makes
the pixels between the nodes. `tests/oracle.py` implements the same text in plain Python.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

CELL: Final = 32
"""Pixels from node to node, along both axes."""
OCTAVES: Final = ((12, 128), (11, 64), (10, 36), (9, 16), (8, 8), (7, 4))
"""(log2 of the noise cell in landform units, weight in 1/256)."""
KNOTS: Final = (0, 25500, 26500, 31000, 37000, 43000, 50000, 65536)
"""Elevations between which a spectrum is linear: deep and shallow water, shore, lowland, forest, upland, rock, snow."""
SHORE: Final = KNOTS[2]
FIELDS_UP_TO: Final = 33000
"""Fields lie where all four corners of a cell are at or above SHORE and below this elevation."""
SHADE_STEP: Final = 64
"""Landform units to the south-east at which the elevation is compared for the shade."""
SHADE_LIMIT: Final = 1200

SPECTRA: Final[Mapping[str, tuple[tuple[int, ...], int]]] = {
    "B1": ((150, 210, 330, 170, 100, 190, 360, 850), -8),
    "B2": ((125, 200, 325, 162, 88, 200, 375, 875), -15),
    "B3": ((88, 188, 375, 225, 138, 250, 400, 875), -10),
    "B4": ((50, 125, 450, 188, 88, 300, 438, 862), -40),
    "B5": ((44, 110, 480, 300, 180, 340, 450, 850), -20),
    "B6": ((36, 90, 520, 560, 480, 450, 480, 840), 40),
    "B7": ((32, 80, 550, 650, 580, 500, 500, 830), 60),
    "B8": ((25, 62, 575, 700, 650, 550, 525, 825), 80),
    "B8A": ((25, 60, 590, 720, 670, 560, 530, 820), 80),
    "B9": ((25, 40, 250, 240, 220, 230, 240, 300), 10),
    "B10": ((25, 25, 30, 30, 30, 35, 40, 60), 0),
    "B11": ((25, 40, 800, 560, 420, 650, 700, 150), -40),
    "B12": ((25, 35, 650, 380, 230, 480, 560, 120), -50),
}
"""Band id → (quarter value at each knot, strength of fields); others take OTHER_SPECTRUM."""
GRAINY: Final = frozenset(SPECTRA)
"""Ids of the bands that have noise."""
GRAIN_SPAN: Final = 32
"""Quarter values that each of the two terms of the noise spans."""
GRAINS: Final = 65_536
"""Different values of a band's noise; each row of an image begins at another of them."""
GRAIN_SALT: Final = 0x47524E
OTHER_SPECTRUM: Final = ((100, 175, 400, 250, 200, 350, 500, 800), -20)

MASK: Final = 0xFFFFFFFF


def mix(x: int) -> int:
    """Return a 32-bit hash of a 32-bit integer (two multiplications, three shifts)."""
    x &= MASK
    x ^= x >> 16
    x = x * 0x7FEB352D & MASK
    x ^= x >> 15
    x = x * 0x846CA68B & MASK
    return x ^ x >> 16


def mix_array(x: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return `mix` of every element; it wraps at 32 bits by the element type."""
    x = x ^ x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def hash_array(
    seed: int | npt.NDArray[np.uint32], a: npt.NDArray[Any], b: npt.NDArray[Any] | int
) -> npt.NDArray[np.uint32]:
    """Return mix(seed ^ mix(a ^ mix(b))) over broadcast integer arrays, negative ones taken modulo 2³²."""
    inner = mix_array(np.atleast_1d(np.asarray(b, np.int64)).astype(np.uint32))
    return mix_array(
        mix_array(np.asarray(a, np.int64).astype(np.uint32) ^ inner) ^ np.asarray(seed, np.uint32)
    )


def text_seed(text: str) -> int:
    """Return the 32-bit seed of a name: its CRC-32."""
    return zlib.crc32(text.encode())


def _smooth(x: Ints, p: int) -> Ints:
    """Return weight 0…256 of the far corner, from the position within a noise cell of 2**p units."""
    t = ((x & ((1 << p) - 1)) << 8) >> p
    weight: Ints = (t * t * (768 - 2 * t)) >> 16
    return weight


def _octave(seed: int, x: Ints, y: Ints, p: int) -> Ints:
    """Return value noise 0…65535 at the products of columns x and rows y, shape (rows, columns)."""
    i, j = x >> p, y >> p
    i0, j0 = int(i[0]), int(j[0])
    corners = hash_array(seed, np.arange(i0, int(i[-1]) + 2)[None, :], np.arange(j0, int(j[-1]) + 2)[:, None])
    v = (corners >> np.uint32(16)).astype(np.int64)
    wx = _smooth(x, p)
    across = v[:, i - i0] * (256 - wx) + v[:, i - i0 + 1] * wx
    wy = _smooth(y, p)[:, None]
    result: Ints = (across[j - j0] * (256 - wy) + across[j - j0 + 1] * wy) >> 16
    return result


def elevation(place: int, x: Ints, y: Ints) -> Ints:
    """Return elevation 0…65535 at ascending landform columns x and rows y, shape (rows, columns)."""
    total = np.zeros((len(y), len(x)), np.int64)
    for p, weight in OCTAVES:
        total += weight * _octave(mix(place + p), x, y, p)
    return total >> 8


@lru_cache(maxsize=64)
def _relief(place: int, origin: tuple[int, int], step: int, size: tuple[int, int]) -> tuple[Ints, Ints]:
    """Return elevation at the nodes of a lattice, and how much higher each is than the land to its south-east."""
    x = origin[0] + step * CELL * np.arange(size[0], dtype=np.int64)
    y = origin[1] + step * CELL * np.arange(size[1], dtype=np.int64)
    here = elevation(place, x, y)
    return here, here - elevation(place, x + SHADE_STEP, y + SHADE_STEP)


@lru_cache(maxsize=192)
def nodes(
    place: int, origin: tuple[int, int], step: int, size: tuple[int, int], band: str
) -> npt.NDArray[np.int32]:
    """Return node values (cells down + 1, cells across + 1) of one band, in quarter values; images of one place share them.

    Args:
        place: seed of the landform.
        origin: landform column and row of pixel (0, 0).
        step: landform units per pixel.
        size: cells across and down.
        band: band id, which chooses the spectrum.
    """
    here, relief = _relief(place, origin, step, (size[0] + 1, size[1] + 1))
    curve, _ = SPECTRA.get(band, OTHER_SPECTRUM)
    low = np.searchsorted(np.array(KNOTS[1:-1]), here, side="right")
    foot, span = np.array(KNOTS)[low], np.diff(KNOTS)[low]
    values = np.array(curve)[low] + (np.diff(curve)[low] * (here - foot)) // span
    shade = (values * np.clip(relief, -SHADE_LIMIT, SHADE_LIMIT)) >> 12
    values += np.where(here >= SHORE, shade, 0)
    made: npt.NDArray[np.int32] = values.astype(np.int32)
    return made


@lru_cache(maxsize=64)
def arable(place: int, origin: tuple[int, int], step: int, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return which cells (down, across) are fields. Arguments as of `nodes`."""
    here, _ = _relief(place, origin, step, (size[0] + 1, size[1] + 1))
    low: npt.NDArray[np.bool_] = (here >= SHORE) & (here < FIELDS_UP_TO)
    return low[:-1, :-1] & low[1:, :-1] & low[:-1, 1:] & low[1:, 1:]


def crops(
    images: npt.NDArray[np.uint32], step: int, bands: Sequence[str], cells: tuple[slice, slice]
) -> Ints:
    """Return field offsets (rows, columns, bands) of a rectangle of cells, in quarter values, were all of them fields.

    Args:
        images: by band the seed of its image, which chooses the crops.
        step: landform units per pixel.
        bands: band ids, which choose how strong they are.
        cells: rows and columns of cells.
    """
    strength = np.array([SPECTRA.get(band, OTHER_SPECTRUM)[1] for band in bands])
    down, across = (np.arange(one.start, one.stop) * step for one in cells)
    drawn = hash_array(images, across[None, :, None], down[:, None, None]).astype(np.int64)
    offsets: Ints = (((drawn & 255) - 128) * strength >> 7) + (((drawn >> 8 & 255) - 128) * 20 >> 7)
    return offsets


@lru_cache(maxsize=64)
def grains(band: str, length: int) -> npt.NDArray[np.uint16]:
    """Return the noise of a band, four times a triangular distribution, `length` values that repeat after GRAINS."""
    if band not in GRAINY:
        return np.zeros(length, np.uint16)
    drawn = hash_array(text_seed(band), np.arange(GRAINS), GRAIN_SALT)
    once = 4 * (drawn % np.uint32(GRAIN_SPAN) + (drawn >> np.uint32(8)) % np.uint32(GRAIN_SPAN))
    return np.resize(once.astype(np.uint16), length)


def grain_starts(image: int | npt.NDArray[np.uint32], row: int, height: int) -> npt.NDArray[np.int64]:
    """Return the place in a band's noise at which each row of an image begins; of several images (rows, images)."""
    rows = np.arange(row, row + height, dtype=np.int64)
    if not isinstance(image, int):
        rows = rows[:, None]
    return hash_array(image, rows, GRAIN_SALT).astype(np.int64) % GRAINS
