"""Contract §10, rows 12 to 14 and 16: what clients fetch before their first call."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.contract.conftest import error_of
from tests.oracle import QUICKSTART, oracle_window


@pytest.mark.parametrize("token", [None, "Bearer tok", "Bearer nonsense"])
def test_row_012_discovery(api, token):
    path = "/$discovery/rest?version=v1&prettyPrint=false"
    answer = api.get(path, Authorization=token, X_Goog_User_Project=None)
    assert answer.status_code == 200
    document = answer.json()
    assert (document["name"], document["version"]) == ("earthengine", "v1")
    projects = document["resources"]["projects"]["resources"]
    assert set(projects) == {"assets", "algorithms", "image", "value", "thumbnails"}
    assert projects["assets"]["methods"]["getPixels"]["path"] == "v1/{+name}:getPixels"


def test_row_012_the_client_library_builds_from_it(api):
    discovery = pytest.importorskip(
        "googleapiclient.discovery", reason="google-api-python-client is not installed"
    )
    http = pytest.importorskip("httplib2").Http()
    document = api.get("/$discovery/rest?version=v1").json()
    built = discovery.build_from_document(document, http=http)
    request = built.projects().assets().get(name="projects/earthengine-public/assets/LANDSAT")
    assert request.uri.startswith(
        "https://earthengine.googleapis.com/v1/projects/earthengine-public/assets/LANDSAT"
    )


def test_row_013_other_versions(api):
    first = api.get("/$discovery/rest?version=v1").json()
    alpha = api.get("/$discovery/rest?version=v1alpha").json()
    assert alpha == json.loads(json.dumps(first).replace('"v1/', '"v1alpha/'))
    assert alpha != first
    error_of(api.get("/$discovery/rest?version=v9"), 404, "NOT_FOUND")


def test_row_014_algorithms(api):
    answer = api.get("/v1/projects/p-test-1/algorithms?prettyPrint=false&alt=json")
    listed = {entry["name"].removeprefix("algorithms/"): entry for entry in answer.json()["algorithms"]}
    wanted = """Image.load Image.constant Image.select Image.subtract Image.divide Image.multiply Image.add Image.eq
        Image.addBands Image.updateMask Image.unmask Image.toInt16 Image.clip Image.reproject Image.resample
        Image.normalizedDifference Image.parseExpression Image.visualize Image.clipToBoundsAndScale
        ImageCollection.load ImageCollection.fromImages ImageCollection.mosaic reduce.median Collection.first
        Collection.filter Collection.map Filter.dateRangeContains Filter.intersects Filter.lessThan DateRange Feature
        GeometryConstructors.Polygon Projection Number.add"""
    assert set(wanted.split()) <= set(listed)
    load = listed["Image.load"]
    assert load["returnType"] == "Image"
    assert [a["argumentName"] for a in load["arguments"]] == ["id", "version"]
    assert load["arguments"][1]["optional"]
    assert load["arguments"][1]["defaultValue"] == -1


def test_row_016_gdal_opens_the_image(api, emulator):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.Env() as environment:
        if "EEDAI" not in environment.drivers():
            pytest.skip("this GDAL was built without its EEDAI driver")
    options = {"EEDA_URL": f"{emulator.url}/v1alpha/", "EEDA_BEARER": "tok", "CPL_GCE_SKIP": "YES"}
    with rasterio.Env(**options):
        with rasterio.open(f"EEDAI:{QUICKSTART}") as whole:
            assert [name.rsplit(":", 1)[1] for name in whole.subdatasets] == [
                "B1,B9,B10,QA60",
                "B2,B3,B4,B8,QA10",
                "B5,B6,B7,B8A,B11,B12,QA20",
            ]
            assert (whole.count, whole.width, whole.height, whole.crs.to_epsg()) == (4, 1830, 1830, 32610)
        for encoding in ("NPY", "GEO_TIFF"):
            with rasterio.open(f"EEDAI:{QUICKSTART}:B2,B3", PIXEL_ENCODING=encoding) as file:
                pixels = file.read(window=((100, 400), (300, 600)))
                for i, band in enumerate(("B2", "B3")):
                    np.testing.assert_array_equal(
                        pixels[i], oracle_window(QUICKSTART, band, 300, 100, 300, 300)
                    )
                assert file.read(1, out_shape=(171, 171)).shape == (171, 171)
