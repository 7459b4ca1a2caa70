"""Regions as other libraries have them."""

from __future__ import annotations

import ee
import numpy as np
import pyproj
import pytest
import shapely

from downloader.errors import JobError
from downloader.job import Job

RING = [[-122.1, 37.4], [-122.0, 37.4], [-122.0, 37.5], [-122.1, 37.5], [-122.1, 37.4]]
POLYGON = {"type": "Polygon", "coordinates": [RING]}


def region(value):
    return Job.from_dict({"source": {"asset": "A"}, "mosaic": {"path": "m.zarr"}, "region": value}).region


class Series:
    """As a GeoSeries speaks: features, and a CRS of its own."""

    crs = pyproj.CRS("EPSG:32610")

    @property
    def __geo_interface__(self):
        return {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {}, "geometry": POLYGON}],
        }


class Frame(Series):
    """As a GeoDataFrame speaks, whose properties are no part of the region."""

    geometry = Series()

    @property
    def __geo_interface__(self):
        return {"type": "FeatureCollection", "features": [{"properties": {"when": object()}}]}


@pytest.mark.parametrize("given", [[-122.1, 37.4, -122, 37.5], (-122.1, 37.4, -122, 37.5)])
def test_four_numbers_are_a_box(given):
    assert region(given).bbox == (-122.1, 37.4, -122, 37.5)


def test_bounds_of_a_table_are_a_box():
    assert region(np.array([-122.1, 37.4, -122, 37.5])).bbox == (-122.1, 37.4, -122, 37.5)


def test_a_section_may_hold_a_shape():
    found = region({"geometry": Series(), "mask": True})
    assert (found.geometry["type"], found.crs, found.mask) == ("FeatureCollection", "EPSG:32610", True)
    assert region({"geometry": shapely.Polygon(RING), "crs": "EPSG:3857"}).crs == "EPSG:3857"
    with pytest.raises(JobError, match=r"region.geometry: 3: .*"):
        region({"geometry": 3})


@pytest.mark.parametrize("kind", [[1, 2], {"a": 1}, 3])
def test_a_type_that_is_no_text_is_refused(kind):
    with pytest.raises(JobError, match=r"region.type"):
        region({"type": kind, "coordinates": [1, 2]})


def test_three_numbers_are_none():
    with pytest.raises(JobError, match=r"region\.bbox: four numbers are needed"):
        region([1, 2, 3])


def test_geojson_and_shapes_are_geometries():
    assert region(POLYGON).geometry == POLYGON
    assert region({"type": "Feature", "geometry": POLYGON, "properties": {}}).geometry["geometry"] == POLYGON
    assert shapely.geometry.shape(region(shapely.Polygon(RING)).geometry).equals(shapely.Polygon(RING))


@pytest.mark.parametrize("table", [Series(), Frame()])
def test_tables_of_shapes_bring_their_crs(table):
    found = region(table)
    assert found.crs == "EPSG:32610"
    assert found.geometry["features"][0]["geometry"] == POLYGON


def test_geometries_of_earth_engine():
    class Literal:
        def toGeoJSON(self):  # noqa: N802 - the client's name
            return {**POLYGON, "geodesic": True, "evenOdd": True}

    assert callable(ee.Geometry.toGeoJSON)
    assert region(Literal()).geometry == POLYGON

    class Computed:
        def toGeoJSON(self):  # noqa: N802
            raise ee.EEException("Cannot convert a computed geometry to GeoJSON.")

    with pytest.raises(JobError, match=r"region: .*computed by the service.*getInfo"):
        region(Computed())


def test_the_extent_of_an_array_is_its_pixels_edges():
    xarray = pytest.importorskip("xarray")
    coords = {"x": [500005.0, 500015, 500025], "y": [4199995.0, 4199985]}
    array = xarray.DataArray(np.zeros((2, 3)), coords, ("y", "x"))
    with pytest.raises(JobError, match=r"region: .*no CRS.*write_crs"):
        region(array)
    located = array.assign_coords(spatial_ref=0)
    located.spatial_ref.attrs["crs_wkt"] = pyproj.CRS("EPSG:32610").to_wkt()
    found = region(located)
    assert (found.bbox, found.crs) == ((500000, 4199980, 500030, 4200000), "EPSG:32610")
    assert region(located.to_dataset(name="b")).bbox == found.bbox
    with pytest.raises(JobError, match="no coordinate x of two pixels"):
        region(located.isel(x=[0]))


def test_anything_else_is_refused():
    with pytest.raises(JobError, match="region"):
        region(object())
