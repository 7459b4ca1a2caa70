"""CRSs: as the asset states them on the wire, as PROJ understands them inside."""

from __future__ import annotations

import pyproj
import pytest

from downloader.errors import JobError
from downloader.model.crs import Crs


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("EPSG:32610", "EPSG:32610"),
        (" epsg:4326 ", "EPSG:4326"),
        ("sr-org:6974", "SR-ORG:6974"),
        ("ESRI:54009",) * 2,
    ],
)
def test_codes_are_read_in_any_case(text: str, code: str) -> None:
    assert Crs.parse(text) == Crs(code=code)


def test_wkt_is_kept_untouched() -> None:
    wkt = pyproj.CRS("EPSG:3031").to_wkt()
    crs = Crs.parse(wkt)
    assert crs.wkt == wkt
    assert crs.to_json() == {"crsWkt": wkt}
    assert crs.to_pyproj() == pyproj.CRS("EPSG:3031")
    assert str(crs) == "WGS 84 / Antarctic Polar Stereographic"


@pytest.mark.parametrize(
    "text",
    ["", "4326", "WGS 84", "EPSG:999999", "+proj=utm +zone=10", "NONSENSE:1", "PROJCS[broken", "x" * 5000],
)
def test_what_proj_does_not_know_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(
        JobError, match=r"unknown CRS .*use an authority code such as EPSG:32610, or WKT"
    ) as caught:
        Crs.parse(text)
    if len(text) < 1000:
        assert text in str(caught.value)


def test_long_wkt_is_not_repeated_in_full() -> None:
    with pytest.raises(JobError) as caught:
        Crs.parse("PROJCS[" + "x" * 5000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["EPSG:4978", "EPSG:5773"])
def test_crs_without_map_coordinates_are_refused(text: str) -> None:
    with pytest.raises(JobError, match="neither geographic nor projected"):
        Crs.parse(text)


def test_a_crs_is_a_code_or_a_wkt_and_not_both() -> None:
    with pytest.raises(JobError, match="either a code or a WKT"):
        Crs()
    with pytest.raises(JobError, match="either a code or a WKT"):
        Crs(code="EPSG:4326", wkt="GEOGCS[]")


def test_modis_sinusoidal_is_known_though_proj_lacks_it() -> None:
    """The tile h08v05 begins at 8 of 18 tiles west of the centre: 1111950.5197665 m each."""
    crs = Crs(code="SR-ORG:6974")
    to_degrees = pyproj.Transformer.from_crs(crs.to_pyproj(), "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(-8895604.157333, 3335851.559)
    assert (lon, lat) == (pytest.approx(-92.3760430676949), pytest.approx(30.0, abs=1e-6))
    assert crs.to_json() == {"crsCode": "SR-ORG:6974"}
    assert crs.metres_per_unit == 1


@pytest.mark.parametrize(
    ("code", "unit"), [("EPSG:32610", "m"), ("EPSG:4326", "deg"), ("EPSG:2225", "US-survey-foot")]
)
def test_units(code: str, unit: str) -> None:
    assert Crs(code=code).unit == unit


@pytest.mark.parametrize("code", ["EPSG:4326", "EPSG:4258", "EPSG:32610", "EPSG:2227", "SR-ORG:6974"])
def test_metres_per_unit(code: str) -> None:
    expected = {"EPSG:4326": 111319.49079327358, "EPSG:4258": 111319.49079327358, "EPSG:2227": 1200 / 3937}
    assert Crs.parse(code).metres_per_unit == pytest.approx(expected.get(code, 1), rel=1e-12)


@pytest.mark.parametrize(
    ("longitude", "latitude"),
    [(-180, 1), (-174, 1), (-0.001, -1), (0, 0), (5.999, 64), (6, -79), (179.999, 83), (185, 10)],
)
def test_utm_is_the_zone_whose_central_meridian_is_nearest(longitude: float, latitude: float) -> None:
    crs = Crs.utm(longitude, latitude).to_pyproj()
    projection = pyproj.CRS(crs).coordinate_operation
    assert projection is not None
    central = next(p.value for p in projection.params if p.name == "Longitude of natural origin")
    assert -3 <= (longitude - central + 180) % 360 - 180 < 3
    assert ("S" in crs.utm_zone) == (latitude < 0)
