"""Rows 17 to 26 of tests/contract/acceptance.md: assets.get."""

from __future__ import annotations

import pytest

from tests.contract.conftest import error_of
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B

REFLECTANCES = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
ORDER = [*REFLECTANCES, "QA10", "QA20", "QA60"]
TEN = {"B2", "B3", "B4", "B8", "QA10"}
SIXTY = {"B1", "B9", "B10", "QA60"}


@pytest.fixture
def bands(api):
    return {band["id"]: band for band in api.get(f"/v1/{QUICKSTART}").json()["bands"]}


def test_row_017_quickstart_image(api, bands):
    asset = api.get(f"/v1/{QUICKSTART}").json()
    assert asset["type"] == "IMAGE"
    assert asset["name"] == QUICKSTART
    assert asset["id"] == QUICKSTART.removeprefix(PUBLIC)
    assert list(bands) == ORDER
    for name, band in bands.items():
        side, scale = (10980, 10) if name in TEN else (1830, 60) if name in SIXTY else (5490, 20)
        greatest = 4294967295 if name == "QA20" else 65535
        assert band["dataType"] == {"precision": "INT", "range": {"max": greatest}}
        assert band["grid"] == {
            "crsCode": "EPSG:32610",
            "dimensions": {"width": side, "height": side},
            "affineTransform": {
                "scaleX": scale,
                "translateX": 499980,
                "scaleY": -scale,
                "translateY": 4200000,
            },
        }


@pytest.mark.parametrize("version", ["v1alpha", "v1beta"])
def test_row_018_other_versions(api, version):
    assert api.get(f"/{version}/{QUICKSTART}").json() == api.get(f"/v1/{QUICKSTART}").json()


def test_row_019_pyramiding_policies(bands):
    for name, band in bands.items():
        assert band["pyramidingPolicy"] == ("SAMPLE" if name.startswith("QA") else "MEAN")


def test_row_020_cloudiness(api):
    assert api.get(f"/v1/{QUICKSTART}").json()["properties"]["CLOUDY_PIXEL_PERCENTAGE"] == 0
    assert api.get(f"/v1/{QUICKSTART_B}").json()["properties"]["CLOUDY_PIXEL_PERCENTAGE"] == 4.3166


def test_row_021_size_is_a_string(api):
    assert isinstance(api.get(f"/v1/{QUICKSTART}").json()["sizeBytes"], str)


def test_row_022_folder(api):
    name = f"{PUBLIC}LANDSAT"
    assert api.get(f"/v1/{name}").json() == {"type": "FOLDER", "name": name, "id": "LANDSAT"}


def test_row_023_collection(api):
    asset = api.get(f"/v1/{PUBLIC}COPERNICUS/S2").json()
    assert asset["type"] == "IMAGE_COLLECTION"
    assert "bands" not in asset


@pytest.mark.parametrize("name", [f"{PUBLIC}NOPE", "projects/p-test-1/assets/COPERNICUS/S2"])
def test_rows_024_025_no_such_asset(api, name):
    error = error_of(api.get(f"/v1/{name}"), 404, "NOT_FOUND")
    assert error["message"] == f"Asset '{name}' does not exist or doesn't allow this operation."


def test_row_026_unknown_version(api):
    error_of(api.get(f"/v9/{QUICKSTART}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "query", ["?prettyPrint=false&alt=json", "?key=x&quotaUser=y&%24.xgafv=2&fields=name"]
)
def test_common_query_parameters_are_ignored(api, query):
    assert api.get(f"/v1/{QUICKSTART}{query}").json()["name"] == QUICKSTART


def test_names_are_percent_decoded(api):
    assert api.get(f"/v1/{QUICKSTART.replace('_', '%5F')}").status_code == 200


@pytest.mark.parametrize("path", [f"/v1/{PUBLIC}NOPE", f"/v1/{QUICKSTART}", "/nothing"])
def test_every_answer_names_the_data_set(api, path):
    assert api.get(path).headers["x-earth-engine-emulator"] == "land-2"


def test_update_times_can_be_changed_and_assets_deleted(api, emulator):
    name = f"{PUBLIC}EMULATOR/SERIES/20150102"
    emulator.control("configure", {"assets": {name: {"updateTime": "2031-01-01T00:00:00Z"}}})
    assert api.get(f"/v1/{name}").json()["updateTime"] == "2031-01-01T00:00:00Z"
    emulator.control("configure", {"assets": {name: None}})
    assert api.get(f"/v1/{name}").status_code == 404
