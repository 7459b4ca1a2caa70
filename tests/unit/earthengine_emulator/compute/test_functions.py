"""The functions of expressions: what is listed is evaluated, and listed as the official client knows it."""

from __future__ import annotations

import inspect
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.compute import algorithms, functions
from earthengine_emulator.compute.collections import Feature
from earthengine_emulator.compute.reducers import Collection, Reducer
from earthengine_emulator.data import built_in

LIBRARY = functions.library(built_in.catalogue())
LISTED = {entry["name"].removeprefix("algorithms/"): entry for entry in algorithms.document()["algorithms"]}
S2 = LIBRARY["ImageCollection.load"]("COPERNICUS/S2")


def test_what_is_listed_is_evaluated():
    assert set(LISTED) == set(LIBRARY)


@pytest.mark.parametrize("name", LISTED)
def test_every_function_takes_the_arguments_that_are_listed(name):
    wanted = {argument["argumentName"] for argument in LISTED[name]["arguments"]}
    needed = {a["argumentName"] for a in LISTED[name]["arguments"] if not a.get("optional")}
    parameters = inspect.signature(LIBRARY[name]).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = {p.name for p in parameters.values() if p.kind is not p.VAR_KEYWORD}
    required = {
        p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    }
    assert taken <= wanted
    assert open_ended or taken == wanted
    assert required <= needed


def plain_type(name):
    return re.sub(r"<(?:[^<>]|<[^<>]*>)*>", "", name.replace("<any>", "Object"))


def test_signatures_are_those_that_the_official_client_is_tested_with():
    spec = find_spec("ee")
    assert spec is not None, "earthengine-api belongs to the extra 'test'"
    path = Path(spec.origin).parent / "tests" / "algorithms.json"
    if not path.exists():
        pytest.skip("this release of earthengine-api ships no list of algorithms")
    official = {
        entry["name"].removeprefix("algorithms/"): entry
        for entry in json.loads(path.read_text())["algorithms"]
    }
    for name, entry in LISTED.items():
        theirs = official[name]
        assert entry["returnType"] == plain_type(theirs["returnType"]), name
        assert [(a["argumentName"], a["type"], a.get("optional", False)) for a in entry["arguments"]] == [
            (a["argumentName"], plain_type(a["type"]), a.get("optional", False))
            for a in theirs.get("arguments", [])
        ], name


def call(name, *arguments, **named):
    return LIBRARY[name](*arguments, **named)


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("List.slice", ([1, 2, 3, 4], 1, 3), [2, 3]),
        ("Number.divide", (1, 0), 0),
        ("AggregateFeatureCollection.array", (S2, "CLOUDY_PIXEL_PERCENTAGE"), [4.3166, 0]),
        ("Element.get", (S2, "system:id"), "COPERNICUS/S2"),
    ],
)
def test_values(name, arguments, result):
    assert call(name, *arguments) == result


def test_columns():
    ids = [f"COPERNICUS/S2/{image.name.rsplit('/', 1)[1]}" for image in S2.images]
    both = call(
        "Collection.reduceColumns", S2, Reducer("toList", 2), ["system:id", "CLOUDY_PIXEL_PERCENTAGE"]
    )
    assert both == {"list": [ids, [4.3166, 0]]}
    one = call("Collection.reduceColumns", S2, Reducer("toList"), ["system:id"])
    assert one == {"list": ids}
    with pytest.raises(ApiError, match="kendall"):
        call("Collection.reduceColumns", S2, Reducer("kendall"), ["system:id"])


def test_properties_are_set_copied_and_removed():
    first = S2.images[0]
    named = call("Element.set", first, "a", 1)
    assert call("Element.get", named, "a") == 1
    assert "a" not in first.properties
    assert call("Element.get", call("Element.set", named, "a", None), "a") is None
    feature = call("Element.copyProperties", Feature(None, {"own": 1}), first, exclude=["MGRS_TILE"])
    assert feature.properties["own"] == 1
    assert feature.properties["CLOUDY_PIXEL_PERCENTAGE"] == 4.3166
    assert not {"MGRS_TILE", "system:index"} & set(feature.properties)


def kept(one):
    return len(call("Collection.filter", S2, one).images)


def test_filters():
    assert kept(call("Filter.inList", "MGRS_TILE", ["10SEG", "10SFG"])) == 2
    assert kept(call("Filter.listContains", leftValue=["10SFG"], rightField="MGRS_TILE")) == 0
    assert kept(call("Filter.calendarRange", 110, 115)) == 1
    assert kept(call("Filter.calendarRange", 4, None, "month")) == 2
    assert kept(call("Filter.calendarRange", 300, 110)) == 1
    assert kept(call("Filter.notNull", ["MGRS_TILE", "nothing"])) == 0
    assert kept(call("Filter.stringStartsWith", "system:index", "20170420")) == 1
    away = Feature(call("GeometryConstructors.Rectangle", [0, 0, 1, 1]))
    assert kept(call("Filter.intersects", ".all", away)) == 0
    assert call("Collection.limit", S2, 1, "CLOUDY_PIXEL_PERCENTAGE", True).images == S2.images[1:]
    assert isinstance(call("Collection.filter", S2, lambda _: True), Collection)
