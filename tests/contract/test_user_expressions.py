"""What users' expressions are made of besides arithmetic: conditions, classes, percentiles, partners, counts, filters.

Each is compared with numpy on the oracle's pixels.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.conftest import error_of, load
from tests.contract.graphs import ID, array, call, compute, graph, image, series, value
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, WITHOUT_SCORE, oracle_valid, oracle_window

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


def test_where(api):
    test = call("Image.gt", image1=image(ID, "B8"), image2=constant(2500))
    found = array(
        api, call("Image.where", input=image(ID, "B4", "B3"), test=test, value=image(ID, "B2")), SMALL
    )
    assert found.dtype.names == ("B4", "B3")
    for band in found.dtype.names:
        assert found[band].dtype == "<u2"
        same(found[band], np.where(native("B8") > 2500, native("B2"), native(band)))


def test_where_leaves_alone_what_is_masked(api):
    """A masked test, or value, changes nothing; what is masked remains so."""
    values, valid = holed("u2")
    filled = call("Image.unmask", input=image(MASKED, "u2"), value=constant(7))
    by_test = call("Image.where", input=filled, test=image(MASKED, "u2"), value=constant(9))
    same(array(api, by_test, HOLES)["u2"], np.where(valid, 9, 7))
    by_value = call("Image.where", input=filled, test=constant(1), value=image(MASKED, "u2"))
    same(array(api, by_value, HOLES)["u2"], np.where(valid, values, 7))
    masked = call("Image.where", input=image(MASKED, "u2"), test=constant(1), value=constant(3))
    same(array(api, masked, HOLES)["u2"], np.where(valid, 3, 0))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.integers(0, 3000), span=st.integers(0, 3000))
def test_clamp(api, low, span):
    found = array(api, call("Image.clamp", input=image(ID, "B4"), low=low, high=low + span), SMALL)["B4"]
    assert found.dtype == "<u2"
    same(found, np.clip(native("B4"), low, low + span))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.dictionaries(st.integers(0, 31), st.integers(-300, 300), min_size=1, max_size=12),
    default=st.none() | st.integers(-5, 5),
)
def test_remap(api, table, default):
    classes = call("Image.mod", image1=image(ID, "B4"), image2=constant(32))
    arguments = {"image": classes, "from": list(table), "to": list(table.values())}
    if default is not None:
        arguments["defaultValue"] = default
    remapped = call("Image.remap", **arguments)
    wanted, known = native("B4") % 32, np.zeros(native("B4").shape, bool)
    result = np.zeros(wanted.shape) if default is None else np.full(wanted.shape, float(default))
    for old, new in table.items():
        result[wanted == old], known[wanted == old] = new, True
    found = array(api, remapped, SMALL)
    assert found.dtype.names == ("remapped",)
    same(found["remapped"], result)
    mask = array(api, call("Image.mask", image=remapped), SMALL)["remapped"]
    same(mask, known if default is None else np.ones_like(known))


def test_self_mask(api):
    bright = call("Image.gt", image1=image(ID, "B8"), image2=constant(2500))
    mask = array(api, call("Image.mask", image=call("Image.selfMask", image=bright)), SMALL)["B8"]
    same(mask, native("B8") > 2500)


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


def linked(collection, **more):
    return call("Image.linkCollection", input=image(ID, "B4"), imageCollection=collection, **more)


def test_bands_of_the_partner_are_linked(api):
    """By the same index, as cloud scores are; the partner is another rendering of the same images."""
    found = array(api, linked(series(), linkedBands=["B8", "B2"]), SMALL)
    assert found.dtype.names == ("B4", "B8", "B2")
    same(found["B8"], native("B8"))
    named = linked(series(), linkedBands="B8", linkedProperties=["CLOUDY_PIXEL_PERCENTAGE", "MGRS_TILE"])
    assert value(api, named)["properties"]["MGRS_TILE"] == "10SEG"


def test_without_a_partner_the_linked_bands_are_masked(api):
    others = series(call("Filter.greaterThan", leftField="CLOUDY_PIXEL_PERCENTAGE", rightValue=1))
    alone = linked(others, linkedBands=["B8"], linkedProperties=["MGRS_TILE"])
    mask = array(api, call("Image.mask", image=alone), SMALL)
    same(mask["B4"], np.ones(mask.shape))
    same(mask["B8"], np.zeros(mask.shape))
    assert "MGRS_TILE" not in value(api, alone)["properties"]


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


# ---------------------------------------------------------------- regions


def box(crs, west, south, east, north):
    return call(
        "GeometryConstructors.Rectangle",
        coordinates=[west, south, east, north],
        crs=call("Projection", crs=crs),
    )


REGION = box("EPSG:32632", 602400, 5200020 - 20 * 48, 602400 + 20 * 64, 5200020)


def reduced(api, name, **more):
    return value(
        api,
        call(
            "Image.reduceRegion",
            image=image(MASKED, "u2", "i2"),
            reducer=call(f"Reducer.{name}"),
            geometry=REGION,
            **more,
        ),
    )


def test_counts_in_a_region(api):
    values, valid = holed("u2")
    assert reduced(api, "count") == {"u2": valid.sum(), "i2": valid.sum()}
    assert reduced(api, "sum")["u2"] == values[valid].sum()
    assert reduced(api, "mean")["u2"] == pytest.approx(values[valid].mean(), rel=1e-12)


def test_regions_at_a_scale_and_too_large(api):
    coarse = reduced(api, "count", scale=40)["u2"]
    assert coarse < reduced(api, "count")["u2"] / 3
    answer = api.post(
        "/v1/projects/p-test-1/value:compute",
        {
            "expression": graph(
                call(
                    "Image.reduceRegion",
                    image=image(MASKED, "u2"),
                    reducer=call("Reducer.count"),
                    geometry=REGION,
                    maxPixels=1000,
                )
            )
        },
    )
    message = error_of(answer, 400, "INVALID_ARGUMENT")["message"]
    assert message.startswith(
        "Image.reduceRegion: Too many pixels in the region. Found 3072, but maxPixels allows only 1000."
    )
    assert reduced(api, "count", maxPixels=1000, bestEffort=True)["u2"] > 0


def test_an_empty_region_counts_nothing(api):
    away = box("EPSG:32632", 0, 0, 100, 100)
    nothing = call(
        "Image.reduceRegion",
        image=image(MASKED, "u2"),
        reducer=call("Reducer.count"),
        geometry=away,
        scale=20,
    )
    assert value(api, nothing) == {"u2": 0}
    nothing = call(
        "Image.reduceRegion", image=image(MASKED, "u2"), reducer=call("Reducer.mean"), geometry=away, scale=20
    )
    assert value(api, nothing) == {"u2": None}


# ---------------------------------------------------------------- filters and properties

DAYS = [f"2015{month:02d}{day:02d}" for month, day in [(1, 1), (1, 2), (2, 1), (12, 31)]]


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


def test_filters_of_lists_texts_and_days(api):
    low = call("Filter.lessThan", leftField="CLOUD_COVER", rightValue=10)
    high = call("Filter.greaterThan", leftField="CLOUD_COVER", rightValue=90)
    assert size(api, call("Filter.or", filters=many(low, high))) == sum(c < 10 or c > 90 for c in CLOUDS)
    assert size(api, call("Filter.and", filters=many(low, high))) == 0
    assert size(api, call("Filter.inList", leftField="system:index", rightValue=DAYS)) == 4
    assert size(api, call("Filter.listContains", leftValue=[1, 2], rightField="CLOUD_COVER")) == sum(
        c in (1, 2) for c in CLOUDS
    )
    assert size(api, call("Filter.stringStartsWith", leftField="system:index", rightValue="201502")) == 28
    assert size(api, call("Filter.stringEndsWith", leftField="system:index", rightValue="0229")) == 1
    assert size(api, call("Filter.stringContains", leftField="system:index", rightValue="1231")) == 4
    assert size(api, call("Filter.notNull", properties=["DAY"])) == 1500
    assert size(api, call("Filter.notNull", properties=["NOTHING"])) == 0
    assert size(api, call("Filter.calendarRange", start=2, field="month")) == 28 + 29 + 28 + 28 + 8
    winter = call("Filter.calendarRange", start=12, end=1, field="month")
    assert size(api, winter) == sum(
        1
        for day in np.arange("2015-01-01", np.datetime64("2015-01-01") + 1500, dtype="datetime64[D]")
        if str(day)[5:7] in ("12", "01")
    )


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


# ---------------------------------------------------------------- days, ranges, columns


def days_of(*filters):
    collection = call("ImageCollection.load", id="EMULATOR/SERIES")
    for one in filters:
        collection = call("Collection.filter", collection=collection, filter=one)
    return collection


def test_days_of_the_year_and_ranges_of_a_property(api):
    spring = days_of(call("Filter.dayOfYear", start=60, end=63))
    found = value(api, call("AggregateFeatureCollection.array", collection=spring, property="system:index"))
    assert found[:6] == ["20150301", "20150302", "20150303", "20160229", "20160301", "20160302"]
    winter = days_of(call("Filter.dayOfYear", start=365, end=2))
    found = value(api, call("AggregateFeatureCollection.array", collection=winter, property="system:index"))
    assert found[:4] == ["20150101", "20151231", "20160101", "20161230"]
    clear = days_of(call("Filter.rangeContains", field="CLOUD_COVER", minValue=10, maxValue=12))
    found = value(api, call("AggregateFeatureCollection.array", collection=clear, property="CLOUD_COVER"))
    assert set(found) == {10, 11, 12}
    assert len(found) == sum(10 <= day * 37 % 101 <= 12 for day in range(1500))


def test_partners_of_another_collection_are_linked_and_mask(api):
    """Cloud Score+ by the same index, under a function mapped over Sentinel-2; one image has no score."""
    names = [WITHOUT_SCORE, "20170426T184921_20170426T184921_T10SEG"]
    chosen = call(
        "Collection.filter",
        collection=call("ImageCollection.load", id="COPERNICUS/S2_HARMONIZED"),
        filter=call("Filter.inList", leftField="system:index", rightValue=names),
    )
    scores = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
    with_score = call(
        "Image.linkCollection",
        input={"argumentReference": "one"},
        imageCollection=call("ImageCollection.load", id=scores),
        linkedBands=["cs_cdf"],
    )
    clear = call(
        "Image.gte",
        image1=call("Image.select", input=with_score, bandSelectors=["cs_cdf"]),
        image2=constant(0.6),
    )
    masked = call(
        "Image.updateMask",
        image=call("Image.select", input={"argumentReference": "one"}, bandSelectors=["B4"]),
        mask=clear,
    )
    mapped = call(
        "Collection.map",
        collection=chosen,
        baseAlgorithm={"functionDefinitionValue": {"argumentNames": ["one"], "body": "body"}},
    )
    expression = {
        "result": "0",
        "values": {"0": call("reduce.count", collection=mapped), "body": masked},
    }
    answer = compute(api, expression, SMALL)
    assert answer.status_code == 200, answer.text
    score = oracle_window(f"{PUBLIC}{scores}/{names[1]}", "cs_cdf", 0, 0, *SIDE)
    same(load(answer.content)["B4"], score >= 0.6)


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
