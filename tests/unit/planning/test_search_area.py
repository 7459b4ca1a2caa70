"""The region as a listing is asked for it: longitudes from -180 to 180, whole across the antimeridian and at poles."""

from __future__ import annotations

import pyproj
import pytest
import shapely

from downloader.job import Job
from downloader.planning.inputs import JobFiles
from downloader.planning.search_area import region_geojson, region_middle


def asked(**region):
    values = {
        "source": {"collection": "C", "start": "2020-01-01", "end": "2021-01-01"},
        "region": region,
        "mosaic": {"path": "o"},
    }
    return shapely.geometry.shape(region_geojson(Job.from_dict(values), JobFiles()))


def test_degrees_stay_what_they_are():
    assert asked(bbox=[-122.5, 37, -122, 38]).equals(shapely.box(-122.5, 37, -122, 38))


@pytest.mark.parametrize("edges", [[175, -5, 185, 5], [-185, -5, -175, 5]])
def test_a_box_across_the_antimeridian_is_cut_there(edges):
    both = shapely.union_all([shapely.box(175, -5, 180, 5), shapely.box(-180, -5, -175, 5)])
    assert asked(bbox=edges).equals(both)


def test_longitudes_beyond_180_come_back():
    assert asked(bbox=[190, -5, 200, 5]).equals(shapely.box(-170, -5, -160, 5))


def test_metres_across_the_antimeridian():
    """A box of zone 1 whose western part lies beyond 180: PROJ's longitudes jump there."""
    found = asked(bbox=[100_000, 0, 300_000, 200_000], crs="EPSG:32601")
    to = pyproj.Transformer.from_crs("EPSG:32601", "EPSG:4326", always_xy=True)
    for x in (110_000, 165_000, 168_000, 290_000):
        assert found.contains(shapely.Point(to.transform(x, 100_000))), x
    assert not found.intersects(shapely.box(-175, -5, 175, 5))
    assert -180 <= found.bounds[0] < found.bounds[2] <= 180


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90), ("EPSG:3413", 90)])
def test_around_a_pole_all_longitudes_count(crs, pole):
    found = asked(bbox=[-500_000, -300_000, 400_000, 600_000], crs=crs)
    assert (found.bounds[0], found.bounds[2]) == (-180, 180)
    assert found.covers(shapely.Point(33, pole))
    to = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    for x, y in ((-499_000, -299_000), (399_000, 599_000), (1000, 1000), (-499_000, 599_000)):
        assert found.covers(shapely.Point(to.transform(x, y)))


@pytest.mark.parametrize(
    ("edges", "middle"), [([-122, 37, -121, 39], -121.5), ([178, -5, 184, 5], 181), ([-180, -60, 180, 60], 0)]
)
def test_the_middle_of_a_region_anywhere(edges, middle):
    values = {"source": {"asset": "A"}, "region": {"bbox": edges}, "mosaic": {"path": "o"}}
    found = region_middle(Job.from_dict(values), JobFiles())
    assert found == ((middle), (edges[1] + edges[3]) / 2)
