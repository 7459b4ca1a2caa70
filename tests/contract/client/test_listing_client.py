"""Listings and thumbnails: the real client against the emulator, by either method, with every fault of a list."""

import io
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image as Picture

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.documents import ImageReader
from downloader.earthengine.listing import Listing
from downloader.earthengine.query import Query
from downloader.earthengine.thumbnail import Stretch, fetch_thumbnail
from downloader.errors import AuthenticationError, JobError, StoppedError
from downloader.model.image_query import ImageQuery
from tests.contract.client.conftest import S2, HastyClock, client_of, ok
from tests.contract.conftest import Api

POINT = {"type": "Point", "coordinates": [-122.085, 37.422]}
QUICKSTART = {
    "start": "2017-04-01",
    "end": "2017-05-01",
    "region": POINT,
    "filter": "CLOUDY_PIXEL_PERCENTAGE < 10",
}
TWO = ["COPERNICUS/S2/20170420T184921_20170420T190203_T10SEG", S2]
SURFACE = "COPERNICUS/S2_SR_HARMONIZED"


@pytest.fixture(autouse=True)
def clean(emulator, monkeypatch):
    for name in ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    emulator.control("reset", {})
    yield
    emulator.control("reset", {})


@pytest.fixture
async def client(emulator):
    auth = AuthSettings("key_file", emulator.key_file)
    access = Access(auth, emulator.url, emulator.high_volume_url)
    async with EarthEngine(access, HastyClock()) as made:
        yield made


async def listed(client, collection="COPERNICUS/S2", **conditions):
    query = Query.of(ImageQuery(collection, **conditions))
    return await Listing(client).select(query, lambda d: d["id"])


def asked(emulator, what="assets.list"):
    requests = emulator.control("requests?since=0")["requests"]
    return [request["method"] for request in requests if request["method"].startswith(what)]


# The quickstart ------------------------------------------------------------------------------------------------


async def test_the_quickstarts_query_finds_its_two_images(client):
    found = await EarthEngineCatalogue(client).images(ImageQuery("COPERNICUS/S2", **QUICKSTART))
    assert [(image.id, image.properties["CLOUDY_PIXEL_PERCENTAGE"]) for image in found] == [
        (TWO[0], 4.3166), (S2, 0),
    ]  # fmt: skip
    assert found[1].bands == (await EarthEngineCatalogue(client).image(S2)).bands
    assert found[1] == await EarthEngineCatalogue(client).image(S2)
    assert found[0].longitude == pytest.approx(-122.4, abs=0.1)


async def test_documents_are_the_services_own(client, emulator):
    api = Api(emulator)
    api.headers["Authorization"] = "Bearer " + emulator.control("tokens", {})["access_token"]
    documents = await Listing(client).select(Query.of(ImageQuery("COPERNICUS/S2", **QUICKSTART)), lambda d: d)
    assert documents == [
        api.get(f"/v1/projects/earthengine-public/assets/{identifier}").json() for identifier in TWO
    ]
    api.client.close()


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (QUICKSTART, TWO),
        ({}, TWO),
        ({"start": "2017-04-20T18:49:21Z", "end": "2017-04-30T19:03:51Z"}, TWO[:1]),
        ({"start": "2017-04-20T18:49:22Z"}, TWO[1:]),
        ({"end": "2017-04-21"}, TWO[:1]),
        ({"filter": "NOT CLOUDY_PIXEL_PERCENTAGE < 1 OR system:index = 'x'"}, TWO[:1]),
        ({"filter": "NOTHING < 1"}, []),
        ({"filter": 'startTime > "2017-04-25"'}, TWO[1:]),
        ({"region": {"type": "Point", "coordinates": [10, 10]}}, []),
    ],
)
async def test_conditions_choose_the_images(client, conditions, wanted):
    assert await listed(client, **conditions) == wanted


@pytest.mark.parametrize(
    "conditions",
    [
        {"start": "2017-05-01", "end": "2017-07-01", "filter": 'MGRS_TILE = "10SEG" OR MGRS_TILE = "10SFG"'},
        {"start": "2017-11-01", "filter": "CLOUDY_PIXEL_PERCENTAGE < 30 AND NOT (MGRS_TILE = '10SEH')"},
        {"end": "2017-05-01", "region": {"type": "Polygon", "coordinates": [[[-122.5, 37.5], [-121, 37.5], [-121, 38.2], [-122.5, 37.5]]]}},
    ],
)  # fmt: skip
async def test_many_images_come_in_order(client, conditions):
    first = await listed(client, SURFACE, **conditions)
    assert len(first) >= 5
    assert first == sorted(first)  # ids begin with the time


async def test_start_is_taken_and_end_is_not(client):
    assert await listed(client, start="2017-04-20T18:49:21Z", end="2017-04-30T19:03:51Z") == TWO[:1]


async def test_fifteen_hundred_images_by_pages(client, emulator):
    found = await listed(client, "EMULATOR/SERIES")
    assert len(found) == 1500
    assert found == sorted(found)
    assert asked(emulator) == ["assets.listAssets"] * 3


async def test_limit_and_order(client, emulator):
    assert await listed(client, "EMULATOR/SERIES", limit=3) == [
        f"EMULATOR/SERIES/2015010{k}" for k in (1, 2, 3)
    ]
    assert asked(emulator) == ["assets.listAssets"]
    clearest = await listed(
        client, "EMULATOR/SERIES", limit=2, order_by="CLOUD_COVER", start="2016-01-01", end="2017-01-01"
    )
    clouds = {i: i * 37 % 101 for i in range(365, 365 + 366)}
    days = sorted(clouds, key=lambda i: (clouds[i], i))[:2]
    first = np.datetime64("2015-01-01")
    assert clearest == [f"EMULATOR/SERIES/{str(first + i).replace('-', '')}" for i in days]


# What is no list -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collection", "error", "said"),
    [
        ("COPERNICUS/NOPE", JobError, "COPERNICUS/NOPE: 404: .* does not exist"),
        ("LANDSAT", JobError, "LANDSAT is not an image collection but a folder"),
        (S2, JobError, "is not an image collection but an image"),
        ("projects/p-private-1/assets/secret", AuthenticationError, "earthengine.assets.get"),
        ("users/ann/nothing", JobError, "users/ann/nothing: 404"),
    ],
)
async def test_what_is_no_collection(client, collection, error, said):
    with pytest.raises(error, match=said):
        await listed(client, collection)


async def test_children_are_counted(client):
    listing = Listing(client)
    assert await listing.count("LANDSAT") == (3, False)
    assert await listing.count("COPERNICUS/S2") == (2, False)
    assert await listing.count("EMULATOR/SERIES") == (1000, True)


# Faults of listings (fault 18) -----------------------------------------------------------------------------------


def strike(emulator, fault, **more):
    emulator.control("configure", {"faults": [{"fault": fault, **more}]})


@pytest.mark.parametrize("fault", ["empty-page", "many-pages"])
async def test_short_pages_are_followed_to_the_end(client, emulator, fault):
    strike(emulator, fault, **({"times": 2} if fault == "empty-page" else {}))
    assert await listed(client, **QUICKSTART) == TWO
    assert len(asked(emulator)) > 1


async def test_a_list_that_goes_in_circles_ends_with_a_clear_error(client, emulator):
    strike(emulator, "repeated-token")
    with pytest.raises(StoppedError, match=r"EMULATOR/SERIES: the service gave a page token .* before"):
        await listed(client, "EMULATOR/SERIES")
    assert len(asked(emulator)) <= 3


@pytest.mark.parametrize("field", ["updateTime", "startTime", "bands", "geometry", "name", "id", "type"])
async def test_a_field_that_is_missing_changes_nothing(client, emulator, field):
    whole = await EarthEngineCatalogue(client).images(ImageQuery("COPERNICUS/S2", **QUICKSTART))
    strike(emulator, "missing-field", field=field)
    found = await EarthEngineCatalogue(client).images(ImageQuery("COPERNICUS/S2", **QUICKSTART))
    if field == "geometry":  # only the solar day needs it, and only roughly
        assert [image.id for image in found] == [image.id for image in whole]
    else:
        assert found == whole


@pytest.mark.parametrize("fault", ["unavailable-503", "html-502", "rate-429", "reset-before-headers", "short-body", "json-200", "unauthenticated-401"])  # fmt: skip
async def test_a_page_that_fails_is_asked_for_again(client, emulator, fault):
    strike(emulator, fault, on="list", skip=1, times=1)
    assert len(await listed(client, "EMULATOR/SERIES")) == 1500
    assert asked(emulator).count("assets.listAssets") == 4


async def test_a_page_that_always_fails_ends_it(client, emulator):
    strike(emulator, "unavailable-503", on="list")
    with pytest.raises(StoppedError, match="COPERNICUS/S2: its list: 503"):
        await listed(client)


async def test_a_filter_that_the_service_refuses_is_told_in_its_words(client, emulator):
    strike(emulator, "bad-request-400", on="list", message="Invalid filter: too clever.")
    with pytest.raises(JobError, match="COPERNICUS/S2: its list: 400: Invalid filter: too clever"):
        await listed(client)


# Long queries ----------------------------------------------------------------------------------------------------


async def test_a_long_region_goes_by_post(client, emulator):
    ring = [[-122.085 + 0.1 * np.cos(t), 37.422 + 0.1 * np.sin(t)] for t in np.linspace(0, 2 * np.pi, 300)]
    region = {"type": "Polygon", "coordinates": [[[float(x), float(y)] for x, y in ring]]}
    assert await listed(client, region=region) == TWO
    records = emulator.control("requests?since=0")["requests"]
    (request,) = [r for r in records if r["method"] == "assets.listAssets"]
    assert request["headers"]["x-http-method-override"] == "GET"
    assert request["headers"]["content-type"] == "application/x-www-form-urlencoded"


async def test_what_goes_by_post_is_the_query_itself(wire):
    pages = [b'{"type": "IMAGE_COLLECTION"}', b"{}"]

    async def script(connection, number):
        await connection.send(ok(pages[number - 1]))
        return True

    wire.script = script
    condition = " OR ".join(f"a = {k}" for k in range(400))
    async with client_of(wire.url) as client:
        assert await listed(client, "A/B", filter=condition) == []
    line, headers, body = wire.requests[1]
    assert line == "POST /v1/projects/earthengine-public/assets/A/B:listAssets HTTP/1.1"
    assert "content-type" in headers
    sent = parse_qs(body.decode())
    assert sent == {"filter": [condition.replace("a =", "properties.a =")], "pageSize": ["500"]}


async def test_a_short_query_goes_by_get(wire):
    async def script(connection, number):
        await connection.send(ok([b'{"type": "IMAGE_COLLECTION"}', b"{}"][number - 1]))
        return True

    wire.script = script
    async with client_of(wire.url) as client:
        await listed(client, "A/B", filter="a < 1", limit=7)
    assert wire.requests[1][0] == (
        "GET /v1/projects/earthengine-public/assets/A/B:listAssets?filter=properties.a+%3C+1&pageSize=7 HTTP/1.1"
    )


# Thumbnails ----------------------------------------------------------------------------------------------------


def pixels(png):
    return np.asarray(Picture.open(io.BytesIO(png)).convert("RGB"))


async def test_the_quickstarts_thumbnail_is_its_request(client, emulator):
    png = await fetch_thumbnail(client, S2, ["B4", "B3", "B2"], Stretch((0,), (3000,)))
    api = Api(emulator)
    api.headers["Authorization"] = "Bearer " + emulator.control("tokens", {})["access_token"]
    name = f"projects/earthengine-public/assets/{S2}"
    direct = api.pixels(
        name,
        fileFormat="PNG",
        bandIds=["B4", "B3", "B2"],
        region=api.get(f"/v1/{name}").json()["geometry"],
        grid={"dimensions": {"width": 256, "height": 256}},
        visualizationOptions={"ranges": [{"min": 0, "max": 3000}]},
    )
    api.client.close()
    assert png == direct.content
    assert pixels(png).shape == (256, 256, 3)
    assert pixels(png).std() > 10


async def test_gamma_palette_and_ranges_reach_the_service(client):
    plain = pixels(await fetch_thumbnail(client, S2, ["B8"], Stretch((0,), (5000,)), size=32))
    bright = pixels(await fetch_thumbnail(client, S2, ["B8"], Stretch((0,), (5000,), gamma=2), size=32))
    assert (bright >= plain).all()
    assert bright.mean() > plain.mean() + 10
    blue = await fetch_thumbnail(
        client, S2, ["B8"], Stretch((0,), (5000,), palette=("black", "#0000ff")), size=32
    )
    assert (pixels(blue)[..., :2] == 0).all()
    assert np.abs(pixels(blue)[..., 2].astype(int) - plain[..., 2]).max() <= 1
    again = await fetch_thumbnail(client, S2, ("B8",), Stretch((0,), (5000,)), size=32)
    assert (pixels(again) == plain).all()
    each = await fetch_thumbnail(client, S2, ["B4", "B3", "B2"], Stretch((0, 0, 0), (3000, 1, 3000)), size=32)
    assert (pixels(each)[..., 1] == 255).all()
    assert pixels(each)[..., 0].min() < 255


async def test_a_region_is_shown_in_place_of_the_footprint(client):
    whole = await fetch_thumbnail(client, S2, ["B8"], Stretch(), size=32)
    region = {
        "type": "Polygon",
        "coordinates": [[[-122.5, 37.3], [-122.4, 37.3], [-122.4, 37.4], [-122.5, 37.3]]],
    }
    part = await fetch_thumbnail(client, S2, ["B8"], Stretch(), size=32, region=region)
    assert part != whole


async def test_bands_are_the_first_three_where_none_are_named(client):
    named = await fetch_thumbnail(client, S2, ["B1", "B2", "B3"], Stretch(), size=16)
    assert await fetch_thumbnail(client, S2, None, Stretch(), size=16) == named


@pytest.mark.parametrize(
    ("asset", "bands", "stretch", "error", "said"),
    [
        (S2, ["B99"], Stretch(), JobError, "no band 'B99'"),
        (S2, ["B1", "B2"], Stretch(), JobError, "one band, or three"),
        ("COPERNICUS/S2", ["B1"], Stretch(), JobError, "is not an image but an image collection"),
        ("LANDSAT", ["B1"], Stretch(), JobError, "is not an image but a folder"),
        ("COPERNICUS/S2/NOPE", ["B1"], Stretch(), JobError, "404"),
    ],
)
async def test_thumbnails_that_cannot_be(client, emulator, asset, bands, stretch, error, said):
    with pytest.raises(error, match=said):
        await fetch_thumbnail(client, asset, bands, stretch)
    assert not asked(emulator, "assets.getPixels")


@pytest.mark.parametrize("fault", ["unavailable-503", "html-200", "empty-200", "short-body", "rate-429"])
async def test_a_thumbnail_that_fails_is_asked_for_again(client, emulator, fault):
    good = await fetch_thumbnail(client, S2, ["B8"], Stretch(), size=16)
    strike(emulator, fault, times=1)
    assert await fetch_thumbnail(client, S2, ["B8"], Stretch(), size=16) == good
    assert len(asked(emulator, "assets.getPixels")) == 3


async def test_what_is_no_picture_is_no_thumbnail(client, emulator):
    strike(emulator, "html-200")
    with pytest.raises(StoppedError, match="its thumbnail: a web page under status 200"):
        await fetch_thumbnail(client, S2, ["B8"], Stretch(), size=16)


async def test_the_images_of_a_series_share_their_bands(client):
    documents = await Listing(client).select(Query("EMULATOR/SERIES"), lambda d: d)
    reader = ImageReader()
    images = [reader.read(document) for document in documents]
    assert len({id(image.bands) for image in images}) == 1
