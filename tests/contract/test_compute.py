"""Rows 72 to 78 of tests/contract/acceptance.md: computePixels, value.compute, thumbnails."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import PIL.Image
import pytest

from tests.contract.conftest import error_of, grid, load
from tests.contract.graphs import ID, PATH, UTM, array, call, compute, graph, image, series, truth, value
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, oracle_valid

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
                                        "arguments": {"id": {"constantValue": ID}},
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


def test_row_072_ndvi(api):
    answer = compute(api, NDVI)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) == 262_272
    pixels = load(answer.content)
    assert pixels.dtype == np.dtype([("nd", "<f4")])
    nir, red = truth("B8"), truth("B4")
    np.testing.assert_array_equal(pixels["nd"], ((nir - red) / (nir + red)).astype("f4"))


def test_row_073_equal_graphs(api):
    inner = NDVI["values"]["0"]["functionInvocationValue"]["arguments"]["input"]
    other = {
        "values": {
            "pair": {"arrayValue": {"values": [{"constantValue": "B8"}, {"constantValue": "B4"}]}},
            "picked": {
                "functionInvocationValue": {
                    "arguments": {
                        "input": inner["functionInvocationValue"]["arguments"]["input"],
                        "bandSelectors": {"valueReference": "pair"},
                    },
                    "functionName": "Image.select",
                }
            },
            "z": {
                "functionInvocationValue": {
                    "arguments": {
                        "input": {"valueReference": "picked"},
                        "bandNames": {"constantValue": ["B8", "B4"]},
                    },
                    "functionName": "Image.normalizedDifference",
                }
            },
        },
        "result": "z",
    }
    assert compute(api, other).content == compute(api, NDVI).content


def test_row_074_unknown_image(api):
    for id_ in ("NOPE", "projects/p-private-1/assets/secret"):
        error = error_of(compute(api, graph(image(id_))), 400, "INVALID_ARGUMENT")
        assert error["message"] == (
            f"Image.load: Image asset '{id_}' not found (does not exist or caller does not have access)."
        )
    unknown = call("ImageCollection.mosaic", collection=call("ImageCollection.load", id="NOPE"))
    error = error_of(compute(api, graph(unknown)), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith("ImageCollection.load: ImageCollection asset 'NOPE' not found")


def test_row_075_unknown_band(api):
    for answer in (compute(api, graph(image(ID, "B99"))), compute(api, graph(image()), bandIds=["B99"])):
        assert error_of(answer, 400, "INVALID_ARGUMENT")["message"].startswith(
            "Image.select: Band pattern 'B99' did not match any bands. Available bands: [B1, B2, "
        )


def test_row_076_unsupported_function(api):
    error = error_of(
        compute(api, graph(call("Image.connectedComponents", input=image()))), 400, "INVALID_ARGUMENT"
    )
    assert "Image.connectedComponents" in error["message"]


def test_row_077_values(api):
    assert value(api, call("Number.add", left=1, right=2)) == 3
    assert value(api, {"integerValue": "1152921504606846977"}) == 1152921504606846977
    assert value(
        api, {"arrayValue": {"values": [{"constantValue": 1}, call("Number.divide", left=1, right=2)]}}
    ) == [1, 0.5]
    assert value(api, {"dictionaryValue": {"values": {"a": {"constantValue": None}}}}) == {"a": None}
    described = value(api, image())
    assert described["type"] == "Image"
    assert described["id"] == ID
    assert described["bands"][0] == {
        "id": "B1",
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [1830, 1830],
        "crs": "EPSG:32610",
        "crs_transform": [60, 0, 499980, 0, -60, 4200000],
    }
    collection = call("ImageCollection.load", id="COPERNICUS/S2")
    assert value(api, call("Collection.size", collection=collection)) == 2
    assert len(value(api, collection)["features"]) == 2
    assert value(api, call("Element.get", object=image(), property="MGRS_TILE")) == "10SEG"


def thumbnail(api, expression, **body):
    made = api.post(
        "/v1/projects/p-test-1/thumbnails?fields=name&alt=json", {"expression": graph(expression), **body}
    )
    assert made.status_code == 200, made.text
    name = made.json()["name"]
    assert name.startswith("projects/p-test-1/thumbnails/")
    return api.get(f"/v1/{name}:getPixels", Authorization=None, X_Goog_User_Project=None)


def test_row_078_thumbnails(api):
    ring = [[-123.0, 37.9], [-122.99, 37.9], [-122.99, 37.91], [-123.0, 37.91], [-123.0, 37.9]]
    area = call("GeometryConstructors.Polygon", coordinates=[ring], evenOdd=True)
    clipped = call(
        "Image.clipToBoundsAndScale", input=image(ID, "B4", "B3", "B2"), geometry=area, width=64, height=48
    )
    shown = call("Image.visualize", image=clipped, min=0, max=3000)
    answer = thumbnail(api, shown, fileFormat="PNG", filenamePrefix=None, bandIds=[])
    assert answer.headers["content-type"] == "image/png"
    with PIL.Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (64, 48)
    error_of(
        api.get("/v1/projects/p-test-1/thumbnails/other:getPixels", Authorization=None), 404, "NOT_FOUND"
    )


def test_downloads_by_scale(api):
    ring = [[-122.9, 37.9], [-122.89, 37.9], [-122.89, 37.91], [-122.9, 37.91], [-122.9, 37.9]]
    area = call("GeometryConstructors.Polygon", coordinates=[ring], evenOdd=True)
    scaled = call("Image.clipToBoundsAndScale", input=image(ID, "B4", "B3"), geometry=area, scale=30)
    pixels = load(thumbnail(api, scaled, fileFormat="NPY").content)
    assert pixels.dtype.names == ("B4", "B3")
    assert 25 < pixels.shape[1] < 40
    rasterio = pytest.importorskip("rasterio")
    for kind, files in (
        ("ZIPPED_GEO_TIFF", ["download.tif"]),
        ("ZIPPED_GEO_TIFF_PER_BAND", ["download.B4.tif", "download.B3.tif"]),
    ):
        with zipfile.ZipFile(io.BytesIO(thumbnail(api, scaled, fileFormat=kind).content)) as archive:
            assert archive.namelist() == files
            with rasterio.MemoryFile(archive.read(files[0])) as memory, memory.open() as file:
                np.testing.assert_array_equal(file.read(1), pixels["B4"])


def test_a_loaded_image_is_its_pixels(api):
    direct = api.pixels(bandIds=["B5", "B1", "QA20"], grid=grid(5, 7, 40, 30))
    assert (
        compute(api, graph(image()), {**grid(5, 7, 40, 30)}, bandIds=["B5", "B1", "QA20"]).content
        == direct.content
    )


def test_arithmetic_and_types(api):
    two = image(ID, "B8", "B4")
    pixels = array(api, call("Image.subtract", image1=two, image2=call("Image.constant", value=100)))
    assert pixels.dtype == np.dtype([("B8", "<i4"), ("B4", "<i4")])
    np.testing.assert_array_equal(pixels["B4"], truth("B4") - 100)
    ratio = array(api, call("Image.divide", image1=image(ID, "B8"), image2=image(ID, "B4")))["B8"]
    assert ratio.dtype == "<f8"
    np.testing.assert_array_equal(ratio, truth("B8") / truth("B4"))
    bright = array(api, call("Image.gt", image1=image(ID, "B8"), image2=call("Image.constant", value=2000)))[
        "B8"
    ]
    assert bright.dtype == "u1"
    np.testing.assert_array_equal(bright, truth("B8") > 2000)
    small = array(api, call("Image.toByte", value=image(ID, "B8")))["B8"]
    np.testing.assert_array_equal(small, np.minimum(truth("B8"), 255))


def test_bands_masks_and_fills(api):
    bright = call("Image.gt", image1=image(ID, "B8"), image2=call("Image.constant", value=2000))
    masked = call("Image.updateMask", image=image(ID, "B4"), mask=bright)
    seen = truth("B8") > 2000
    np.testing.assert_array_equal(array(api, masked)["B4"], np.where(seen, truth("B4"), 0))
    filled = call("Image.unmask", input=masked, value=call("Image.constant", value=7))
    np.testing.assert_array_equal(array(api, filled)["B4"], np.where(seen, truth("B4"), 7))
    mask = call("Image.mask", image=masked)
    named = call("Image.rename", input=call("Image.toByte", value=mask), names=["valid"])
    both = array(api, call("Image.addBands", dstImg=masked, srcImg=named))
    assert both.dtype == np.dtype([("B4", "<u2"), ("valid", "u1")])
    np.testing.assert_array_equal(both["valid"], seen)
    twice = array(api, call("Image.addBands", dstImg=image(ID, "B4"), srcImg=image(ID, "B4")))
    assert twice.dtype.names == ("B4", "B4_1")


def test_mask_of_a_masked_asset(api):
    name = f"{PUBLIC}EMULATOR/MASKED"
    affine = {"scaleX": 20, "scaleY": -20, "translateX": 600000 + 20 * 130, "translateY": 5200020}
    where = {"affineTransform": affine, "dimensions": {"width": 80, "height": 60}, "crsCode": "EPSG:32632"}
    mask = array(api, call("Image.mask", image=image(name.removeprefix(PUBLIC), "i2")), where)["i2"]
    np.testing.assert_array_equal(mask, oracle_valid(name, "i2", 130, 0, 80, 60))


def test_clip(api):
    ring = [[-123.0, 37.94], [-122.99, 37.94], [-122.99, 37.95], [-123.0, 37.95], [-123.0, 37.94]]
    area = call("GeometryConstructors.Polygon", coordinates=[ring], evenOdd=True)
    pixels = array(api, call("Image.clip", input=image(ID, "B4"), geometry=area))["B4"]
    kept = pixels != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(pixels[kept], truth("B4")[kept])


def test_collections(api):
    dates = call(
        "Filter.dateRangeContains",
        leftValue=call("DateRange", start="2017-04-01", end="2017-04-25"),
        rightField="system:time_start",
    )
    only_b = call("Collection.first", collection=series(dates))
    pixels = array(api, call("Image.select", input=only_b, bandSelectors=["B4"]))["B4"]
    np.testing.assert_array_equal(pixels, truth("B4", QUICKSTART_B))

    point = call("GeometryConstructors.Point", coordinates=[-122.085, 37.422])
    here = call("Filter.intersects", leftField=".all", rightValue=call("Feature", geometry=point))
    clear = call("Filter.lessThan", leftField="CLOUDY_PIXEL_PERCENTAGE", rightValue=10)
    assert value(api, call("Collection.size", collection=series(here, clear))) == 2
    away = call("GeometryConstructors.Point", coordinates=[10, 10])
    assert (
        value(
            api,
            call(
                "Collection.size",
                collection=series(call("Filter.intersects", leftField=".all", rightValue=away)),
            ),
        )
        == 0
    )

    top = array(
        api,
        call("Image.select", input=call("ImageCollection.mosaic", collection=series()), bandSelectors=["B4"]),
    )
    np.testing.assert_array_equal(top["B4"], truth("B4"))
    middle = array(
        api, call("Image.select", input=call("reduce.median", collection=series()), bandSelectors=["B4"])
    )
    np.testing.assert_array_equal(middle["B4"], (truth("B4") + truth("B4", QUICKSTART_B)) / 2)


def test_mapped_functions(api):
    body = call("Image.select", input={"argumentReference": "_MAPPING_VAR_0_0"}, bandSelectors=["B4"])
    expression = {
        "result": "0",
        "values": {
            "0": call(
                "reduce.max",
                collection=call(
                    "Collection.map",
                    collection=series(),
                    baseAlgorithm={
                        "functionDefinitionValue": {"argumentNames": ["_MAPPING_VAR_0_0"], "body": "1"}
                    },
                ),
            ),
            "1": body,
        },
    }
    answer = compute(api, expression)
    assert answer.status_code == 200, answer.text
    pixels = load(answer.content)
    assert pixels.dtype == np.dtype([("B4", "<u2")])
    np.testing.assert_array_equal(pixels["B4"], np.maximum(truth("B4"), truth("B4", QUICKSTART_B)))


def deep(levels):
    result = image(ID, "B4")
    for _ in range(levels):
        result = call("Image.abs", value=result)
    return graph(result)


@pytest.mark.parametrize(
    "expression",
    [
        None,
        {},
        {"result": "0", "values": {}},
        {"result": "0", "values": {"0": {"valueReference": "0"}}},
        {"result": "0", "values": {"0": {"argumentReference": "x"}}},
        {"result": "0", "values": {"0": {}}},
        {"result": "0", "values": {"0": {"arrayValue": 3}}},
        {"result": "0", "values": {"0": {"functionInvocationValue": {}}}},
        graph(call("Image.select", bandSelectors=["B4"])),
        graph(call("Image.load", id=ID, other=3)),
        graph(call("Number.add", left=1, right="a")),
        graph(call("Number.add", left=1, right=2)),
        deep(150),
    ],
)
def test_bad_expressions(api, expression):
    error_of(compute(api, expression), 400, "INVALID_ARGUMENT")


def test_limits_hold_for_computed_images(api):
    where = {**grid(width=2365, height=2365), "crsCode": "EPSG:32610"}
    answer = compute(api, graph(call("Image.sqrt", value=image(ID, "B4"))), where)
    assert error_of(answer, 400, "INVALID_ARGUMENT")["message"].startswith(
        "Total request size (50339025 bytes)"
    )


def test_a_project_that_may_not_compute(api):
    answer = api.post(PATH.replace("p-test-1", "p-readonly"), {"expression": NDVI}, X_Goog_User_Project=None)
    assert "earthengine.computations.create" in error_of(answer, 403, "PERMISSION_DENIED")["message"]


UPDATED = 1_577_836_800_123_456
"""The quickstart image's update time, 2020-01-01T00:00:00.123456Z, in microseconds."""


@pytest.mark.parametrize("version", [-1, UPDATED])
def test_a_version_pins_an_input(api, version):
    loaded = call("Image.load", id=ID, version=version)
    pixels = array(api, call("Image.select", input=loaded, bandSelectors=["B4"]))
    np.testing.assert_array_equal(pixels["B4"], truth("B4"))


@pytest.mark.parametrize("version", [UPDATED - 1, UPDATED * 1000, 1])
def test_another_version_is_not_found(api, version):
    error = error_of(compute(api, graph(call("Image.load", id=ID, version=version))), 400, "INVALID_ARGUMENT")
    assert error["message"].endswith(f"not found at version {version}.")
    collection = call("ImageCollection.load", id="COPERNICUS/S2", version=version)
    answer = compute(api, graph(call("ImageCollection.mosaic", collection=collection)))
    assert error_of(answer, 400, "INVALID_ARGUMENT")["message"].endswith(f"not found at version {version}.")


def test_the_version_follows_the_update_time(api, emulator):
    emulator.control("configure", {"assets": {QUICKSTART: {"updateTime": "2026-02-03T04:05:06Z"}}})
    assert value(api, image())["version"] == 1_770_091_506_000_000
    error_of(compute(api, graph(call("Image.load", id=ID, version=UPDATED))), 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "composite", ["ImageCollection.mosaic", "reduce.median", "reduce.mean", "reduce.count"]
)
def test_a_composite_of_nothing_has_no_bands(api, composite):
    none = series(call("Filter.lessThan", leftField="CLOUDY_PIXEL_PERCENTAGE", rightValue=-1))
    expression = graph(call("Image.select", input=call(composite, collection=none), bandSelectors=["B2"]))
    assert error_of(compute(api, expression), 400, "INVALID_ARGUMENT")["message"] == (
        "Image.select: Band pattern 'B2' was applied to an Image with no bands."
    )
    error_of(compute(api, graph(call(composite, collection=none))), 400, "INVALID_ARGUMENT")


def test_computed_values_are_limited_to_80_mib(api, emulator):
    """Eight bytes a value, whatever the type: 20 bands for 851,968 pixels are too much, as the service said."""
    emulator.control("configure", {"limit_pixel_bytes": 2**30})
    bands = call("Image.constant", value=list(range(20)))
    where = {**UTM, "dimensions": {"width": 1024, "height": 832}}
    error = error_of(compute(api, graph(bands), where), 400, "INVALID_ARGUMENT")
    assert error["message"] == (
        "Output of image computation is too large (20 bands for 851968 pixels = 130.0 MiB > 80.0 MiB).\n"
        "If this is a reduction, try specifying a larger 'tileScale' parameter."
    )
    emulator.control("configure", {"limit_computed_bytes": 8 * 64 * 64})
    small = {**UTM, "dimensions": {"width": 64, "height": 64}}
    assert compute(api, graph(image(ID, "B4")), small).status_code == 200
    more = {**UTM, "dimensions": {"width": 64, "height": 65}}
    error_of(compute(api, graph(image(ID, "B4")), more), 400, "INVALID_ARGUMENT")
