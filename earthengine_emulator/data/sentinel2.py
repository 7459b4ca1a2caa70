"""Sentinel-2: the quickstart's two images as docs/contract.md §3.3 has them, and a year of three neighbouring tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Land
from earthengine_emulator.data.noise import mix, text_seed
from earthengine_emulator.data.weather import Sky, Weather, score

UPDATE_TIME: Final = "2020-01-01T00:00:00.123456Z"
SURFACE: Final = "COPERNICUS/S2_SR_HARMONIZED"
TOP: Final = "COPERNICUS/S2_HARMONIZED"
SCORES: Final = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
WITHOUT_SCORE: Final = "20170506T184921_20170506T184921_T10SEG"
"""Index of the one image that has no cloud score."""

_TEN: Final = ("B2", "B3", "B4", "B8", "QA10")
_TWENTY: Final = ("B5", "B6", "B7", "B8A", "B11", "B12", "QA20", "SCL")
_ORDER: Final = (
    *("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
    *("QA10", "QA20", "QA60"),
)
_SURFACE_ORDER: Final = (
    *("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    *("SCL", "QA60"),
)
TILES: Final[Mapping[str, tuple[int, int, tuple[float, float, float, float]]]] = {
    "10SEG": (499980, 4200000, (-123.0, 36.95, -121.75, 37.95)),
    "10SFG": (600000, 4200000, (-121.87, 36.93, -120.61, 37.94)),
    "10SEH": (499980, 4300020, (-123.0, 37.85, -121.73, 38.85)),
}
"""MGRS tile → x and y of its north-west corner in EPSG:32610, and its west, south, east, north."""


def _bands(tile: str, order: tuple[str, ...]) -> tuple[tuple[Band, ...], tuple[str, ...], tuple[int, ...]]:
    """Return bands, their encodings, and their landform units per pixel (one unit is 10 m)."""
    x, y, _ = TILES[tile]
    lattices = {
        step: Lattice("EPSG:32610", 10980 // step, 10980 // step, (10 * step, 0, x, 0, -10 * step, y))
        for step in (1, 2, 6)
    }
    bands, kinds, steps = [], [], []
    for name in order:
        step = 1 if name in _TEN else 2 if name in _TWENTY else 6
        kind = "u4" if name == "QA20" else "u1" if name == "SCL" else "u2"
        policy = "SAMPLE" if name.startswith("QA") else "MODE" if name == "SCL" else "MEAN"
        bands.append(Band(name, PIXEL_TYPES[kind], lattices[step], policy))
        kinds.append(kind)
        steps.append(step)
    return tuple(bands), tuple(kinds), tuple(steps)


def _outline(tile: str) -> dict[str, Any]:
    if tile == "10SEG":
        ring = [[-123.0, 36.96], [-121.77, 36.95], [-121.75, 37.94], [-123.0, 37.95], [-123.0, 36.96]]
    else:
        west, south, east, north = TILES[tile][2]
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _image(
    collection: str,
    index: str,
    tile: str,
    start: datetime,
    cloudy: float,
    built: tuple[tuple[Band, ...], tuple[str, ...], tuple[int, ...]],
) -> Image:
    """Return one granule; images of all tiles show one continuous land, since the landform is placed by map coordinates."""
    bands, kinds, steps = built
    x, y, _ = TILES[tile]
    name = f"{PUBLIC}{collection}/{index}"
    when = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Image(
        name=name,
        bands=bands,
        source=Land(name, bands, kinds, steps, "EPSG:32610", (x // 10, -y // 10)),
        update_time=UPDATE_TIME,
        start_time=when,
        end_time=when,
        properties={
            "system:index": index,
            "CLOUDY_PIXEL_PERCENTAGE": cloudy,
            "MGRS_TILE": tile,
            "SPACECRAFT_NAME": "Sentinel-2A",
            "SOLAR_IRRADIANCE_B1": 1913.57,
            "system:time_start": int(start.timestamp() * 1000),
        },
        geometry=_outline(tile),
        size_bytes=800_000_000,
    )


def assets() -> Iterator[Asset]:
    """Yield the folders, the collections, and the quickstart's two images; the others are `granules`."""
    yield Container(f"{PUBLIC}COPERNICUS", "FOLDER")
    yield Container(
        f"{PUBLIC}COPERNICUS/S2", "IMAGE_COLLECTION", UPDATE_TIME, {"title": "Sentinel-2 top of atmosphere"}
    )
    built = _bands("10SEG", _ORDER)
    for index, start, cloudy in (
        ("20170420T184921_20170420T190203_T10SEG", datetime(2017, 4, 20, 18, 49, 21, tzinfo=UTC), 4.3166),
        ("20170430T190351_20170430T190351_T10SEG", datetime(2017, 4, 30, 19, 3, 51, tzinfo=UTC), 0),
    ):
        yield _image("COPERNICUS/S2", index, "10SEG", start, cloudy, built)
    for name, title in (
        (SURFACE, "Sentinel-2 surface"),
        (TOP, "Sentinel-2 top of atmosphere, harmonized"),
        (SCORES, "Cloud Score+ of Sentinel-2"),
    ):
        yield Container(f"{PUBLIC}{name}", "IMAGE_COLLECTION", UPDATE_TIME, {"title": title})
    for folder in ("GOOGLE", "GOOGLE/CLOUD_SCORE_PLUS", "GOOGLE/CLOUD_SCORE_PLUS/V1"):
        yield Container(f"{PUBLIC}{folder}", "FOLDER")


def granules(collection: str) -> Iterator[Image]:
    """Yield the images of all tiles, every five days from April to December 2017, of one of three collections."""
    built_for = {
        tile: _scores(tile)
        if collection == SCORES
        else _bands(tile, _SURFACE_ORDER if collection == SURFACE else _ORDER)
        for tile in TILES
    }
    day = date(2017, 4, 1)
    while day.year == 2017:
        stamp = f"{day:%Y%m%d}T184921"
        start = datetime(day.year, day.month, day.day, 18, 49, 21, tzinfo=UTC)
        for tile in TILES:
            index = f"{stamp}_{stamp}_T{tile}"
            cloudy = mix(text_seed(index)) % 10_000 / 100
            if collection != SCORES:
                yield _image(collection, index, tile, start, cloudy, built_for[tile])
            elif index != WITHOUT_SCORE:
                yield _scored(_image(collection, index, tile, start, cloudy, built_for[tile]))
        day += timedelta(days=5)


def _scores(tile: str) -> tuple[tuple[Band, ...], tuple[str, ...], tuple[int, ...]]:
    lattice = _bands(tile, ("B2",))[0][0].lattice
    bands = tuple(Band(name, PIXEL_TYPES["f4"], lattice) for name in ("cs", "cs_cdf"))
    return bands, ("f4", "f4"), (1, 1)


def _scored(image: Image) -> Image:
    """Return an image whose bands are scores of its clouds."""
    land = cast("Land", image.source)
    index = str(image.properties["system:index"])
    own = {
        k: v for k, v in image.properties.items() if k in ("system:index", "MGRS_TILE", "system:time_start")
    }
    formulas = {i: score(band.id) for i, band in enumerate(image.bands)}
    return replace(image, source=Sky(land, Weather(index, land.origin, 1), formulas), properties=own)
