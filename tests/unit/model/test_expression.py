"""Expressions: equal graphs are equal texts, and what is no graph is refused."""

from __future__ import annotations

import json
import random

import pytest

from downloader.errors import JobError
from downloader.model.expression import (
    MAX_BYTES,
    MAX_DEPTH,
    call,
    canonical,
    constant,
    function,
    image_load,
    load_expression,
)

NDVI = {
    "result": "0",
    "values": {
        "1": {"constantValue": ["B8", "B4"]},
        "0": {
            "functionInvocationValue": {
                "functionName": "Image.normalizedDifference",
                "arguments": {
                    "bandNames": {"valueReference": "1"},
                    "input": {
                        "functionInvocationValue": {
                            "functionName": "Image.select",
                            "arguments": {
                                "bandSelectors": {"valueReference": "1"},
                                "input": {
                                    "functionInvocationValue": {
                                        "functionName": "Image.load",
                                        "arguments": {"id": {"constantValue": "COPERNICUS/S2/X"}},
                                    }
                                },
                            },
                        }
                    },
                },
            }
        },
    },
}


def inlined(document):
    """The same graph with every reference replaced by what it refers to."""

    def walk(node):
        if isinstance(node, dict) and set(node) == {"valueReference"}:
            return walk(document["values"][node["valueReference"]])
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        return node

    return {"result": "z", "values": {"z": walk(document["values"][document["result"]])}}


def renamed(document, seed):
    """The same graph with other keys, in another order."""
    rng = random.Random(seed)
    keys = {
        key: f"k{number}"
        for number, key in enumerate(rng.sample(list(document["values"]), len(document["values"])))
    }

    def walk(node):
        if isinstance(node, dict):
            return {k: keys[v] if k == "valueReference" else walk(v) for k, v in node.items()}
        return node

    values = [(keys[key], walk(node)) for key, node in document["values"].items()]
    rng.shuffle(values)
    return {"values": dict(values), "result": keys[document["result"]]}


@pytest.mark.parametrize("seed", range(5))
def test_renamed_inlined_and_reordered_graphs_have_one_text(seed):
    once = canonical(NDVI)
    assert canonical(renamed(NDVI, seed)) == once
    assert canonical(inlined(NDVI)) == once
    assert canonical(json.loads(once)) == once


def test_another_graph_has_another_text():
    other = json.loads(json.dumps(NDVI).replace("B8", "B3"))
    assert canonical(other) != canonical(NDVI)


def test_it_still_means_the_same():
    """The canonical text, inlined, is the original, inlined."""
    written = json.loads(canonical(NDVI))
    assert inlined(written)["values"]["z"] == inlined(NDVI)["values"]["z"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "result"),
        ({"result": "0", "values": {}}, "not among its values"),
        ({"result": "0", "values": {"0": {"valueReference": "0"}}}, "refers to itself"),
        ({"result": "0", "values": {"0": {"banana": 1}}}, "no node"),
        (
            {"result": "0", "values": {"0": {"arrayValue": {"values": [{"valueReference": "9"}]}}}},
            "not among",
        ),
        ({"result": "0", "values": {"0": {"functionInvocationValue": {}}}}, "is no functionInvocationValue"),
    ],
)
def test_what_is_no_graph_is_refused(document, says):
    with pytest.raises(JobError, match=says):
        canonical(document)


def test_depth_is_bounded():
    node = constant(1)
    for _ in range(MAX_DEPTH + 2):
        node = call("Image.toInt16", value=node)
    with pytest.raises(JobError, match="nested deeper"):
        canonical({"result": "0", "values": {"0": node}})


def test_nodes_used_twice_are_walked_once():
    node = call("Image.constant", value=constant(1))
    for _ in range(60):  # 2^60 paths lead to the first
        node = call("Image.add", image1=node, image2=node)
    assert len(json.loads(canonical({"result": "0", "values": {"0": node}}))["values"]) == 62


def test_depth_is_that_of_the_longest_way():
    deep = constant(0)
    for _ in range(60):
        deep = call("List.get", list=deep, index=constant(0))
    top = deep
    for _ in range(60):
        top = call("List.get", list=top, index=constant(1))
    both = {"arrayValue": {"values": [deep, top]}}  # the deep part is met first where it is not deep
    with pytest.raises(JobError, match="nested deeper"):
        canonical({"result": "0", "values": {"0": both}})


def test_functions_are_given_as_nodes_or_by_key():
    body = call("Image.abs", value={"argumentReference": "x"})
    inline = function(["x"], body)
    applied = {"functionInvocationValue": {"functionReference": inline, "arguments": {"x": constant(1)}}}
    by_key = {
        "b": body,
        "f": {"functionDefinitionValue": {"argumentNames": ["x"], "body": "b"}},
        "r": {"functionInvocationValue": {"functionReference": "f", "arguments": {"x": constant(1)}}},
    }
    assert canonical({"result": "0", "values": {"0": applied}}) == canonical(
        {"result": "r", "values": by_key}
    )


def test_objects_that_serialise_themselves_are_taken():
    class Image:
        def serialize(self):
            return json.dumps(NDVI)

    assert load_expression(Image(), "source.expression") == canonical(NDVI)
    assert load_expression(json.dumps(NDVI), "source.expression") == canonical(NDVI)
    with pytest.raises(JobError, match="is no JSON"):
        load_expression("{", "source.expression")


def test_an_expression_longer_than_a_request_takes_is_refused_by_its_key():
    graph = {"result": "0", "values": {"0": {"constantValue": "x" * MAX_BYTES}}}
    with pytest.raises(JobError, match="bytes, and the service takes") as caught:
        load_expression(graph, "source.expression")
    assert caught.value.key == "source.expression"


def test_an_image_is_pinned_by_its_update_time_in_microseconds() -> None:
    pinned = image_load("A/B", "2017-04-30T19:03:51.123456Z")["functionInvocationValue"]["arguments"]
    assert pinned == {"id": constant("A/B"), "version": constant(1_493_579_031_123_456)}
    assert image_load("A/B") == call("Image.load", id=constant("A/B"))
