"""Regions of listings and pictures."""

from __future__ import annotations

import geopandas
import pyproj
import pytest
import shapely

from downloader.engine.explore import geojson


def test_a_table_of_shapes_in_metres_is_shown_in_degrees():
    box = shapely.box(500_000, 4_100_000, 510_000, 4_110_000)
    shown = shapely.geometry.shape(geojson(geopandas.GeoSeries([box], crs=32610))["features"][0]["geometry"])
    project = pyproj.Transformer.from_crs(32610, 4326, always_xy=True).transform
    corners = [project(x, y) for x, y in box.exterior.coords]
    assert shown.equals_exact(shapely.Polygon(corners), 1e-9)
    degrees = geopandas.GeoDataFrame(geometry=[shapely.box(-122, 37, -121, 38)])
    assert geojson(degrees)["features"][0]["bbox"] == pytest.approx((-122, 37, -121, 38)), (
        "of no CRS: as it is"
    )
