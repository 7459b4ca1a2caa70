"""Listings of a service that says, page by page, what the test wants."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.earthengine import listing as module
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.documents import ImageReader
from downloader.earthengine.listing import Listing
from downloader.earthengine.query import Query
from downloader.errors import Action, FetchProblem, JobError, StoppedError, TileError
from downloader.model.image_query import ImageQuery

NAME = "projects/earthengine-public/assets/A"


def entry(identifier, day=1, **members):
    return {
        "type": "IMAGE",
        "name": f"{NAME}/{identifier}",
        "id": f"A/{identifier}",
        "updateTime": "2020-01-01T00:00:00Z",
        "startTime": f"2017-04-{day:02d}T12:00:00Z",
        "bands": [
            {
                "id": "B1",
                "dataType": {"precision": "FLOAT"},
                "grid": {
                    "crsCode": "EPSG:32610",
                    "dimensions": {"width": 3, "height": 4},
                    "affineTransform": {"scaleX": 10, "scaleY": -10},
                },
            }
        ],
        **members,
    }


def without(document, *keys):
    return {key: value for key, value in document.items() if key not in keys}


def ended(status, action=Action.FAIL_ASSET):
    error = JobError(f"{status}: no")
    error.__cause__ = TileError(FetchProblem(action, str(status), "no", status=status))
    return error


class Service:
    """Gives the pages of one collection in turn; `pages` may be a function of the number of the page."""

    def __init__(self, pages=(), kind="IMAGE_COLLECTION", assets=()):
        self.pages = pages if callable(pages) else lambda number: pages[number]
        self.count = None if callable(pages) else len(pages)
        self.kind = kind
        self.assets = {asset["name"]: asset for asset in assets}
        self.calls = []

    async def call(self, method, path, *, params=None, subject=""):
        self.calls.append((path, dict(params or {})))
        name, _, verb = path.partition(":")
        if not verb:
            return self.assets.get(name, {"type": self.kind, "name": name})
        number = int(params.get("pageToken", "0"))
        page = self.pages(number)
        if isinstance(page, Exception):
            raise page
        if isinstance(page, dict):
            return page
        more = number + 1 != self.count
        return ({"assets": page} if page else {}) | ({"nextPageToken": str(number + 1)} if more else {})

    @property
    def listings(self):
        return [call for call in self.calls if ":" in call[0]]


async def ids(service, **conditions):
    query = Query.of(ImageQuery("A", **conditions))
    return await Listing(service).select(query, lambda d: d["name"].rpartition("/")[2])


async def test_pages_are_followed_by_their_token_alone():
    service = Service([[], [entry("a")], [], [], [entry("b"), entry("c")], []])
    assert await ids(service) == ["a", "b", "c"]
    assert len(service.listings) == 6
    assert [call[1].get("pageToken") for call in service.listings] == [None, "1", "2", "3", "4", "5"]
    first = service.listings[0][1]
    assert all(without(call[1], "pageToken") == first for call in service.listings)


async def test_no_image_is_no_error():
    assert await ids(Service([[]])) == []


async def test_order_is_time_then_id_whatever_the_service_does():
    days = {"c": 1, "a": 2, "b": 2, "d": 3}
    entries = [entry(name, day) for name, day in days.items()]
    random.Random(1).shuffle(entries)
    assert await ids(Service([entries[:1], entries[1:]])) == ["c", "a", "b", "d"]


async def test_times_are_compared_as_times():
    entries = [
        entry("late", startTime="2017-04-01T00:00:00.5Z"),
        entry("early", startTime="2017-04-01T00:00:00Z"),
        entry("never", startTime=""),
        entry("first", startTime="2017-04-01T01:00:00+02:00"),
    ]
    assert await ids(Service([entries])) == ["first", "early", "late", "never"]


async def test_an_image_that_is_listed_twice_is_one():
    assert await ids(Service([[entry("a"), entry("b")], [entry("b"), entry("a")], [entry("c")]])) == [
        "a", "b", "c",
    ]  # fmt: skip


async def test_the_period_is_held_here_too():
    service = Service([[entry(str(day), day) for day in range(1, 7)]])
    assert await ids(service, start="2017-04-02", end="2017-04-04") == ["2", "3"]


# Limits and orders ------------------------------------------------------------------------------------------


async def test_a_limit_asks_for_no_more_than_it_needs():
    service = Service(lambda number: [entry(f"{number}{k}", 20 - number) for k in range(3)])
    assert await ids(service, limit=4) == ["10", "00", "01", "02"]
    assert len(service.listings) == 2
    assert service.listings[0][1]["pageSize"] == "4"


def cloudy(identifier, day, cloud):
    properties = {} if cloud is None else {"CLOUD": cloud}
    return entry(identifier, day, properties=properties)


CLOUDS = [cloudy("a", 4, 7), cloudy("b", 3, None), cloudy("c", 2, 0), cloudy("d", 1, 7), cloudy("e", 5, 7.5)]


@pytest.mark.parametrize(
    ("order_by", "limit", "wanted"),
    [
        ("CLOUD", None, "cdaeb"),
        ("properties.CLOUD", None, "cdaeb"),
        ("-CLOUD", None, "edacb"),
        ("CLOUD", 2, "cd"),
        ("-CLOUD", 2, "ed"),
        ("startTime", 2, "dc"),
        ("-startTime", 2, "ea"),
    ],
)
async def test_order_by(order_by, limit, wanted):
    service = Service([CLOUDS[:3], CLOUDS[3:]])
    assert await ids(service, order_by=order_by, limit=limit) == list(wanted)


async def test_texts_have_an_order_behind_numbers():
    entries = [cloudy("a", 1, "x"), cloudy("b", 1, "10"), cloudy("c", 1, 9), cloudy("d", 1, 10)]
    assert await ids(Service([entries]), order_by="CLOUD") == ["c", "d", "b", "a"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order_by": "CLOUDS"}, "no image of A has a property 'CLOUDS'"),
        ({"order_by": "-"}, "order_by: is empty"),
        ({"limit": 0}, "limit: 0: write a number of at least 1"),
    ],
)
async def test_wrong_orders_and_limits(options, said):
    with pytest.raises(JobError, match=said):
        await ids(Service([CLOUDS]), **options)


POLARISED = [
    entry("a", 1, properties={"pols": ["VV", "VH"], "cloud": 5}),
    entry("b", 2, properties={"pols": ["VV"], "cloud": 5}),
    entry("c", 3, properties={"cloud": 5}),
    entry("d", 4, properties={"pols": ["VH"], "cloud": 60}),
]


@pytest.mark.parametrize(
    ("written", "sent", "wanted"),
    [
        ("VH IN pols", None, "ad"),
        ("NOT VH IN pols", None, "bc"),
        ("VH IN pols AND VV IN pols", None, "a"),
        ("VH IN pols AND MODE = 'IW'", 'properties.MODE = "IW"', "ad"),
        ("VV IN pols OR cloud > 50", None, "abd"),
    ],
)
async def test_lists_are_looked_into_here(written, sent, wanted):
    """The service is asked for the rest, in pages of the usual size however few are wanted."""
    service = Service([POLARISED[:2], POLARISED[2:]])
    assert await ids(service, filter=written, limit=3) == list(wanted)
    assert service.listings[0][1].get("filter") == sent
    assert service.listings[0][1]["pageSize"] == "500"


async def test_a_property_that_is_no_list_anywhere_is_a_mistake():
    with pytest.raises(
        JobError, match=r"filter: in no image of A is cloud a list; .* MGRS_TILE IN \(10SEG, 10SFG\)"
    ):
        await ids(Service([POLARISED]), filter="VH IN cloud")
    assert await ids(Service([[]]), filter="VH IN cloud") == []


# What is no collection, or no list -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [("IMAGE", "an image; `downloader inspect A`"), ("FOLDER", "a folder"), ("TABLE", "a table of features"), ("", "of the unknown type ''")],
)  # fmt: skip
async def test_what_is_no_collection_is_called_by_its_name(kind, said):
    service = Service([[entry("a")]], kind=kind)
    with pytest.raises(JobError, match=re.escape(f"A is not an image collection but {said}")):
        await ids(service)
    assert not service.listings


@pytest.mark.parametrize("page", [{"assets": 5}, {"assets": ["a"]}, {"assets": [], "nextPageToken": 5}])
async def test_lists_that_are_none(page):
    with pytest.raises(StoppedError, match=r"A: the service's (list|page token)"):
        await ids(Service([page]))


async def test_an_entry_without_a_name_is_an_error_and_one_without_either_of_two_is_not():
    assert await ids(Service([[entry("a")]])) == ["a"]
    with pytest.raises(StoppedError, match="lists an image without a name"):
        await ids(Service([[without(entry("a"), "name", "id")]]))


@pytest.mark.parametrize("key", ["name", "bands", "updateTime", "startTime"])
async def test_what_an_entry_lacks_is_asked_of_the_asset(key):
    whole = entry("a", 5)
    service = Service([[without(whole, key), entry("b", 4)]], assets=[whole])
    query = Query.of(ImageQuery("A", start="2017-04-02", end="2017-04-06"))
    documents = await Listing(service).select(query, lambda document: document)
    assert documents == [entry("b", 4), whole]
    assert [call[0] for call in service.calls if ":" not in call[0]] == [NAME, f"{NAME}/a"]


async def test_an_image_without_a_time_lies_in_no_period():
    timeless = without(entry("a"), "startTime")
    service = Service([[timeless, entry("b", 4)]], assets=[timeless])
    assert await ids(service, start="2017-04-02") == ["b"]
    assert await ids(Service([[timeless, entry("b", 4)]])) == ["b", "a"]


async def test_other_assets_in_a_collection_are_no_images():
    assert await ids(Service([[entry("a"), entry("t", type="TABLE"), without(entry("b"), "type")]])) == [
        "a",
        "b",
    ]


# Listings without an end ---------------------------------------------------------------------------------------


async def test_a_page_token_that_comes_again_ends_it():
    service = Service(lambda number: {"assets": [entry(str(number))], "nextPageToken": "0"})
    with pytest.raises(StoppedError, match="A: the service gave a page token that it had given before"):
        await ids(service)
    assert len(service.listings) == 2


async def test_an_empty_page_may_repeat_its_token_for_a_while():
    empty = [{"nextPageToken": "0"}] * 3
    answers = iter([*empty, {"assets": [entry("a")]}])
    assert await ids(Service(lambda number: next(answers))) == ["a"]
    endless = Service(lambda number: {"nextPageToken": "0"})
    with pytest.raises(StoppedError, match="brought nothing new"):
        await ids(endless)
    assert len(endless.listings) == 100


async def test_a_ring_of_page_tokens_ends_it():
    service = Service(lambda number: {"assets": [entry(str(number))], "nextPageToken": str((number + 1) % 3)})
    with pytest.raises(StoppedError, match="given before"):
        await ids(service)
    assert len(service.listings) == 4


@pytest.mark.parametrize("page", [[], [entry("a")]])
async def test_pages_that_bring_nothing_new_end_it(page):
    service = Service(lambda number: page)
    with pytest.raises(StoppedError, match=r"100 pages .* brought nothing new"):
        await ids(service)
    assert len(service.listings) == 100 + len(page)


async def test_too_many_images_end_it(monkeypatch):
    monkeypatch.setattr(module, "MOST_IMAGES", 25)
    service = Service(lambda number: [entry(f"{number}{k}") for k in range(10)])
    with pytest.raises(JobError, match="more than 25 images match; take a shorter period"):
        await ids(service)
    assert len(service.listings) == 3


async def test_a_page_that_vanishes_later_is_an_error():
    service = Service([[entry("a")], ended(404)])
    with pytest.raises(JobError, match="404"):
        await ids(service)


@given(
    days=st.lists(st.integers(1, 28), max_size=20),
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    seed=st.randoms(use_true_random=False),
)
async def test_however_it_is_paged_the_images_are_the_same(days, sizes, seed):
    entries = [entry(f"{k:02d}", day) for k, day in enumerate(days)]
    wanted = [e["name"].rpartition("/")[2] for e in sorted(entries, key=lambda e: (e["startTime"], e["id"]))]
    seed.shuffle(entries)
    pages, at = [], 0
    for size in sizes:
        pages.append(entries[at : at + size])
        at += size
    pages.append(entries[at:])
    assert await ids(Service(pages)) == wanted


# Images --------------------------------------------------------------------------------------------------------


async def test_the_catalogue_gives_images():
    entries = [entry("b", 2, properties={"x": 1, "y": 2}), without(entry("a", 1), "type")]
    catalogue = EarthEngineCatalogue(Service([entries]))
    found = await catalogue.images(ImageQuery("A", start="2017-04-01", end="2017-05-01", keep=["x"]))
    assert [image.id for image in found] == ["A/a", "A/b"]
    assert found[1].properties == {"x": 1}
    assert found[0].bands[0].grid.shape == (4, 3)


def test_images_share_their_bands():
    reader = ImageReader()
    first, second = reader.read(entry("a")), reader.read(entry("b"))
    assert first.bands is second.bands
    assert (second.id, second.start_time) == ("A/b", "2017-04-01T12:00:00Z")
    other = reader.read(entry("c", bands=[entry("x")["bands"][0] | {"id": "B2"}]))
    assert other.bands[0].id == "B2"


def test_a_band_that_cannot_be_used_matters_where_it_is_wanted():
    odd = entry("a", bands=[*entry("a")["bands"], {"id": "odd", "dataType": {"precision": "FLOAT"}}])
    assert [band.id for band in ImageReader(["B1"]).read(odd).bands] == ["B1"]
    for _ in range(2):
        with pytest.raises(JobError, match="A/a: band odd is unbounded"):
            ImageReader().read(odd)


async def test_children_are_counted_page_by_page_as_far_as_a_thousand():
    assert await Listing(Service([[entry("a"), entry("b")]])).count("A") == (2, False)
    many = Service([[entry("a")], []])
    assert await Listing(many).count("A") == (1, False), "a page may be empty and another follow, or none"
    assert many.listings[0][1] == {"view": "BASIC", "pageSize": "1000"}
