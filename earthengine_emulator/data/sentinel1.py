"""Sentinel-1: scenes whose polarisations are a list among their properties, and which share no lattice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Land

UPDATE_TIME: Final = "2024-02-01T00:00:00Z"
COLLECTION: Final = f"{PUBLIC}COPERNICUS/S1_GRD"
SCENES: Final = 12
SIDE: Final = 1200
_MODES: Final = {"1SDV": ("VV", "VH"), "1SSV": ("VV",), "1SDH": ("HH", "HV")}
_FIRST: Final = datetime(2023, 1, 3, 14, 15, 0, tzinfo=UTC)


def scenes() -> Iterator[Image]:
    """Yield scenes every six days, 7 m further east and 3 m further south each time."""
    for number in range(SCENES):
        mode, polarisations = list(_MODES.items())[number % 3]
        start = _FIRST + timedelta(days=6 * number)
        index = f"S1A_IW_GRDH_{mode}_{start:%Y%m%dT%H%M%S}_{number:02d}"
        x, y = 545_003 + 7 * number, 4_170_002 - 3 * number
        lattice = Lattice("EPSG:32610", SIDE, SIDE, (10, 0, x, 0, -10, y))
        bands = tuple(Band(name, PIXEL_TYPES["f8"], lattice) for name in polarisations)
        name, when = f"{COLLECTION}/{index}", start.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield Image(
            name=name,
            bands=bands,
            source=Land(
                name, bands, ("decibel",) * len(bands), (1,) * len(bands), "EPSG:32610", (x // 10, -y // 10)
            ),
            update_time=UPDATE_TIME,
            start_time=when,
            end_time=when,
            properties={
                "system:index": index,
                "instrumentMode": "IW",
                "orbitProperties_pass": "DESCENDING" if number % 2 else "ASCENDING",
                "relativeOrbitNumber_start": 35 if number % 2 else 115,
                "transmitterReceiverPolarisation": list(polarisations),
            },
        )


def assets() -> Iterator[Asset]:
    """Yield the collection; its images are `scenes`."""
    yield Container(
        COLLECTION, "IMAGE_COLLECTION", UPDATE_TIME, {"title": "Sentinel-1 ground range detected"}
    )
