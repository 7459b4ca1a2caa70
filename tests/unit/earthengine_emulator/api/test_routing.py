"""Routes of the API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthengine_emulator.api import routing


@pytest.mark.parametrize(
    ("verb", "path", "method", "resource"),
    [
        ("GET", "/v1/projects/p-a-b-c/assets/a/b", "assets.get", "projects/p-a-b-c/assets/a/b"),
        ("GET", "/v1/projects/p-a-b-c/assets/a%2Fb", "assets.get", "projects/p-a-b-c/assets/a/b"),
        (
            "GET",
            "/v1/projects/x.y:p-a-b-c/assets/a:listAssets",
            "assets.listAssets",
            "projects/x.y:p-a-b-c/assets/a",
        ),
        ("GET", "/v1/projects/x.y:p-a-b-c/assets/a", "assets.get", "projects/x.y:p-a-b-c/assets/a"),
        ("GET", "/v1/projects/p:listAssets", "assets.listAssets", "projects/p"),
        ("GET", "/v1alpha/projects/p/assets/a:listImages", "assets.listImages", "projects/p/assets/a"),
        ("POST", "/v1/projects/p/assets/a:getPixels", "assets.getPixels", "projects/p/assets/a"),
        ("POST", "/v1beta/projects/p/image:computePixels", "image.computePixels", "projects/p/image"),
        ("POST", "/v1/projects/p/value:compute", "value.compute", "projects/p/value"),
        ("POST", "/v1/projects/p/thumbnails", "thumbnails.create", "projects/p/thumbnails"),
        ("GET", "/v1/projects/p/thumbnails/t:getPixels", "thumbnails.getPixels", "projects/p/thumbnails/t"),
        ("GET", "/v1/projects/p/algorithms", "algorithms.list", "projects/p/algorithms"),
        ("POST", "/token", "token", ""),
    ],
)
def test_routes(verb, path, method, resource):
    route = routing.find(verb, path)
    assert (route.method, route.resource) == (method, resource)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v9/projects/p/assets/a"),
        ("GET", "/v1/projects/p/assets/a:listImages"),
        ("PUT", "/v1/projects/p/assets/a:getPixels"),
        ("DELETE", "/v1/projects/p/assets/a"),
        ("GET", "/token"),
        ("POST", "/v1/projects/p/assets/a:nothing"),
    ],
)
def test_no_routes(verb, path):
    assert routing.find(verb, path) is None


@given(st.text(max_size=60))
def test_any_path_has_an_answer(path):
    routing.find("GET", "/" + path)
