"""Rows 27 to 45 of tests/contract/acceptance.md: listAssets and listImages."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import httpx
import pytest

from tests.contract.conftest import error_of
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B

S2 = f"{PUBLIC}COPERNICUS/S2"
SERIES = f"{PUBLIC}EMULATOR/SERIES"
POINT = {"type": "Point", "coordinates": [-122.085, 37.422]}
QUERY = {
    "startTime": "2017-04-01T00:00:00.000Z",
    "endTime": "2017-05-01T00:00:00.000Z",
    "region": json.dumps(POINT),
    "filter": "CLOUDY_PIXEL_PERCENTAGE < 10",
}
FOLDED = (
    'startTime >= "2017-04-01T00:00:00.000Z" AND endTime < "2017-05-01T00:00:00.000Z" AND intersects("{\'type\': '
    "'Point', 'coordinates': [-122.085, 37.422]}\") AND properties.CLOUDY_PIXEL_PERCENTAGE<10"
)
BOTH = [QUICKSTART_B, QUICKSTART]


def ask(api, parent, method="listAssets", version="v1", **query):
    return api.get(f"/{version}/{parent}:{method}?{urlencode(query)}")


def names(answer, key="assets"):
    assert answer.status_code == 200, answer.text
    return [entry["name"] for entry in answer.json().get(key, [])]


def test_row_027_quickstart_query(api):
    answer = ask(api, S2, "listImages", "v1alpha", **QUERY)
    assert names(answer, "images") == BOTH
    assert "nextPageToken" not in answer.json()
    assert answer.json()["images"][0] == api.get(f"/v1/{QUICKSTART_B}").json()


def test_row_028_not_in_v1(api):
    error_of(ask(api, S2, "listImages", "v1", **QUERY), 404, "NOT_FOUND")


def test_row_029_folded_filter(api):
    assert names(ask(api, S2, filter=FOLDED)) == BOTH


def test_rows_030_031_by_cloud(api):
    query = {**QUERY, "filter": "CLOUDY_PIXEL_PERCENTAGE < 1"}
    assert names(ask(api, S2, "listImages", "v1alpha", **query), "images") == [QUICKSTART]
    query["filter"] = "CLOUDY_PIXEL_PERCENTAGE > 50"
    answer = ask(api, S2, "listImages", "v1alpha", **query)
    assert answer.json() == {}


def test_row_032_pages(api):
    first = ask(api, S2, filter=FOLDED, pageSize=1)
    second = ask(api, S2, filter=FOLDED, pageSize=1, pageToken=first.json()["nextPageToken"])
    assert names(first) + names(second) == BOTH
    assert "nextPageToken" not in second.json()


def test_row_033_forged_and_foreign_tokens(api):
    error_of(ask(api, S2, pageToken="forged"), 400, "INVALID_ARGUMENT")
    error_of(ask(api, S2, pageToken="Zm9yZ2Vk" * 9), 400, "INVALID_ARGUMENT")
    token = ask(api, S2, filter=FOLDED, pageSize=1).json()["nextPageToken"]
    error_of(ask(api, S2, filter='startTime > "2017-01-01"', pageToken=token), 400, "INVALID_ARGUMENT")


def test_row_034_basic_view(api):
    for entry in ask(api, S2, view="BASIC").json()["assets"]:
        assert set(entry) == {"type", "name", "id"}
    error_of(ask(api, S2, view="SHORT"), 400, "INVALID_ARGUMENT")


def test_rows_035_036_page_caps(api):
    answer = ask(api, SERIES, pageSize=5000)
    assert len(answer.json()["assets"]) == 1000
    rest = ask(api, SERIES, pageSize=5000, pageToken=answer.json()["nextPageToken"])
    assert len(rest.json()["assets"]) == 500
    assert "nextPageToken" not in rest.json()
    basic = ask(api, SERIES, pageSize=20000, view="BASIC")
    assert len(basic.json()["assets"]) == 1500
    assert "nextPageToken" not in basic.json()


@pytest.mark.parametrize(
    "geometry",
    [
        "{'type':'Point','coordinates':[-122.085,37.422]}",
        json.dumps(POINT).replace('"', '\\"'),
        "POINT(-122.085 37.422)",
        "POLYGON((-122.1 37.4, -122.0 37.4, -122.0 37.5, -122.1 37.5, -122.1 37.4))",
        "LINESTRING(-140 37.5, -100 37.5)",
        "MULTIPOINT((10 10), (-122.085 37.422))",
    ],
)
def test_row_037_geometries(api, geometry):
    assert names(ask(api, S2, filter=f'intersects("{geometry}")')) == BOTH
    far = "POLYGON((10 10, 11 10, 11 11, 10 10))"
    assert names(ask(api, S2, filter=f'intersects("{far}")')) == []


def test_row_038_or_binds_tighter_than_and(api):
    text = "properties.CLOUD_COVER = 37 AND properties.DAY = 1 OR properties.DAY = 2"
    assert names(ask(api, SERIES, filter=text)) == [f"{SERIES}/20150102"]
    text = "(properties.CLOUD_COVER = 37 AND properties.DAY = 1) OR properties.DAY = 2"
    assert names(ask(api, SERIES, filter=text)) == [f"{SERIES}/20150102", f"{SERIES}/20150103"]


def test_row_039_not_and_names_with_colons(api):
    assert names(ask(api, S2, filter="(NOT SOLAR_IRRADIANCE_B1 > 5)")) == []
    assert names(ask(api, S2, filter="(NOT SOLAR_IRRADIANCE_B2 > 5)")) == BOTH
    index = "20170430T190351_20170430T190351_T10SEG"
    for field in ("system:index", "properties.system:index"):
        assert names(ask(api, S2, filter=f'{field} = "{index}"')) == [QUICKSTART]


def test_row_040_times_with_offsets(api):
    text = 'startTime>"2017-04-20T00:00:00+00:00" AND endTime<"2017-04-29T00:00:00+00:00"'
    assert names(ask(api, S2, filter=text)) == [QUICKSTART_B]


@pytest.mark.parametrize(
    "text",
    [
        "startTime >=",
        "AND",
        "a b c",
        "(a = 1",
        'intersects("nothing")',
        "a = = 1",
        "a ~ 1",
        'startTime > "soon"',
    ],
)
def test_row_041_broken_filters(api, text):
    error_of(ask(api, S2, filter=text), 400, "INVALID_ARGUMENT")


def test_row_042_missing_properties(api):
    assert names(ask(api, S2, filter="properties.NOTHING != 7")) == []
    assert names(ask(api, S2, filter='CLOUDY_PIXEL_PERCENTAGE = "0"')) == []


def test_row_043_method_override(api):
    answer = api.post(
        f"/v1/{S2}:listAssets",
        urlencode({"filter": FOLDED, "alt": "json"}).encode(),
        X_HTTP_Method_Override="GET",
        Content_Type="application/x-www-form-urlencoded",
    )
    assert answer.json() == ask(api, S2, filter=FOLDED).json()


def test_row_044_not_a_container(api):
    error_of(ask(api, QUICKSTART), 400, "INVALID_ARGUMENT")
    error_of(ask(api, f"{PUBLIC}NOPE"), 404, "NOT_FOUND")


def test_row_045_roots(api):
    assert names(ask(api, "projects/p-test-1")) == ["projects/p-test-1/assets/grid"]
    assert names(ask(api, "projects/p-test-1/assets")) == ["projects/p-test-1/assets/grid"]
    assert names(ask(api, "projects/p-other-1")) == []
    top = names(ask(api, "projects/earthengine-public"))
    assert {f"{PUBLIC}COPERNICUS", f"{PUBLIC}LANDSAT", f"{PUBLIC}EMULATOR"} <= set(top)
    error_of(ask(api, "projects/p-private-1"), 403, "PERMISSION_DENIED")


def test_folders_ignore_filters(api):
    everything = names(ask(api, f"{PUBLIC}EMULATOR"))
    assert f"{PUBLIC}EMULATOR/SHEARED" in everything
    assert names(ask(api, f"{PUBLIC}EMULATOR", filter="DAY = 1")) == everything


def test_neighbouring_tiles_are_told_apart_by_place(api):
    surface = f"{S2}_SR_HARMONIZED"
    answer = ask(
        api,
        surface,
        "listImages",
        "v1alpha",
        startTime="2017-04-01T00:00:00Z",
        endTime="2017-04-05T00:00:00Z",
        region="POINT(-121.0 37.5)",
    )
    assert [name[-6:] for name in names(answer, "images")] == ["T10SFG"]


def all_pages(api, limit=50, **query):
    """Follow tokens until there are none, or too many pages."""
    found, tokens, token = [], [], None
    while len(tokens) < limit:
        answer = ask(api, S2, **query, **({"pageToken": token} if token else {}))
        found += names(answer)
        token = answer.json().get("nextPageToken")
        tokens.append(token)
        if token is None:
            break
    return found, tokens


def test_faults_of_listings(api, emulator):
    def strike(fault, **more):
        emulator.control("configure", {"faults": [{"fault": fault, **more}]})

    strike("empty-page", times=1)
    first = ask(api, S2).json()
    assert set(first) == {"nextPageToken"}
    assert names(ask(api, S2, pageToken=first["nextPageToken"])) == BOTH
    strike("many-pages")
    found, tokens = all_pages(api)
    assert (found, len(tokens)) == (BOTH, 2)
    strike("repeated-token")
    _, tokens = all_pages(api, limit=5)
    assert len(tokens) == 5
    assert len(set(tokens[1:])) == 1
    strike("missing-field", field="startTime")
    assert all("startTime" not in entry for entry in ask(api, S2).json()["assets"])


def test_every_character_may_be_percent_encoded(api):
    text = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in "CLOUDY_PIXEL_PERCENTAGE < 1")
    answer = httpx.get(
        f"{api.emulator.url}/v1alpha/{S2}:listImages?pageSize=10&filter={text}",
        headers=api.headers,
        trust_env=False,
    )
    assert names(answer, "images") == [QUICKSTART]
