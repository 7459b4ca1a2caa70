"""MODIS's reflectance of eight days on its sinusoidal grid, and AlphaEarth's embeddings of a year: 2020 and around it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Land
from earthengine_emulator.data.weather import MODIS_CODES, Sky, Weather, quality

UPDATE_TIME: Final = "2025-03-01T00:00:00Z"
MODIS: Final = f"{PUBLIC}MODIS/061/MOD09A1"
EMBEDDINGS: Final = f"{PUBLIC}GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
YEARS: Final = range(2017, 2025)
SIDE: Final = 2048
"""Columns and rows of an image of embeddings."""
_TONES: Final = ("B4", "B8A", "B2", "B3", "B11", "B11", "B12")
"""By band of MODIS, the band id by which the formula knows it."""
_PIXEL: Final = 463.3127165279165


def days() -> Iterator[Image]:
    """Yield tile h08v05 every eight days of 2020, with the clouds of each."""
    lattice = Lattice("SR-ORG:6974", 2400, 2400, (_PIXEL, 0, -11119505.19667, 0, -_PIXEL, 4447802.078667))
    names = [f"sur_refl_b{number:02d}" for number in range(1, 8)]
    bands = (
        *(Band(name, PIXEL_TYPES["i2"], lattice) for name in names),
        Band("StateQA", PIXEL_TYPES["u2"], lattice, "MODE"),
    )
    for number in range(46):
        start = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=8 * number)
        index = f"{start:%Y_%m_%d}"
        name = f"{MODIS}/{index}"
        land = Land(
            name, bands, (*("i2",) * 7, "u2"), (6,) * 8, "MODIS", (40_000, 20_000), tones=(*_TONES, "StateQA")
        )
        yield Image(
            name=name,
            bands=bands,
            source=Sky(land, Weather(index, land.origin, 6), {7: quality(MODIS_CODES)}),
            update_time=UPDATE_TIME,
            start_time=f"{start:%Y-%m-%d}T00:00:00Z",
            end_time=f"{start + timedelta(days=8):%Y-%m-%d}T00:00:00Z",
            properties={"system:index": index},
        )


def years() -> Iterator[Image]:
    """Yield the 64 numbers of each year, of 10 m."""
    lattice = Lattice("EPSG:32610", SIDE, SIDE, (10, 0, 573_440, 0, -10, 4_157_440))
    bands = tuple(Band(f"A{number:02d}", PIXEL_TYPES["f8"], lattice) for number in range(64))
    for year in YEARS:
        index = f"x573440_y4157440_10N_{year}"
        name = f"{EMBEDDINGS}/{index}"
        yield Image(
            name=name,
            bands=bands,
            source=Land(name, bands, ("f8",) * 64, (1,) * 64, "EPSG:32610", (57_344, -415_744)),
            update_time=UPDATE_TIME,
            start_time=f"{year}-01-01T00:00:00Z",
            end_time=f"{year + 1}-01-01T00:00:00Z",
            properties={"system:index": index, "UTM_ZONE": "10N"},
        )


def assets() -> Iterator[Asset]:
    """Yield both collections and the folders above them; their images are `days` and `years`."""
    for folder in ("MODIS", "MODIS/061", "GOOGLE/SATELLITE_EMBEDDING", "GOOGLE/SATELLITE_EMBEDDING/V1"):
        yield Container(f"{PUBLIC}{folder}", "FOLDER")
    for name, title in ((MODIS, "MODIS reflectance of eight days"), (EMBEDDINGS, "Embeddings of a year")):
        yield Container(name, "IMAGE_COLLECTION", UPDATE_TIME, {"title": title})
