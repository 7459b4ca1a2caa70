"""Rows 12 to 14 of tests/contract/acceptance.md: what clients fetch before their first call."""

from __future__ import annotations

import json
import warnings

import pytest

from tests.contract.conftest import error_of


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the client library imports
        import httplib2
        from googleapiclient.discovery import build_from_document
    document = api.get("/$discovery/rest?version=v1").json()
    built = build_from_document(document, http=httplib2.Http())
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
