"""Landsat 5, 8 and 9, Collection 2, Tier 1, Level 2: three neighbouring paths in two UTM zones, every 16 days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Land, Swath
from earthengine_emulator.data.noise import mix, text_seed
from earthengine_emulator.data.weather import NEW_CODES, OLD_CODES, Sky, Weather, quality, saturation

UPDATE_TIME: Final = "2024-02-01T00:00:00.500000Z"
SIDE: Final = 2048
"""Columns and rows of a scene, a quarter of a real one's."""
_EDGE: Final = Swath(5, 2, 900, 13_500)
_NOWHERE: Final = Swath(0, 0, 1, 2)

PATHS: Final = {44: ("EPSG:32610", 539985, 0), 43: ("EPSG:32610", 719985, 9), 42: ("EPSG:32611", 209985, 2)}
"""WRS path of row 34 → CRS and x of its north-west corner, y being 4199985, and days after the first path's pass."""
SENSORS: Final[Mapping[str, tuple[str, datetime, datetime]]] = {
    "LT05": ("LANDSAT_5", datetime(2009, 1, 5, tzinfo=UTC), datetime(2011, 11, 15, tzinfo=UTC)),
    "LC08": ("LANDSAT_8", datetime(2019, 1, 3, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
    "LC09": ("LANDSAT_9", datetime(2021, 11, 4, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
}
"""Sensor → spacecraft, first pass of path 44, end."""

Spec = tuple[str, str, str, str]
"""Band id, type, encoding, and the band id by which the formula knows it."""
_NEW: Final[tuple[Spec, ...]] = (
    *(
        (f"SR_B{i}", "u2", "reflectance", t)
        for i, t in enumerate(["B1", "B2", "B3", "B4", "B8A", "B11", "B12"], 1)
    ),
    ("SR_QA_AEROSOL", "u1", "u1", "SR_QA_AEROSOL"),
    ("ST_B10", "u2", "heat", "ST_B10"),
    ("ST_QA", "i2", "i2", "ST_QA"),
)
_OLD: Final[tuple[Spec, ...]] = (
    *(
        (f"SR_B{i}", "u2", "reflectance", t)
        for i, t in zip((1, 2, 3, 4, 5, 7), ["B2", "B3", "B4", "B8A", "B11", "B12"], strict=True)
    ),
    ("SR_ATMOS_OPACITY", "i2", "i2", "SR_ATMOS_OPACITY"),
    ("SR_CLOUD_QA", "u1", "u1", "SR_CLOUD_QA"),
    ("ST_B6", "u2", "heat", "ST_B6"),
    ("ST_QA", "i2", "i2", "ST_QA"),
)
_QUALITY: Final[tuple[Spec, ...]] = (
    ("QA_PIXEL", "u2", "u2", "QA_PIXEL"),
    ("QA_RADSAT", "u2", "u2", "QA_RADSAT"),
)


def without_temperature(index: str) -> bool:
    """Return whether a scene was processed without its surface temperature, which then is wholly masked: one in eight."""
    return mix(text_seed(index)) // 16 % 8 == 0


def _scene(sensor: str, path: int, start: datetime, bands: tuple[Band, ...]) -> Image:
    index = f"{sensor}_{path:03d}034_{start:%Y%m%d}"
    name = f"{PUBLIC}LANDSAT/{sensor}/C02/T1_L2/{index}"
    crs, x, _ = PATHS[path]
    specs = (_OLD if sensor == "LT05" else _NEW) + _QUALITY
    cold = without_temperature(index)
    swaths = {i: _NOWHERE if cold and b.id.startswith("ST_") else _EDGE for i, b in enumerate(bands)}
    origin = (x // 10, -4199985 // 10)
    kinds, tones = tuple(s[2] for s in specs), tuple(s[3] for s in specs)
    land = Land(name, bands, kinds, (3,) * len(bands), crs, origin, swaths, tones)
    codes = OLD_CODES if sensor == "LT05" else NEW_CODES
    formulas = {len(bands) - 2: quality(codes), len(bands) - 1: saturation}
    when = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Image(
        name=name,
        bands=bands,
        source=Sky(land, Weather(index, origin, 3), formulas),
        update_time=UPDATE_TIME,
        start_time=when,
        end_time=when,
        properties={
            "system:index": index,
            "CLOUD_COVER": (0.5, 20.25, 45.75, 80.0)[mix(text_seed(index)) % 4],
            "SPACECRAFT_ID": SENSORS[sensor][0],
            "WRS_PATH": path,
            "WRS_ROW": 34,
            "PROCESSING_LEVEL": "L2SR" if cold else "L2SP",
            "SUN_ELEVATION": 40.5,
        },
        size_bytes=60_000_000,
    )


def _bands(sensor: str, path: int) -> tuple[Band, ...]:
    crs, x, _ = PATHS[path]
    lattice = Lattice(crs, SIDE, SIDE, (30, 0, x, 0, -30, 4199985))
    return tuple(
        Band(
            name,
            PIXEL_TYPES[kind],
            lattice,
            "MEAN" if name.startswith(("SR_B", "ST_")) else "MODE" if name == "QA_PIXEL" else "SAMPLE",
        )
        for name, kind, _, _ in (_OLD if sensor == "LT05" else _NEW) + _QUALITY
    )


def scenes(sensor: str) -> Iterator[Image]:
    """Yield the scenes of one sensor."""
    _, first, end = SENSORS[sensor]
    for path, (_, _, days) in PATHS.items():
        bands = _bands(sensor, path)
        start = first + timedelta(days=days, hours=18, minutes=30)
        while start < end:
            yield _scene(sensor, path, start, bands)
            start += timedelta(days=16)


def assets() -> Iterator[Asset]:
    """Yield the collections and the folders above them; the scenes are `scenes`."""
    for sensor in SENSORS:
        yield Container(f"{PUBLIC}LANDSAT/{sensor}", "FOLDER")
        yield Container(f"{PUBLIC}LANDSAT/{sensor}/C02", "FOLDER")
        title = {"title": f"{SENSORS[sensor][0]} Level 2"}
        yield Container(f"{PUBLIC}LANDSAT/{sensor}/C02/T1_L2", "IMAGE_COLLECTION", UPDATE_TIME, title)
