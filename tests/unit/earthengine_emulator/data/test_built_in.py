"""The built-in catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from earthengine_emulator.catalogue.model import PUBLIC, Image
from earthengine_emulator.data import built_in
from earthengine_emulator.data.land import Land
from earthengine_emulator.data.weather import Sky
from tests import oracle

BUILT_IN = built_in.catalogue()
SCORES = f"{PUBLIC}GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
LANDSAT = {sensor: f"{PUBLIC}LANDSAT/{sensor}/C02/T1_L2" for sensor in ("LT05", "LC08", "LC09")}
LARGE = [
    *LANDSAT.values(),
    SCORES,
    f"{PUBLIC}COPERNICUS/S2_SR_HARMONIZED",
    f"{PUBLIC}COPERNICUS/S2_HARMONIZED",
    f"{PUBLIC}COPERNICUS/S1_GRD",
    f"{PUBLIC}COPERNICUS/DEM/GLO30",
    f"{PUBLIC}ECMWF/ERA5/DAILY",
    f"{PUBLIC}MODIS/061/MOD09A1",
    f"{PUBLIC}GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL",
]


def images_of(collection):
    return [BUILT_IN.get(name) for name in BUILT_IN.children(collection)]


def test_every_asset_has_an_oracle():
    some = [name for collection in LARGE for name in BUILT_IN.children(collection)[:8]]
    for name in [*BUILT_IN.children(f"{oracle.PUBLIC}EMULATOR"), oracle.QUICKSTART, *some]:
        asset = BUILT_IN.get(name)
        source = asset.source.land if isinstance(asset, Image) and isinstance(asset.source, Sky) else None
        source = source or getattr(asset, "source", None)
        if not isinstance(source, Land):
            continue
        known = oracle.scene(name)
        assert known.place == source.place
        assert known.origin == source.origin
        found = {
            b.id: (s, b.lattice.width, b.lattice.height)
            for b, s in zip(asset.bands, source.steps, strict=True)
        }
        assert {band: rest for band, (_, *rest) in known.bands.items()} == {
            k: list(v) for k, v in found.items()
        }


@pytest.mark.parametrize("collection", LARGE)
def test_pixels_are_those_of_the_oracle(collection):
    """Every band of some images, across the borders of nodes, clouds and swaths."""
    for image in images_of(collection)[:40:13]:
        for number, band in enumerate(image.bands):
            column, row = (150, 40) if band.lattice.width > 800 else (0, 0)
            values, valid = image.source.read(number, column, row, 70, 50)
            known = np.ones(values.shape, bool) if valid is None else valid
            wanted = oracle.oracle_window(image.name, band.id, column, row, 70, 50)
            assert np.array_equal(known, oracle.oracle_valid(image.name, band.id, column, row, 70, 50))
            assert np.array_equal(np.where(known, values, 0), wanted), (image.name, band.id)


def test_images_are_made_when_they_are_asked_for():
    """15,000 days cost nothing at the start."""
    fresh = built_in.catalogue()
    assert len(fresh._assets) < 150
    day = f"{PUBLIC}ECMWF/ERA5/DAILY/19990101"
    fresh.touch(day, "2030-01-01T00:00:00Z")
    assert fresh.get(day).update_time.startswith("2030")
    assert len(fresh.children(f"{PUBLIC}ECMWF/ERA5/DAILY")) == 15_165
    fresh.restore()
    assert fresh.get(day).update_time.startswith("2023")


def test_one_image_has_no_cloud_score():
    surface, top, scores = (
        {one.properties["system:index"] for one in images_of(f"{PUBLIC}{name}")}
        for name in (
            "COPERNICUS/S2_SR_HARMONIZED",
            "COPERNICUS/S2_HARMONIZED",
            "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
        )
    )
    assert surface == top
    assert surface - scores == {oracle.WITHOUT_SCORE}
    assert scores < surface


def test_landsat_has_five_years_in_two_zones_and_scenes_without_temperature():
    for sensor in ("LC08", "LT05"):
        scenes = images_of(LANDSAT[sensor])
        assert {one.bands[0].lattice.crs for one in scenes} == {"EPSG:32610", "EPSG:32611"}
        cold = [one for one in scenes if one.properties["PROCESSING_LEVEL"] == "L2SR"]
        assert 0 < len(cold) < len(scenes) // 4
        number = next(i for i, band in enumerate(cold[0].bands) if band.id.startswith("ST_B"))
        assert not cold[0].source.read(number, 300, 900, 200, 200)[1].any()
    years = {one.start_time[:4] for one in images_of(LANDSAT["LC08"])}
    assert years == {"2019", "2020", "2021", "2022", "2023"}


def test_weather_is_cloudy_here_and_clear_there():
    """Of one place, some images are all clear, some have both, in the shares that CLOUD_COVER tells."""
    scenes = images_of(LANDSAT["LC08"])[:30]
    shares = []
    for scene in scenes:
        quality = scene.source.read(len(scene.bands) - 2, 200, 900, 256, 256)[0]
        shares.append(float((quality & 0b11111 == 0).mean()))
    assert min(shares) < 0.5
    assert max(shares) == 1
    assert sum(0.05 < share < 0.95 for share in shares) > 8


def test_nothing_of_a_dem_has_a_date():
    tiles = images_of(f"{PUBLIC}COPERNICUS/DEM/GLO30")
    assert len(tiles) == 8
    assert all(tile.start_time is tile.end_time is None for tile in tiles)
    west, east = (
        next(tile for tile in tiles if f"_N37_00_W{longitude}_" in tile.name) for longitude in (123, 122)
    )
    assert west.bands[0].lattice.affine[2] + 1 == east.bands[0].lattice.affine[2]
