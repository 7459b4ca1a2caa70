"""Regions of other libraries become the keys of the job file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
import xarray as xr

from downloader.errors import JobError
from downloader.job import Job
from downloader.job.load import as_job

TRIANGLE = shapely.Polygon([(-122.5, 37), (-122, 37), (-122, 38)])
BOX = (-122.5, 37.0, -122.0, 38.0)


class Frame:
    """A GeoDataFrame as far as a region is asked for: its features, and `crs`."""

    def __init__(self, shapes: list[shapely.Polygon | None], crs: pyproj.CRS | None) -> None:
        features = [
            {
                "id": str(k),
                "type": "Feature",
                "properties": {"seen": object()},
                "geometry": None if one is None else shapely.geometry.mapping(one),
            }
            for k, one in enumerate(shapes)
        ]
        self.__geo_interface__ = {"type": "FeatureCollection", "features": features, "bbox": BOX}
        self.crs = crs


class Geometry:
    """An `ee.Geometry`: GeoJSON here unless it is computed, then from the service."""

    def __init__(self, document: dict[str, Any], *, is_computed: bool = False) -> None:
        self._document, self._is_computed, self.asked = document, is_computed, 0

    def toGeoJSON(self) -> dict[str, Any]:  # noqa: N802  # the client's name
        if self._is_computed:
            raise RuntimeError("Can't convert a computed geometry to GeoJSON. Use getInfo() instead.")
        return self._document

    def getInfo(self) -> dict[str, Any]:  # noqa: N802  # the client's name
        self.asked += 1
        return self._document

    def serialize(self) -> str:
        return "{}"


def job_of(region: Any, **sections: Any) -> Job:
    source = {"collection": "C", "start": "2020-01-01", "end": "2021-01-01"}
    return Job.from_dict({"source": source, "mosaic": {"path": "o"}, "region": region, **sections})


def shape_of(job: Job) -> shapely.Geometry:
    document = job.region.geometry
    assert document is not None
    features = document.get("features", [document])
    return shapely.union_all(
        [shapely.geometry.shape(f.get("geometry", f)) for f in features if f.get("geometry", f)]
    )


@pytest.mark.parametrize("box", [BOX, list(BOX), list(np.array(BOX))])
def test_four_numbers_are_a_box(box: Any) -> None:
    assert job_of(box) == job_of({"bbox": list(BOX)})
    assert as_job("A", "o", region=box).region.bbox == BOX


@pytest.mark.parametrize(
    "document",
    [
        shapely.geometry.mapping(TRIANGLE),
        {"type": "Feature", "properties": {"a": 1}, "geometry": shapely.geometry.mapping(TRIANGLE)},
        TRIANGLE,
        {"geometry": TRIANGLE, "mask": True},
    ],
)
def test_geojson_and_shapely_are_a_geometry_in_degrees(document: Any) -> None:
    job = job_of(document)
    assert shape_of(job).equals(TRIANGLE)
    assert job.region.crs == "EPSG:4326"
    assert Job.parse(job.dump()) == job


@pytest.mark.parametrize("crs", ["EPSG:32610", "ESRI:54009"])
def test_a_frame_counts_in_its_own_crs(crs: str) -> None:
    other = shapely.box(0, 0, 10, 10)
    job = job_of(Frame([TRIANGLE, None, other], pyproj.CRS(crs)))
    assert shape_of(job).equals(shapely.union_all([TRIANGLE, other]))
    assert job.region.crs == crs
    assert Job.parse(job.dump()) == job


def test_a_frame_without_a_crs_is_refused() -> None:
    with pytest.raises(JobError, match=r"region: this Frame says no CRS; set it with set_crs"):
        job_of(Frame([TRIANGLE], None))


def test_an_earth_engine_geometry_asks_the_service_only_if_it_is_computed() -> None:
    here = Geometry({**shapely.geometry.mapping(TRIANGLE), "geodesic": False, "evenOdd": True})
    assert shape_of(job_of(here)).equals(TRIANGLE)
    assert here.asked == 0
    crs = {"type": "name", "properties": {"name": "EPSG:32610"}}
    there = Geometry({**shapely.geometry.mapping(TRIANGLE), "crs": crs}, is_computed=True)
    assert job_of(there).region.crs == "EPSG:32610"
    assert there.asked == 1


def raster(x: np.ndarray, y: np.ndarray, crs: str | None = "EPSG:32610", **attrs: Any) -> xr.DataArray:
    coords: dict[str, Any] = {"x": x, "y": y}
    if crs is not None:
        coords["spatial_ref"] = xr.DataArray(0, attrs={"crs_wkt": pyproj.CRS(crs).to_wkt(), **attrs})
    return xr.DataArray(np.zeros((len(y), len(x))), dims=("y", "x"), coords=coords)


def test_an_xarray_object_gives_its_pixels_and_its_grid() -> None:
    array = raster(np.arange(500005, 500105, 10), np.arange(4200000 - 10, 4200000 - 200, -20))
    for given in (array, array.to_dataset(name="a"), array.to_dataset(name="a").chunk()):
        job = job_of(given)
        assert job.region.bbox == (500000, 4199800, 500100, 4200000)
        assert job.region.crs == job.grid.crs == "EPSG:32610"
        assert job.grid.transform == (10, 0, 500000, 0, -20, 4200000)
    other = job_of(array, grid={"crs": "utm", "scale": 30})
    assert other.grid.transform is None
    assert other.region == job.region


def test_longitudes_and_latitudes_need_no_crs() -> None:
    lat, lon = np.linspace(-9.95, 9.95, 200), np.linspace(100.05, 109.95, 100)
    array = xr.DataArray(np.zeros((200, 100)), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    job = job_of(array)
    assert job.region.bbox == pytest.approx((100, -10, 110, 10), abs=1e-9)
    assert job.grid.transform == pytest.approx((0.1, 0, 100, 0, 0.1, -10), abs=1e-9)
    assert job.grid.crs == "EPSG:4326"


def test_one_pixel_takes_the_size_that_the_grid_mapping_states() -> None:
    array = raster(np.array([5.0]), np.array([5.0]), GeoTransform="0 10 0 100 0 -10")
    assert job_of(array).region.bbox == (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (raster(np.arange(3.0), np.arange(3.0), None), "says no CRS; write it with rioxarray"),
        (raster(np.array([0.0, 1, 3]), np.arange(3.0)), "axis x is not evenly spaced"),
        (raster(np.array([0.0]), np.arange(3.0)), "axis x has 1 pixels, which say no pixel size"),
        (xr.DataArray([1, 2], dims="time"), "has no coordinates x and y"),
        (object(), "a object gives no region; give four numbers"),
        ({"geometry": object()}, "region.geometry: a object gives no geometry"),
        ([1, 2, 3], "four numbers are needed"),
        (
            shapely.Point(0, 0).buffer(1, quad_segs=10_000),
            r"has 40,001 points, and a job holds 30,000; simplify",
        ),
    ],
)
def test_what_gives_no_region_is_refused(given: Any, says: str) -> None:
    with pytest.raises(JobError, match=says):
        job_of(given)
