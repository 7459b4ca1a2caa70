"""Grids in degrees: tiles of a DEM without dates, and 41 years of daily weather."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Land

UPDATE_TIME: Final = "2023-03-01T00:00:00Z"
DEM: Final = f"{PUBLIC}COPERNICUS/DEM/GLO30"
ERA5: Final = f"{PUBLIC}ECMWF/ERA5/DAILY"
TILES: Final = ((37, 124), (37, 123), (37, 122), (37, 121), (37, 120), (38, 123), (38, 122), (36, 122))
"""South-west corners of the DEM's tiles: degrees north and west."""
_DEM_BANDS: Final = {"DEM": "f4", "EDM": "u1", "FLM": "u1", "HEM": "f4", "WBM": "u1"}
_ERA5_BANDS: Final = {
    "mean_2m_air_temperature": "kelvin",
    "minimum_2m_air_temperature": "kelvin",
    "maximum_2m_air_temperature": "kelvin",
    "dewpoint_2m_temperature": "kelvin",
    "total_precipitation": "rain",
    "surface_pressure": "pascal",
    "mean_sea_level_pressure": "pascal",
    "u_component_of_wind_10m": "wind",
    "v_component_of_wind_10m": "wind",
}
_FIRST, _LAST = datetime(1979, 1, 2, tzinfo=UTC), datetime(2020, 7, 9, tzinfo=UTC)


def tiles() -> Iterator[Image]:
    """Yield the tiles of the DEM, 3,600 pixels a degree."""
    for north, west in TILES:
        index = f"Copernicus_DSM_COG_10_N{north:02d}_00_W{west:03d}_00_DEM"
        lattice = Lattice("EPSG:4326", 3600, 3600, (1 / 3600, 0, -west, 0, -1 / 3600, north + 1))
        bands = tuple(
            Band(name, PIXEL_TYPES[kind], lattice, "MEAN" if kind == "f4" else "MODE")
            for name, kind in _DEM_BANDS.items()
        )
        origin = (3 * 3600 * (180 - west), 3 * 3600 * (89 - north))
        name = f"{DEM}/{index}"
        yield Image(
            name=name,
            bands=bands,
            source=Land(name, bands, tuple(_DEM_BANDS.values()), (3,) * len(bands), "DEM", origin),
            update_time=UPDATE_TIME,
            properties={"system:index": index},
        )


def days() -> Iterator[Image]:
    """Yield the days of ERA5."""
    lattice = Lattice("EPSG:4326", 1440, 720, (0.25, 0, -180, 0, -0.25, 90))
    bands = tuple(Band(name, PIXEL_TYPES["f4"], lattice) for name in _ERA5_BANDS)
    kinds, steps = tuple(_ERA5_BANDS.values()), (12,) * len(bands)
    day = _FIRST
    while day <= _LAST:
        index = f"{day:%Y%m%d}"
        after = day + timedelta(days=1)
        name = f"{ERA5}/{index}"
        yield Image(
            name=name,
            bands=bands,
            source=Land(name, bands, kinds, steps, "ERA5"),
            update_time=UPDATE_TIME,
            start_time=f"{day:%Y-%m-%d}T00:00:00Z",
            end_time=f"{after:%Y-%m-%d}T00:00:00Z",
            properties={"system:index": index, "year": day.year, "month": day.month, "day": day.day},
        )
        day = after


def assets() -> Iterator[Asset]:
    """Yield both collections and the folders above them; their images are `tiles` and `days`."""
    yield Container(f"{PUBLIC}COPERNICUS/DEM", "FOLDER")
    yield Container(DEM, "IMAGE_COLLECTION", UPDATE_TIME, {"title": "Elevations, in tiles of one degree"})
    yield Container(f"{PUBLIC}ECMWF", "FOLDER")
    yield Container(f"{PUBLIC}ECMWF/ERA5", "FOLDER")
    yield Container(ERA5, "IMAGE_COLLECTION", UPDATE_TIME, {"title": "Daily weather"})
