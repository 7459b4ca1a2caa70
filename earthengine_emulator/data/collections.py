"""Collections as they come: passes that overlap, with masked borders and a missing band; images in two UTM zones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Land, Swath
from earthengine_emulator.data.synthetic import FOLDER, UPDATE_TIME

_KINDS: Final = {"red": "u2", "nir": "i2", "cloud": "u1"}
_X, _Y, _PIXEL = 560000, 4180000, 20

PASSES: Final = (
    # start, column and row of its corner on the common lattice, orbit, bands, low and high of the valid swath
    ("2020-01-10T18:30:00Z", 0, 0, 44, "red nir cloud", (1200, 5000)),
    ("2020-01-10T18:35:00Z", 300, 200, 44, "red nir cloud", (0, 4600)),
    ("2020-01-15T18:30:00Z", 0, 0, 87, "red nir cloud", None),
    ("2020-01-20T18:30:00Z", 300, 200, 44, "red cloud", None),
    ("2020-01-20T18:35:00Z", -260, 100, 44, "red nir cloud", (900, 9000)),
    ("2020-02-01T23:50:00Z", 0, 0, 87, "red nir cloud", None),
    ("2020-02-02T00:10:00Z", 300, 200, 87, "red nir cloud", None),
)
"""Images of 700 × 600 pixels of 20 m; a pixel (c, r) is valid where low ≤ 8c + 3r < high."""

_OUTLINE: Final = {
    "type": "Polygon",
    "coordinates": [[[-122.4, 37.62], [-122.04, 37.62], [-122.04, 37.78], [-122.4, 37.78], [-122.4, 37.62]]],
}
"""Outline of all of them, in longitude and latitude."""

_ZONES: Final = (
    ("2020-03-01T18:30:00Z", "EPSG:32610", 740010),
    ("2020-03-06T18:20:00Z", "EPSG:32611", 230010),
    ("2020-03-11T18:30:00Z", "EPSG:32610", 740010),
)


def _passes() -> Iterator[Image]:
    for start, column, row, orbit, names, swath in PASSES:
        affine = (_PIXEL, 0, _X + _PIXEL * column, 0, -_PIXEL, _Y - _PIXEL * row)
        lattice = Lattice("EPSG:32610", 700, 600, affine)
        bands = tuple(Band(name, PIXEL_TYPES[_KINDS[name]], lattice) for name in names.split())
        kinds = tuple(_KINDS[band.id] for band in bands)
        name = f"{PUBLIC}EMULATOR/PASSES/{_index(start)}"
        origin = (20_000 + 2 * column, 20_000 + 2 * row)
        swaths = dict.fromkeys(range(len(bands)), Swath(8, 3, *swath)) if swath else None
        yield Image(
            name=name,
            bands=bands,
            source=Land(name, bands, kinds, (2,) * len(bands), "EMULATOR", origin, swaths),
            update_time=UPDATE_TIME,
            start_time=start,
            end_time=start,
            properties={
                "system:index": _index(start),
                "ORBIT": orbit,
                "CLOUD_COVER": len(names) * 1.5,
                **({"NOTE": "dusk"} if orbit == 87 else {}),
            },
            geometry=_OUTLINE,
        )


def _zones() -> Iterator[Image]:
    for start, crs, x in _ZONES:
        lattice = Lattice(crs, 800, 700, (30, 0, x, 0, -30, 4190010))
        bands = (Band("red", PIXEL_TYPES["u2"], lattice),)
        name = f"{PUBLIC}EMULATOR/ZONES/{_index(start)}"
        yield Image(
            name=name,
            bands=bands,
            source=Land(name, bands, ("u2",), (3,), "EMULATOR", (40_000, 20_000)),
            update_time=UPDATE_TIME,
            start_time=start,
            end_time=start,
            properties={"system:index": _index(start)},
        )


def _index(start: str) -> str:
    return "".join(c for c in start if c.isdigit() or c == "T")


def assets() -> Iterator[Asset]:
    """Yield both collections and their images."""
    yield Container(f"{FOLDER}/PASSES", "IMAGE_COLLECTION", UPDATE_TIME, {"title": "Passes that overlap"})
    yield from _passes()
    yield Container(f"{FOLDER}/ZONES", "IMAGE_COLLECTION", UPDATE_TIME, {"title": "Images in two UTM zones"})
    yield from _zones()
