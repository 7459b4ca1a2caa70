"""Stacks: many images in one answer."""

from __future__ import annotations

import json

import numpy as np

from downloader.expressions.stack import pinned_expression, stacked_expression
from downloader.model.crs import Crs
from downloader.model.expression import call, constant, document_of, function
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band
from downloader.planning.plan import stacked

GRID = PixelGrid(Crs("EPSG:4326"), AffineTransform(0.25, 0, 0, 0, -0.25, 10), 7, 5)


def test_each_image_keeps_its_own_nodes_and_its_place() -> None:
    images = [
        (
            pinned_expression(f"C/{number}", "2020-01-01T00:00:00Z"),
            ("a", "b"),
            (f"s{number}b0", f"s{number}b1"),
        )
        for number in range(5)
    ]
    names = tuple(name for _, _, own in images for name in own)
    document = json.loads(stacked_expression(tuple(images), names))
    text = json.dumps(document)
    for number in range(5):
        assert f'"C/{number}"' in text
        assert f'"s{number}b1"' in text
    references = set()

    def walk(node):
        if isinstance(node, dict):
            if "valueReference" in node:
                references.add(node["valueReference"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document["values"])
    assert references <= document["values"].keys()
    assert document["result"] in document["values"]


def test_functions_within_an_image_are_the_image_s_own_and_equal_nodes_stand_once() -> None:
    """As of a collection that is mapped over: a function's body is named by key, not by a reference."""
    images = []
    for number in range(3):
        body = call("Image.select", input={"argumentReference": "one"}, bandSelectors=constant([number]))
        mapped = call(
            "Collection.map",
            collection=call("ImageCollection.load", id=constant("C")),
            baseAlgorithm=function(["one"], body),
        )
        images.append(
            (document_of(call("ImageCollection.mosaic", collection=mapped), ""), ("a",), (f"s{number}",))
        )
    document = json.loads(stacked_expression(tuple(images), ("s0", "s1", "s2")))
    definitions = [
        v["functionDefinitionValue"] for v in document["values"].values() if "functionDefinitionValue" in v
    ]
    selected = {
        json.dumps(document["values"][reference])
        for one in definitions
        for reference in [
            document["values"][one["body"]]["functionInvocationValue"]["arguments"]["bandSelectors"][
                "valueReference"
            ]
        ]
    }
    assert selected == {f'{{"constantValue": [{number}]}}' for number in range(3)}
    assert json.dumps(document).count("ImageCollection.load") == 1


def test_masks_and_what_tells_of_them_follow_their_image() -> None:
    bands = (
        Band("t", np.dtype("f4"), GRID, is_filled=True),
        Band("q", np.dtype("u2"), GRID),
        Band("mask", np.dtype("u1"), GRID, mask_of=("t", "q")),
    )
    request = stacked(bands, GRID, [pinned_expression(f"C/{number}", "") for number in range(3)])
    names = [name for k in range(3) for name in (f"s{k}b0", f"s{k}b1", f"s{k}m2")]
    assert [band.id for band in request.bands] == names
    assert [band.dtype.str for band in request.bands[:3]] == ["<f4", "<u2", "|u1"]
    assert request.validity == tuple((f"s{k}v0", (f"s{k}b0",)) for k in range(3))
    assert request.asset == ""
    assert len({band.id for band in request.asked}) == 12


def test_masks_of_a_hundred_images_take_few_nodes() -> None:
    bands = (
        *(Band(name, np.dtype("u2"), GRID) for name in ("a", "b")),
        Band("mask", np.dtype("u1"), GRID, mask_of=("a", "b")),
    )
    loads = [pinned_expression(f"C/{number}", "") for number in range(100)]
    nodes = len(json.loads(stacked(bands, GRID, loads).expression)["values"])
    without = len(json.loads(stacked(bands[:2], GRID, loads).expression)["values"])
    assert nodes < without + 30


def test_a_mask_alone_brings_the_bands_that_it_tells_of() -> None:
    bands = (Band("mask", np.dtype("u1"), GRID, mask_of=("a", "b")),)
    request = stacked(bands, GRID, [pinned_expression(f"C/{number}", "") for number in range(2)])
    assert [band.id for band in request.bands] == ["s0m0", "s1m0"]
    assert '"constantValue":["a","b"]' in request.expression
