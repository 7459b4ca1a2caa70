"""Elements of a user's collection from a service that answers as the test wants."""

from __future__ import annotations

import json

import pytest

from downloader.earthengine import elements as module
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.errors import Action, FetchProblem, JobError, TileError
from downloader.model.expression import call, constant, document_of
from downloader.model.image_query import ImageQuery

COLLECTION = document_of(call("ImageCollection.load", id=constant("A")), "k")
BAND = {
    "id": "nd",
    "data_type": {"type": "PixelType", "precision": "float"},
    "crs": "EPSG:32610",
    "crs_transform": [10, 0, 500000, 0, -10, 4200000],
    "dimensions": [30, 20],
}


def entry(index, day=1, **members):
    properties = {"system:index": index, "system:time_start": 1_490_000_000_000 + day * 86_400_000, "N": day}
    return {"type": "Image", "bands": [BAND], "properties": properties, **members}


class Service:
    """Gives pages of a list; more than `most` elements at once are too much for it."""

    project = "p-test-1"

    def __init__(self, entries, most=10_000):
        self.entries, self.most, self.asked = entries, most, []

    async def call(self, method, path, *, body, subject):
        assert (method, path) == ("POST", "projects/p-test-1/value:compute")
        document = body["expression"]
        invoked = document["values"][document["result"]]["functionInvocationValue"]
        assert invoked["functionName"] == "Collection.toList"
        first, count = (
            document["values"][invoked["arguments"][name]["valueReference"]]["constantValue"]
            for name in ("offset", "count")
        )
        self.asked.append((first, count))
        if count > self.most:
            problem = FetchProblem(Action.SPLIT, "400 timed out", "Computation timed out.", status=400)
            raise JobError("timed out") from TileError(problem)
        return {"result": json.loads(json.dumps(self.entries[first : first + count]))}


async def images(service, **query):
    return await EarthEngineCatalogue(service).images(
        ImageQuery("", expression=COLLECTION, keep=["N"], **query)
    )


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
async def test_every_page_is_asked_for_once(monkeypatch, count) -> None:
    monkeypatch.setattr(module, "_PAGE", 4)
    service = Service([entry(f"i{n}", n) for n in range(count)])
    assert [image.id for image in await images(service)] == [f"i{n}" for n in range(count)]
    assert service.asked == [(first, 4) for first in range(0, count + 1, 4)]


async def test_pages_that_are_too_much_get_smaller(monkeypatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 8)
    service = Service([entry(f"i{n}", n) for n in range(5)], most=2)
    assert len(await images(service)) == 5
    assert service.asked == [(0, 8), (0, 4), (0, 2), (2, 2), (4, 2)]
    with pytest.raises(JobError, match="timed out"):
        await images(Service([entry("i")], most=0))


async def test_what_an_element_says_of_itself() -> None:
    plain = entry("b", id="C/b", version=1_500_000_000_123_456)
    [a, b] = await images(Service([entry("a", bands=[{**BAND, "origin": [3, 2]}]), plain]))
    assert (a.name, a.id, a.update_time, a.start_time) == ("a", "a", "", "2017-03-21T08:53:20.000Z")
    assert dict(a.properties) == {"N": 1}
    assert (a.bands[0].id, a.bands[0].dtype, a.bands[0].grid.width) == ("nd", "<f4", 30)
    assert a.bands[0].grid.transform.translate_x == 500030
    assert a.bands[0].grid.transform.translate_y == 4199980
    assert b.name == "projects/earthengine-public/assets/C/b"
    assert b.update_time == "2017-07-14T02:40:00.123456Z"


@pytest.mark.parametrize("time", [None, "soon", True, 1e300, float("inf"), float("nan"), -(10**30)])
async def test_what_is_no_time_and_no_version_counts_as_none(time) -> None:
    odd = {**entry("x", version=time), "properties": {"system:index": "x", "system:time_start": time}}
    [found] = await images(Service([odd]))
    assert (found.start_time, found.update_time) == ("", "")


async def test_a_number_and_an_order() -> None:
    service = Service([entry(f"i{n}", day) for n, day in enumerate((3, 1, 2))])
    assert [image.id for image in await images(service, limit=2)] == ["i1", "i0"], "the first that are listed"
    assert service.asked == [(0, 2)]
    assert [image.id for image in await images(service, limit=2, order_by="-N")] == ["i0", "i2"]
    with pytest.raises(
        JobError, match=r"source.order_by: no image of the collection has a property 'CLOUDS'"
    ):
        await images(service, order_by="CLOUDS")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry("a"), entry("a")], "computes two images whose system:index is a"),
        ([{**entry("a"), "properties": {}}], "computes an image without system:index"),
        ([{**entry("a"), "properties": ["system:index"]}], "computes an image without system:index"),
        ([entry("a" * 1_001)], "computes an image without system:index"),
        ([{"type": "Feature", "properties": {}}], "computes a collection of Feature"),
        ([None], "computes a collection of NoneType"),
        (
            [entry("a", bands=[{**BAND, "data_type": {"precision": "array"}}])],
            "band nd has a type that no pixel has",
        ),
    ],
)
async def test_what_is_no_list_of_images(entries, says) -> None:
    with pytest.raises(JobError, match=rf"^source.expression: {says}"):
        await images(Service(entries))


async def test_too_many(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 3)
    with pytest.raises(JobError, match="computes more than 3 images; take a shorter period"):
        await images(Service([entry(f"i{n}", n) for n in range(5)]))
