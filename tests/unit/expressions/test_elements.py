"""Graphs of the elements of users' collections, computed by the emulator's own functions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from downloader.expressions.elements import element, fingerprint, is_collection, origin_of, page, within
from downloader.model.expression import call, canonical, constant, document_of, function, graph_of
from downloader.model.time import instant_us
from earthengine_emulator.catalogue.model import Image
from earthengine_emulator.compute import functions
from earthengine_emulator.compute.expression import Expression
from earthengine_emulator.data import built_in

LIBRARY = functions.library(built_in.catalogue())
PASSES = call("ImageCollection.load", id=constant("EMULATOR/PASSES"))
ONE = {"argumentReference": "one"}
CLOUDLESS = call("Filter.equals", leftField=constant("ORBIT"), rightValue=constant(87))


def filtered(collection, condition):
    return call("Collection.filter", collection=collection, filter=condition)


def until(end):
    span = call("DateRange", start=constant("2020-01-01"), end=constant(end))
    return call("Filter.dateRangeContains", leftValue=span, rightField=constant("system:time_start"))


def mapped(collection, number=2):
    twice = call("Image.multiply", image1=ONE, image2=call("Image.constant", value=constant(number)))
    return call("Collection.map", collection=collection, baseAlgorithm=function(["one"], twice))


def value(text):
    return Expression(json.loads(text), LIBRARY).value()


def index_of(image):
    return image.properties["system:index"]


def test_pages_are_the_list_and_an_element_is_its_image() -> None:
    collection = mapped(PASSES)
    whole = value(page(collection, 0, 100))
    assert len(whole) == 7
    pages = [value(page(collection, first, 3)) for first in (0, 3, 6, 9)]
    assert [index_of(one) for part in pages for one in part] == [index_of(one) for one in whole]
    assert [len(part) for part in pages] == [3, 3, 1, 0]
    found = value(document_of(element(collection, index_of(whole[2])), "k"))
    assert isinstance(found, Image)
    assert index_of(found) == index_of(whole[2])
    assert value(document_of(element(collection, "none"), "k")) is None


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2020-01-10T18:30:00Z", "2020-01-10T18:35:00Z", 1),
        ("2020-01-10T18:30:00.0001Z", "2020-01-10T18:35:00.0001Z", 1),
        ("2020-01-10", "2020-01-16", 3),
        ("2021-01-10", "2021-01-16", 0),
    ],
)
def test_a_period_holds_its_start_and_not_its_end(start, end, count) -> None:
    chosen = within(PASSES, instant_us(start), instant_us(end), None)
    assert len(value(page(chosen, 0, 100))) == count


@pytest.mark.parametrize(("west", "count"), [(-122.3, 7), (20.0, 0)])
def test_a_region_is_met_by_footprints(west, count) -> None:
    ring = [[west, 37.6], [west + 0.1, 37.6], [west + 0.1, 37.7], [west, 37.7], [west, 37.6]]
    for region in (
        {"type": "Polygon", "coordinates": [ring]},
        {"type": "MultiPolygon", "coordinates": [[ring]]},
    ):
        assert len(value(page(within(PASSES, None, None, region), 0, 100))) == count


@pytest.mark.parametrize(
    ("node", "known"),
    [
        (PASSES, True),
        (mapped(filtered(PASSES, CLOUDLESS)), True),
        (call("Collection.limit", collection=PASSES, limit=constant(3)), True),
        (call("ImageCollection.merge", collection1=PASSES, collection2=PASSES), True),
        (call("ImageCollection.fromImages", images={"arrayValue": {"values": []}}), True),
        (mapped(call("Collection.loadTable", tableId=constant("A/B"))), False),
        (call("Collection.first", collection=PASSES), False),
        (call("ImageCollection.mosaic", collection=PASSES), False),
        (call("If", condition=constant(1), trueCase=PASSES), False),
        (constant(7), False),
    ],
)
def test_what_is_known_to_be_a_collection_of_images(node, known) -> None:
    assert is_collection(graph_of(document_of(node, "k"))) is known


def test_the_collection_that_elements_are_made_of() -> None:
    assert origin_of(mapped(filtered(PASSES, CLOUDLESS))) == "EMULATOR/PASSES"
    assert not origin_of(call("ImageCollection.merge", collection1=PASSES, collection2=PASSES))
    assert not origin_of(constant(7))


def test_a_period_does_not_make_another_collection() -> None:
    same = [
        mapped(PASSES),
        mapped(filtered(PASSES, until("2020-02-01"))),
        filtered(mapped(filtered(PASSES, until("2020-03-01"))), until("2020-03-01")),
    ]
    assert len({fingerprint(node) for node in same}) == 1
    others = [
        mapped(filtered(PASSES, CLOUDLESS)),
        mapped(PASSES, 3),
        filtered(PASSES, until("2020-02-01")),
        mapped(call("Collection.limit", collection=PASSES, limit=constant(3))),
    ]
    assert len({fingerprint(node) for node in [same[0], *others]}) == 5


def test_a_graph_that_is_read_is_the_same_graph() -> None:
    reused = call("Image.constant", value=constant({"valueReference": "0", "body": "1"}))
    text = document_of(mapped(filtered(PASSES, CLOUDLESS)), "k")
    assert document_of(graph_of(text), "k") == text
    assert json.loads(document_of(graph_of(document_of(reused, "k")), "k"))["values"]["0"] == constant(
        {"valueReference": "0", "body": "1"}
    )
    called = {"functionInvocationValue": {"functionReference": "f", "arguments": {"one": constant(1)}}}
    document = {"result": "r", "values": {"r": called, "f": function(["one"], ONE)}}
    text = canonical(document)
    assert document_of(graph_of(text), "k") == text
    assert np.array_equal(value(text), 1)
