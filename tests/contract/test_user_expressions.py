"""What expressions are made of besides arithmetic: stacks, percentiles, filters, properties, coarser pixels.

Each is compared with numpy on the oracle's pixels.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.conftest import error_of
from tests.contract.graphs import ID, array, call, compute, graph, image, series, value
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, oracle_valid, oracle_window

ID_B = QUICKSTART_B.removeprefix(PUBLIC)
MASKED = "EMULATOR/MASKED"
SIDE = (64, 48)


def grid_of(x, y, scale, crs):
    affine = {"scaleX": scale, "scaleY": -scale, "translateX": x, "translateY": y}
    return {"affineTransform": affine, "dimensions": {"width": SIDE[0], "height": SIDE[1]}, "crsCode": crs}


SMALL = grid_of(499980, 4200000, 10, "EPSG:32610")
HOLES = grid_of(600000 + 20 * 120, 5200020, 20, "EPSG:32632")
"""On EMULATOR/MASKED, where its valid part begins."""


def native(band, name=QUICKSTART):
    return oracle_window(name, band, 0, 0, *SIDE).astype(float)


def holed(band):
    """Values and validity of a band of EMULATOR/MASKED."""
    where = (PUBLIC + MASKED, band, 120, 0, *SIDE)
    valid = oracle_valid(*where)
    assert 0 < valid.sum() < valid.size
    return oracle_window(*where).astype(float), valid


def same(found, wanted):
    np.testing.assert_array_equal(found, np.asarray(wanted).astype(found.dtype))


def constant(number):
    return call("Image.constant", value=number)


# ---------------------------------------------------------------- pixel by pixel


def test_cast_by_band(api):
    cast = call("Image.cast", image=image(ID, "B4", "B3"), bandTypes={"B3": "float", "B4": "int8"})
    found = array(api, cast, SMALL)
    assert [found.dtype[name].str for name in ("B4", "B3")] == ["|i1", "<f4"]
    same(found["B4"], np.clip(native("B4"), -128, 127))
    wrong = call("Image.cast", image=image(ID, "B4"), bandTypes={"B4": "int3"})
    assert "int3" in error_of(compute(api, graph(wrong), SMALL), 400, "INVALID_ARGUMENT")["message"]


# ---------------------------------------------------------------- stacks


def test_to_bands(api):
    images = {"arrayValue": {"values": [image(ID, "B4", "B3"), image(ID_B, "B4")]}}
    stacked = call("ImageCollection.toBands", collection=call("ImageCollection.fromImages", images=images))
    found = array(api, stacked, SMALL)
    index, index_b = (name.rpartition("/")[2] for name in (ID, ID_B))
    assert found.dtype.names == (f"{index}_B4", f"{index}_B3", f"{index_b}_B4")
    same(found[f"{index_b}_B4"], native("B4", QUICKSTART_B))


# ---------------------------------------------------------------- reducers


def constants(*numbers):
    images = {"arrayValue": {"values": [constant(number) for number in numbers]}}
    return call("ImageCollection.fromImages", images=images)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.integers(-1000, 1000), min_size=1, max_size=9),
    percents=st.lists(st.integers(0, 100), min_size=1, max_size=3, unique=True),
)
def test_percentiles(api, numbers, percents):
    reducer = call("Reducer.percentile", percentiles=percents)
    found = array(api, call("ImageCollection.reduce", collection=constants(*numbers), reducer=reducer), SMALL)
    assert found.dtype.names == tuple(f"constant_p{percent}" for percent in percents)
    for percent in percents:
        np.testing.assert_allclose(
            found[f"constant_p{percent}"], np.percentile(numbers, percent), rtol=0, atol=1e-9
        )


def test_percentiles_of_bands_with_holes_and_names(api):
    bands = call("Image.select", input=call("Image.load", id=MASKED), bandSelectors=["u2", "i2"])
    reducer = call("Reducer.percentile", percentiles=[50, 100], outputNames=["middle", "top"])
    found = array(api, call("Image.reduce", image=bands, reducer=reducer), HOLES)
    assert found.dtype.names == ("middle", "top")
    (one, valid), (other, _) = holed("u2"), holed("i2")
    same(found["top"], np.where(valid, np.maximum(one, other), 0))
    np.testing.assert_array_equal(found["middle"], np.where(valid, (one + other) / 2, 0))


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("median", lambda stack: np.median(stack, axis=0)),
        ("mean", lambda stack: np.mean(stack, axis=0)),
        ("sum", lambda stack: np.sum(stack, axis=0)),
        ("count", lambda stack: np.full(stack[0].shape, len(stack))),
        ("stdDev", lambda stack: np.std(stack, axis=0)),
        ("min", lambda stack: np.min(stack, axis=0)),
    ],
)
def test_reducers_of_a_collection(api, name, operation):
    collection = call(
        "ImageCollection.fromImages", images={"arrayValue": {"values": [image(ID, "B4"), image(ID_B, "B4")]}}
    )
    reduced = call("ImageCollection.reduce", collection=collection, reducer=call(f"Reducer.{name}"))
    found = array(api, reduced, SMALL)[f"B4_{name}"]
    stack = np.stack([native("B4"), native("B4", QUICKSTART_B)])
    np.testing.assert_allclose(found, operation(stack).astype(found.dtype), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "pick"), [("min", np.less_equal), ("max", np.greater_equal)])
def test_the_least_of_one_band_brings_the_others(api, name, pick):
    images = [image(one, "B8", "B4") for one in (ID, ID_B)]
    collection = call("ImageCollection.fromImages", images={"arrayValue": {"values": images}})
    reducer = call(f"Reducer.{name}", numInputs=2)
    found = array(api, call("ImageCollection.reduce", collection=collection, reducer=reducer), SMALL)
    assert found.dtype.names == (name, f"{name}1")
    first = pick(native("B8"), native("B8", QUICKSTART_B))
    same(found[name], np.where(first, native("B8"), native("B8", QUICKSTART_B)))
    same(found[f"{name}1"], np.where(first, native("B4"), native("B4", QUICKSTART_B)))


# ---------------------------------------------------------------- filters and properties


def size(api, *filters):
    collection = call("ImageCollection.load", id="EMULATOR/SERIES")
    for one in filters:
        collection = call("Collection.filter", collection=collection, filter=one)
    return value(api, call("Collection.size", collection=collection))


def many(*filters):
    return {"arrayValue": {"values": list(filters)}}


CLOUDS = [i * 37 % 101 for i in range(1500)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("equals", lambda c: c == 37),
        ("notEquals", lambda c: c != 37),
        ("lessThan", lambda c: c < 37),
        ("lessThanOrEquals", lambda c: c <= 37),
        ("greaterThan", lambda c: c > 37),
        ("greaterThanOrEquals", lambda c: c >= 37),
    ],
)
def test_comparisons(api, name, wanted):
    one = call(f"Filter.{name}", leftField="CLOUD_COVER", rightValue=37)
    assert size(api, one) == sum(map(wanted, CLOUDS))
    assert size(api, call("Filter.not", filter=one)) == 1500 - sum(map(wanted, CLOUDS))


@pytest.mark.parametrize("kind", ["Element", "Image"])
def test_properties_go_from_image_to_image(api, kind):
    copied = call(f"{kind}.copyProperties", destination=constant(1), source=image(ID))
    assert value(api, copied)["properties"]["MGRS_TILE"] == "10SEG"
    named = call("Element.set", object=copied, key="month", value=4)
    assert value(api, call("Element.get", object=named, property="month")) == 4
    both = call("ImageCollection.merge", collection1=series(), collection2=constants(1, 2))
    assert value(api, call("Collection.size", collection=both)) == 4


# ---------------------------------------------------------------- coarser pixels


def averaged(target, **more):
    return call("Image.reduceResolution", image=target, reducer=call("Reducer.mean"), **more)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(factor=st.sampled_from([1, 2, 3, 5, 8]), column=st.integers(0, 40), row=st.integers(0, 40))
def test_coarser_pixels_are_means_of_those_they_hold(api, factor, column, row):
    """Whole blocks of a masked band: masked pixels do not count, a block without any is masked."""
    where = grid_of(600000 + 20 * (110 + column), 5200020 - 20 * row, 20 * factor, "EPSG:32632")
    found = array(api, averaged(image(MASKED, "u2")), where)["u2"]
    wide, tall = SIDE[0] * factor, SIDE[1] * factor
    window = (PUBLIC + MASKED, "u2", 110 + column, row, wide, tall)
    values, valid = oracle_window(*window).astype(float), oracle_valid(*window)
    blocks = (SIDE[1], factor, SIDE[0], factor)
    count = valid.reshape(blocks).sum(axis=(1, 3))
    total = np.where(valid, values, 0).reshape(blocks).sum(axis=(1, 3))
    np.testing.assert_allclose(found, np.where(count > 0, total / np.maximum(count, 1), 0), rtol=1e-12)


def test_pixels_count_by_their_share(api):
    """Output pixels of 25 m over pixels of 10 m: two whole ones and half of a third, along both axes."""
    found = array(api, averaged(image(ID, "B4")), grid_of(499980, 4200000, 25, "EPSG:32610"))["B4"]
    one = oracle_window(QUICKSTART, "B4", 0, 0, 5, 5).astype(float)
    weights = np.array([1, 1, 0.5, 0, 0])
    first = (one * np.outer(weights, weights)).sum() / 6.25
    second = (one * np.outer(weights, weights[::-1])).sum() / 6.25
    np.testing.assert_allclose(found[0, :2], [first, second], rtol=1e-12)


def test_too_many_pixels_to_reduce_are_refused_or_come_from_the_pyramid(api):
    coarse = grid_of(499980, 4200000, 160, "EPSG:32610")
    refused = error_of(compute(api, graph(averaged(image(ID, "B4"))), coarse), 400, "INVALID_ARGUMENT")
    assert "256" in refused["message"]
    assert "64" in refused["message"]
    exact = array(api, averaged(image(ID, "B4"), maxPixels=256), coarse)["B4"]
    rough = array(api, averaged(image(ID, "B4"), bestEffort=True), coarse)["B4"]
    whole = oracle_window(QUICKSTART, "B4", 0, 0, 16 * SIDE[0], 16 * SIDE[1]).astype(float)
    wanted = whole.reshape(SIDE[1], 16, SIDE[0], 16).mean(axis=(1, 3))
    np.testing.assert_allclose(exact, wanted, rtol=1e-12)
    np.testing.assert_allclose(rough, wanted, atol=0.75)
    odd = call("Image.reduceResolution", image=image(ID, "B4"), reducer=call("Reducer.max"))
    assert "mean" in error_of(compute(api, graph(odd), coarse), 400, "INVALID_ARGUMENT")["message"]


def test_landsat_is_masked_by_bits(api):
    name = "LANDSAT/LC08/C02/T1_L2/LC08_044034_20200411"
    bits = call("Image.bitwiseAnd", image1=image(name, "QA_PIXEL"), image2=constant(31))
    clear = call("Image.eq", image1=bits, image2=constant(0))
    masked = call("Image.updateMask", image=image(name, "SR_B5"), mask=clear)
    where = grid_of(539985 + 30 * 300, 4199985 - 30 * 800, 30, "EPSG:32610")
    quality = oracle_window(PUBLIC + name, "QA_PIXEL", 300, 800, *SIDE)
    values = oracle_window(PUBLIC + name, "SR_B5", 300, 800, *SIDE)
    assert 0 < (quality & 31 == 0).mean() < 1
    same(array(api, masked, where)["SR_B5"], np.where(quality & 31 == 0, values, 0))


# ---------------------------------------------------------------- elements of collections


def element(argument="e"):
    return {"argumentReference": argument}


def function(body, argument="e"):
    return {"functionDefinitionValue": {"argumentNames": [argument], "body": body}}


def difference(api, collection, offset=0, count=10):
    """A page of a collection that is mapped to one band, as value.compute answers."""
    mapped = {
        "result": "0",
        "values": {
            "0": call("Collection.toList", collection={"valueReference": "1"}, count=count, offset=offset),
            "1": call("Collection.map", collection=collection, baseAlgorithm=function("2")),
            "2": call("Image.normalizedDifference", input=element(), bandNames=["B8", "B4"]),
        },
    }
    answer = api.post("/v1/projects/p-test-1/value:compute?prettyPrint=false", {"expression": mapped})
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_a_mapped_element_keeps_its_index_and_nothing_else(api):
    indices = [ID_B.rpartition("/")[2], ID.rpartition("/")[2]]
    found = difference(api, series())
    assert [one["properties"]["system:index"] for one in found] == indices
    assert [band["id"] for band in found[0]["bands"]] == ["nd"]
    assert all("system:time_start" not in one["properties"] and "id" not in one for one in found)
    assert difference(api, series(), offset=1) == found[1:]
    assert difference(api, series(), offset=2) == []


def test_images_of_a_list_are_told_apart_by_their_place(api):
    listed = {"arrayValue": {"values": [constant(7), constant(9)]}}
    made = call("ImageCollection.fromImages", images=listed)
    found = value(api, made)["features"]
    assert [one["properties"]["system:index"] for one in found] == ["0", "1"]


def test_id_and_version_of_an_image_are_properties(api):
    asset = api.get(f"/v1/{QUICKSTART}").json()
    at = np.datetime64(asset["updateTime"].removesuffix("Z"), "us").astype(int)
    assert value(api, call("Element.get", object=image(ID), property="system:version")) == at
    assert value(api, call("Element.get", object=image(ID), property="system:id")) == ID
    made = call("Image.add", image1=image(ID, "B4"), image2=constant(1))
    assert value(api, call("Element.get", object=made, property="system:version")) is None


@pytest.mark.parametrize("count", [5_000, 5_001])
def test_no_more_than_5000_elements_are_written_out(api, count):
    numbers = list(range(count))
    answer = api.post("/v1/projects/p-test-1/value:compute", {"expression": graph(numbers)})
    if count == 5_000:
        assert len(answer.json()["result"]) == count
    else:
        message = error_of(answer, 400, "INVALID_ARGUMENT")["message"]
        assert message == "Collection query aborted after accumulating over 5000 elements."


def test_nothing_in_the_place_of_an_image(api):
    none = call("Filter.equals", leftField="system:index", rightValue="gone")
    first = call("Collection.first", collection=series(none))
    answer = compute(api, graph(call("Image.select", input=first, bandSelectors=["B4"])), SMALL)
    message = error_of(answer, 400, "INVALID_ARGUMENT")["message"]
    assert message == "Image.select: Parameter 'input' is required and may not be null."
