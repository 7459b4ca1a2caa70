"""A query in the words of either method, and the shapes it may hold."""

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import shape

from downloader.earthengine.geojson import middle_longitude, plain_geometry
from downloader.earthengine.query import Query
from downloader.errors import JobError
from downloader.model.image_query import ImageQuery


def query_of(**conditions):
    return Query.of(ImageQuery("A", **conditions))


POINT = {"type": "Point", "coordinates": [-122.085, 37.422]}
RING = [[-1, 0], [1, 0], [1, 2], [-1, 0]]


def test_the_quickstarts_query_as_it_is_sent():
    query = query_of(
        start="2017-04-01", end="2017-05-01", region=POINT, filter="CLOUDY_PIXEL_PERCENTAGE < 10"
    )
    assert query.parameters() == {
        "filter": 'startTime >= "2017-04-01T00:00:00.000Z" AND startTime < "2017-05-01T00:00:00.000Z" AND '
        "intersects(\"{'type': 'Point', 'coordinates': [-122.085, 37.422]}\") AND "
        "properties.CLOUDY_PIXEL_PERCENTAGE < 10"
    }


def test_a_users_or_stays_together_among_the_terms():
    query = query_of(start="2017-04-01", filter="a = 1 OR b = 2")
    assert query.parameters()["filter"].endswith("AND (properties.a = 1 OR properties.b = 2)")


def test_no_condition_is_no_parameter():
    assert query_of().parameters() == {}
    assert query_of().holds(None)


@pytest.mark.parametrize(
    "start",
    [
        "2017-04-01",
        "2017-04-01T00:00:00Z",
        "2017-04-01T02:00:00+02:00",
        date(2017, 4, 1),
        datetime(2017, 4, 1, tzinfo=UTC),
        datetime(2017, 3, 31, 20, tzinfo=timezone(timedelta(hours=-4))),
        datetime(2017, 4, 1),  # noqa: DTZ001  # UTC where nothing else is said
    ],
)
def test_forms_of_a_time(start):
    assert query_of(start=start).start_us == 1_491_004_800_000_000


def test_the_period_takes_its_start_and_not_its_end():
    query = query_of(start="2017-04-01", end="2017-04-02")
    first, behind = query.start_us, query.end_us
    assert [query.holds(t) for t in (first - 1, first, behind - 1, behind, None)] == [
        False, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start": "2017-05-01", "end": "2017-04-01"}, "start: 2017-05-01 must lie before end"),
        ({"start": "2017-05-01", "end": "2017-05-01"}, "must lie before"),
        ({"start": "April"}, "start: 'April' is no time"),
        ({"end": " "}, "end: is empty"),
        ({"end": 5}, "end: '5' is no time"),
        ({"filter": "a"}, "character 2 of the filter"),
        ({"region": {"type": "Dot"}}, "region: is no GeoJSON geometry, feature or collection"),
    ],
)
def test_mistakes_name_their_key(wrong, said):
    with pytest.raises(JobError, match=said):
        query_of(**wrong)


def feature(geometry):
    return {"type": "Feature", "properties": {"n": 1}, "geometry": geometry}


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (POINT | {"crs": "x"}, POINT),
        (feature(POINT), POINT),
        ({"type": "Point", "coordinates": [1, 2, 300.5]}, {"type": "Point", "coordinates": [1, 2]}),
        ({"type": "LinearRing", "coordinates": RING}, {"type": "Polygon", "coordinates": [RING]}),
        ({"type": "Polygon", "coordinates": [RING[:3]]}, {"type": "Polygon", "coordinates": [RING]}),
        (
            {"type": "FeatureCollection", "features": [feature(POINT), feature(None), feature({"type": "MultiPoint", "coordinates": [[1, 2]]})]},
            {"type": "MultiPoint", "coordinates": [[-122.085, 37.422], [1, 2]]},
        ),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [RING]}] * 2},
            {"type": "Polygon", "coordinates": [RING]},
        ),
    ],
)  # fmt: skip
def test_regions_become_one_plain_geometry(given, plain):
    made = plain_geometry(given)
    assert made.keys() == {"type", "coordinates"}
    assert shape(made).equals(shape(plain))
    assert json.loads(json.dumps(made)) == made, "lists, no tuples"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "is no GeoJSON object"),
        ([1, 2], "is no GeoJSON object"),
        ({}, "is no GeoJSON geometry, feature or collection"),
        (feature(None), "is no GeoJSON geometry"),
        ({"type": "FeatureCollection", "features": [feature(None)]}, "holds no geometry"),
        ({"type": "Point"}, "is no GeoJSON geometry"),
        ({"type": "Point", "coordinates": [1]}, "is no GeoJSON geometry"),
        ({"type": "Point", "coordinates": ["x", 2]}, "is no GeoJSON geometry"),
        ({"type": "LineString", "coordinates": [[float("inf"), 2], [3, 4]]}, "coordinates that are no numbers"),
        ({"type": "Point", "coordinates": [37.422, -122.085]}, "they look swapped"),
        ({"type": "Point", "coordinates": [499980, 4200000]}, "coordinates are in degrees"),
        ({"type": "Polygon", "coordinates": [[1, 2], [3, 4], [5, 6]]}, "is no GeoJSON geometry"),
        ({"type": "Polygon", "coordinates": []}, "holds no geometry"),
        ({"type": "FeatureCollection", "features": [feature(POINT), feature({"type": "Polygon", "coordinates": [RING]})]}, "mixes kinds"),
    ],
)  # fmt: skip
def test_regions_that_are_none(given, said):
    with pytest.raises(JobError, match=f"region: .*{said}"):
        plain_geometry(given)


def test_what_is_given_stays_as_it_was():
    given = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}
    before = json.dumps(given)
    plain_geometry(given)
    assert json.dumps(given) == before


def box(west, east):
    return {"type": "Polygon", "coordinates": [[[west, 0], [east, 0], [east, 9], [west, 9], [west, 0]]]}


def parts(*boxes):
    return {"type": "MultiPolygon", "coordinates": [box(*one)["coordinates"] for one in boxes]}


@pytest.mark.parametrize(
    ("footprint", "middle"),
    [
        (POINT, -122.085),
        (box(-123, -121), -122),
        (box(0, 0), 0),
        (box(170, 190), -180),
        (box(175, -165), -175),
        (box(-100, 60), -20),
        (parts((170, 180), (-180, -170)), -180),
        (parts((10, 20), (30, 40)), 25),
        (parts((-180, 180)), 0),
        (box(-180, 180), 0),
        ({"type": "GeometryCollection", "geometries": [box(10, 20), POINT | {"coordinates": [30, 0]}]}, 20),
        ({"type": "LinearRing", "coordinates": box(-123, -121)["coordinates"][0]}, -122),
        ({"type": "Polygon", "coordinates": [[["-Infinity", "-Infinity"], ["Infinity", "Infinity"]]]}, None),
        (None, None),
        ({}, None),
        ({"type": "Point", "coordinates": {}}, None),
    ],
)
def test_the_middle_of_a_footprint(footprint, middle):
    found = middle_longitude(footprint)
    assert found is None if middle is None else found == pytest.approx(middle)


@given(st.integers(-180, 179), st.integers(1, 170), st.booleans())
def test_the_middle_of_a_box_anywhere(west, width, wrapped):
    def turn(longitude):
        return (longitude + 180) % 360 - 180 if wrapped else longitude

    found = middle_longitude(box(turn(west), turn(west + width)))
    assert -180 <= found < 180
    assert (found - (west + width / 2)) % 360 == pytest.approx(0, abs=1e-9) or (
        found - (west + width / 2)
    ) % 360 == pytest.approx(360)


@given(st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["type", "coordinates", "geometries"]), x), max_leaves=9))  # fmt: skip
def test_any_footprint_has_a_middle_or_none(footprint):
    found = middle_longitude(footprint)
    assert found is None or -180 <= found < 180
