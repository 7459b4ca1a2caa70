"""Every pixel function of docs/contract.md §4.7 and its neighbours, against numpy on the oracle's pixels."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest

from tests.contract.conftest import error_of, load
from tests.contract.graphs import ID, array, call, compute, graph, image, series, truth, value
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, oracle_valid, oracle_window

ID_B = QUICKSTART_B.removeprefix(PUBLIC)
MASKED = "EMULATOR/MASKED"


def utm(x, y, scale, width, height):
    """A north-up grid in the quickstart's CRS."""
    affine = {"scaleX": scale, "scaleY": -scale, "translateX": x, "translateY": y}
    return {
        "affineTransform": affine,
        "dimensions": {"width": width, "height": height},
        "crsCode": "EPSG:32610",
    }


SMALL = utm(499980, 4200000, 10, 64, 48)


def native(band, column=0, row=0, width=64, height=48, name=QUICKSTART):
    return oracle_window(name, band, column, row, width, height).astype(float)


def same(found, wanted):
    np.testing.assert_array_equal(found, wanted.astype(found.dtype))


# ---------------------------------------------------------------- arithmetic


BINARY = {
    "add": (lambda a, b: a + b, "<i4"),
    "subtract": (lambda a, b: a - b, "<i4"),
    "multiply": (lambda a, b: a * b, "<i4"),
    "divide": (lambda a, b: a / b, "<f8"),
    "mod": (lambda a, b: a % b, "<i4"),
    "min": (np.minimum, "<u2"),
    "max": (np.maximum, "<u2"),
    "eq": (lambda a, b: a == b, "|u1"),
    "neq": (lambda a, b: a != b, "|u1"),
    "lt": (lambda a, b: a < b, "|u1"),
    "lte": (lambda a, b: a <= b, "|u1"),
    "gt": (lambda a, b: a > b, "|u1"),
    "gte": (lambda a, b: a >= b, "|u1"),
    "and": (lambda a, b: (a != 0) & (b != 0), "|u1"),
    "or": (lambda a, b: (a != 0) | (b != 0), "|u1"),
    "bitwiseAnd": (lambda a, b: a.astype(int) & b.astype(int), "<i4"),
    "bitwiseOr": (lambda a, b: a.astype(int) | b.astype(int), "<i4"),
    "bitwiseXor": (lambda a, b: a.astype(int) ^ b.astype(int), "<i4"),
}


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_images(api, name):
    operation, dtype = BINARY[name]
    found = array(api, call(f"Image.{name}", image1=image(ID, "B8"), image2=image(ID, "B4")), SMALL)["B8"]
    assert found.dtype == dtype
    same(found, operation(native("B8"), native("B4")))


@pytest.mark.parametrize(
    ("name", "number", "operation"),
    [
        ("pow", 2, lambda a: a**2),
        ("leftShift", 3, lambda a: a * 8),
        ("rightShift", 3, lambda a: a // 8),
        ("eq", 1500, lambda a: a == 1500),
        ("lt", 1500, lambda a: a < 1500),
        ("multiply", 0.5, lambda a: a / 2),
    ],
)
def test_functions_of_an_image_and_a_number(api, name, number, operation):
    constant = call("Image.constant", value=number)
    found = array(api, call(f"Image.{name}", image1=image(ID, "B4"), image2=constant), SMALL)["B4"]
    same(found, operation(native("B4")))


UNARY = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": np.log,
    "log10": np.log10,
    "exp": np.exp,
    "not": lambda a: a == 0,
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_image(api, name):
    centred = call(
        "Image.divide",
        image1=call("Image.subtract", image1=image(ID, "B4"), image2=call("Image.constant", value=1500)),
        image2=call("Image.constant", value=64),
    )
    a = (native("B4") - 1500) / 64
    found = array(api, call(f"Image.{name}", value=centred), SMALL)["B4"]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        wanted = np.asarray(UNARY[name](a), float)
    same(found, np.where(np.isfinite(wanted), wanted, 0))  # what is no number is masked


CASTS = {
    "toByte": "|u1",
    "toUint8": "|u1",
    "toInt8": "|i1",
    "toUint16": "<u2",
    "toInt16": "<i2",
    "toShort": "<i2",
    "toUint32": "<u4",
    "toInt32": "<i4",
    "toInt": "<i4",
    "toInt64": "<f8",
    "toLong": "<f8",
    "toFloat": "<f4",
    "toDouble": "<f8",
    "byte": "|u1",
    "uint8": "|u1",
    "int8": "|i1",
    "uint16": "<u2",
    "int16": "<i2",
    "short": "<i2",
    "uint32": "<u4",
    "int32": "<i4",
    "int": "<i4",
    "int64": "<f8",
    "long": "<f8",
    "float": "<f4",
    "double": "<f8",
}


@pytest.mark.parametrize("name", CASTS)
def test_casts(api, name):
    signed = call("Image.subtract", image1=image(ID, "B4"), image2=call("Image.constant", value=1000.5))
    found = array(api, call(f"Image.{name}", value=signed), SMALL)["B4"]
    assert found.dtype == CASTS[name]
    wanted = native("B4") - 1000.5
    if found.dtype.kind in "iu":
        limits = np.iinfo(found.dtype)
        wanted = np.clip(np.trunc(wanted), limits.min, limits.max)
    same(found, wanted)


def test_division_by_zero_is_zero(api):
    zero = call("Image.subtract", image1=image(ID, "B4"), image2=image(ID, "B4"))
    found = array(api, call("Image.divide", image1=image(ID, "B8"), image2=zero), SMALL)["B8"]
    assert not found.any()
    seen = call("Image.mask", image=call("Image.divide", image1=image(ID, "B8"), image2=zero))
    assert array(api, seen, SMALL)["B8"].all()


def test_bands_meet_their_namesakes(api):
    one, other = image(ID, "B8", "B4"), image(ID_B, "B4", "B8")
    found = array(api, call("Image.subtract", image1=one, image2=other), SMALL)
    assert found.dtype.names == ("B8", "B4")
    for band in ("B8", "B4"):
        same(found[band], native(band) - native(band, name=QUICKSTART_B))


def test_normalized_difference_forgets_the_properties(api):
    index = call("Image.normalizedDifference", input=image(ID, "B8", "B4"))
    assert "MGRS_TILE" not in value(api, index)["properties"]
    kept = value(api, call("Image.add", image1=image(ID, "B8"), image2=call("Image.constant", value=1)))
    assert kept["properties"]["MGRS_TILE"] == "10SEG"


def test_normalized_difference_masks_negative_values(api):
    signed = call("Image.subtract", image1=image(ID, "B8", "B4"), image2=call("Image.constant", value=1500))
    found = array(api, call("Image.mask", image=call("Image.normalizedDifference", input=signed)), SMALL)[
        "nd"
    ]
    a, b = native("B8") - 1500, native("B4") - 1500
    wanted = (a >= 0) & (b >= 0) & (a + b != 0)
    assert 0 < wanted.sum() < wanted.size
    same(found, wanted)


# ---------------------------------------------------------------- bands and masks


def test_select_by_index_pattern_and_new_name(api):
    chosen = call("Image.select", input=image(), bandSelectors=[3, "B1[12]"], newNames=["red", "c", "d"])
    found = array(api, chosen, SMALL)
    assert found.dtype.names == ("red", "c", "d")
    same(found["red"], native("B4"))


def test_constants_of_several_bands(api):
    found = array(api, call("Image.constant", value=[1, -2, 300, 0.5]), SMALL)
    assert found.dtype.descr == [
        ("constant_0", "|u1"),
        ("constant_1", "|i1"),
        ("constant_2", "<u2"),
        ("constant_3", "<f8"),
    ]
    assert found[3, 5].tolist() == (1, -2, 300, 0.5)


def beside(column, width=80, height=60):
    """The masked image's border lies in this window."""
    return {
        "affineTransform": {
            "scaleX": 20,
            "scaleY": -20,
            "translateX": 600000 + 20 * column,
            "translateY": 5200020,
        },
        "dimensions": {"width": width, "height": height},
        "crsCode": "EPSG:32632",
    }


@pytest.mark.parametrize("same_footprint", [True, False, None])
def test_unmask_and_its_footprint(api, same_footprint):
    """20 columns lie west of the image, the next 150 or so within it but masked."""
    more = {} if same_footprint is None else {"sameFootprint": same_footprint}
    filled = call("Image.unmask", input=image(MASKED, "u2"), value=call("Image.constant", value=7), **more)
    where = beside(-20, 200)
    found = array(api, filled, where)["u2"]
    seen = array(api, call("Image.mask", image=filled), where)["u2"]
    name = PUBLIC + MASKED
    valid = oracle_valid(name, "u2", 0, 0, 180, 60)
    inner = np.where(valid, oracle_window(name, "u2", 0, 0, 180, 60), 7)
    outer = 7 if same_footprint is False else 0
    same(found, np.hstack([np.full((60, 20), outer), inner]))
    same(seen, np.hstack([np.full((60, 20), same_footprint is False), np.ones((60, 180))]))
    assert 0 < valid.sum() < valid.size


def test_mask_is_set_anew(api):
    """Where the image was masked before, a new mask lets 0 appear."""
    new = call("Image.constant", value=1)
    shown = call("Image.mask", image=image(MASKED, "u2"), mask=new)
    valid = oracle_valid(PUBLIC + MASKED, "u2", 130, 0, 80, 60)
    same(
        array(api, shown, beside(130))["u2"],
        np.where(valid, oracle_window(PUBLIC + MASKED, "u2", 130, 0, 80, 60), 0),
    )
    assert array(api, call("Image.mask", image=shown), beside(130))["u2"].all()
    kept = call("Image.updateMask", image=image(MASKED, "u2"), mask=new)
    same(array(api, call("Image.mask", image=kept), beside(130))["u2"], valid)


def test_clip_shrinks_the_footprint(api):
    ring = [[-123.0, 37.94], [-122.996, 37.94], [-122.996, 37.95], [-123.0, 37.95], [-123.0, 37.94]]
    area = call("GeometryConstructors.Polygon", coordinates=[ring], evenOdd=True)
    clipped = call("Image.clip", input=image(ID, "B4"), geometry=area)
    filled = call("Image.unmask", input=clipped, value=call("Image.constant", value=7))
    everywhere = call(
        "Image.unmask", input=clipped, value=call("Image.constant", value=7), sameFootprint=False
    )
    row, column = np.mgrid[:48, :64] + 0.5
    to_degrees = pyproj.Transformer.from_crs(32610, 4326, always_xy=True)
    lon, lat = to_degrees.transform(499980 + 10 * column, 4200000 - 10 * row)
    inside = (lon > -123.0) & (lon < -122.996) & (lat > 37.94) & (lat < 37.95)
    assert 0 < inside.sum() < inside.size
    same(array(api, filled, SMALL)["B4"], np.where(inside, native("B4"), 0))
    same(array(api, everywhere, SMALL)["B4"], np.where(inside, native("B4"), 7))


# ---------------------------------------------------------------- resampling


def taps_of(mode, t):
    """Offsets from the pixel before the point, and weights: Keys with a = -½ written as in his paper."""
    if mode == "bilinear":
        return [(0, 1 - t), (1, t)]

    def keys(s):
        s, a = abs(s), -0.5
        if s <= 1:
            return (a + 2) * s**3 - (a + 3) * s**2 + 1
        return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else 0.0

    return [(k, keys(t - k)) for k in (-1, 0, 1, 2)]


def interpolated(plane, valid, x, y, mode):
    """The value at a point (pixel coordinates of corners), one by one; None where masked."""
    height, width = plane.shape
    i, j = math.floor(x), math.floor(y)
    if not (0 <= i < width and 0 <= j < height and valid[j, i]):
        return None
    u, v = x - 0.5, y - 0.5
    total = 0.0
    for dj, wy in taps_of(mode, v - math.floor(v)):
        for di, wx in taps_of(mode, u - math.floor(u)):
            c, r = math.floor(u) + di, math.floor(v) + dj
            usable = 0 <= c < width and 0 <= r < height and valid[r, c]
            total += wx * wy * (plane[r, c] if usable else plane[j, i])
    return total


def as_type(number, dtype):
    if number is None:
        return 0
    if np.dtype(dtype).kind == "f":
        return np.dtype(dtype).type(number)
    limits = np.iinfo(dtype)
    return int(min(max(math.floor(number + 0.5), limits.min), limits.max))


def expected(plane, valid, points, dtype, mode):
    return [[as_type(interpolated(plane, valid, x, y, mode), dtype) for x, y in line] for line in points]


def close(found, wanted):
    """Equal; a sum in another order may round a last bit, or a half, to the other side."""
    wanted = np.array(wanted, found.dtype).astype(float)
    difference = np.abs(found.astype(float) - wanted)
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-4)
    else:
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [7, 13])
def test_resample_on_another_lattice(api, mode, scale):
    """The north-west corner with a margin outside, at a scale that divides nothing."""
    where = utm(499980 - 33, 4200000 + 21, scale, 30, 20)
    found = array(api, call("Image.resample", image=image(ID, "B8"), mode=mode), where)["B8"]
    plane = oracle_window(QUICKSTART, "B8", 0, 0, 60, 60)
    points = [
        [((-33 + scale * (c + 0.5)) / 10, (-21 + scale * (r + 0.5)) / 10) for c in range(30)]
        for r in range(20)
    ]
    assert found.dtype == "<u2"
    close(found, expected(plane, np.ones(plane.shape, bool), points, "<u2", mode))
    assert (found == 0).any()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resample_a_float_band_with_masked_pixels(api, mode):
    where = {**beside(140, 40, 30)}
    where["affineTransform"] = {**where["affineTransform"], "scaleX": 11, "scaleY": -17}
    found = array(api, call("Image.resample", image=image(MASKED, "f4"), mode=mode), where)["f4"]
    name = PUBLIC + MASKED
    plane, valid = (oracle(name, "f4", 0, 0, 180, 60) for oracle in (oracle_window, oracle_valid))
    points = [[(140 + 11 * (c + 0.5) / 20, 17 * (r + 0.5) / 20) for c in range(40)] for r in range(30)]
    close(found, expected(plane.astype(float), valid, points, "<f4", mode))
    assert (found == 0).any()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resample_to_another_system(api, mode):
    affine = {"scaleX": 0.0001, "scaleY": -0.00008, "translateX": -122.99, "translateY": 37.94}
    where = {"affineTransform": affine, "dimensions": {"width": 25, "height": 20}, "crsCode": "EPSG:4326"}
    found = array(api, call("Image.resample", image=image(ID, "B8"), mode=mode), where)["B8"]
    to_metres = pyproj.Transformer.from_crs(4326, 32610, always_xy=True)
    row, column = np.mgrid[:20, :25] + 0.5
    x, y = to_metres.transform(-122.99 + 0.0001 * column, 37.94 - 0.00008 * row)
    points = np.stack([(x - 499980) / 10, (4200000 - y) / 10], axis=-1)
    size = math.ceil(points.max()) + 3
    plane = oracle_window(QUICKSTART, "B8", 0, 0, size, size)
    close(found, expected(plane, np.ones(plane.shape, bool), points, "<u2", mode))


def test_resample_reads_the_pyramid_when_coarser(api):
    """At 25 m the level of 20 m pixels is interpolated, which holds means of 2×2."""
    where = utm(499980 + 400, 4200000 - 400, 25, 20, 16)
    found = array(api, call("Image.resample", image=image(ID, "B8"), mode="bilinear"), where)["B8"]
    fine = oracle_window(QUICKSTART, "B8", 0, 0, 200, 200).astype(float)
    plane = np.floor(fine.reshape(100, 2, 100, 2).mean(axis=(1, 3)) + 0.5)
    points = [[(20 + 25 * (c + 0.5) / 20, 20 + 25 * (r + 0.5) / 20) for c in range(20)] for r in range(16)]
    close(found, expected(plane, np.ones(plane.shape, bool), points, "<u2", "bilinear"))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resample_changes_nothing_on_the_images_own_pixels(api, mode):
    for bands in (["B8"], ["B5"]):
        where = SMALL if bands == ["B8"] else utm(499980 + 200, 4200000 - 100, 20, 40, 30)
        plain = array(api, image(ID, *bands), where)
        smooth = array(api, call("Image.resample", image=image(ID, *bands), mode=mode), where)
        np.testing.assert_array_equal(plain, smooth)


def test_resample_of_what_was_computed(api):
    """Interpolation of a sum is the sum of interpolations where nothing is rounded."""
    half = call("Image.multiply", image1=image(ID, "B8"), image2=call("Image.constant", value=0.5))
    where = utm(499980 + 103, 4200000 - 107, 7, 24, 20)
    found = array(api, call("Image.resample", image=half, mode="bilinear"), where)["B8"]
    plane = native("B8") / 2
    points = [
        [((103 + 7 * (c + 0.5)) / 10, (107 + 7 * (r + 0.5)) / 10) for c in range(24)] for r in range(20)
    ]
    close(found, expected(plane, np.ones(plane.shape, bool), points, "<f8", "bilinear"))


def test_resample_wants_a_known_mode(api):
    answer = compute(api, graph(call("Image.resample", image=image(ID, "B8"), mode="lanczos")))
    assert "lanczos" in error_of(answer, 400, "INVALID_ARGUMENT")["message"]


def test_reproject_fixes_the_pixels(api):
    """20 m pixels from an origin of their own: each shows the 10 m pixel's pyramid at its centre, as a 2×2 block."""
    fixed = call(
        "Image.reproject",
        image=image(ID, "QA10"),
        crs=call("Projection", crs="EPSG:32610"),
        crsTransform=[20, 0, 499970, 0, -20, 4200010],
    )
    found = array(api, fixed, SMALL)["QA10"]
    row, column = np.mgrid[:48, :64]
    x, y = 499980 + 10 * (column + 0.5), 4200000 - 10 * (row + 0.5)
    middle_x = 499970 + 20 * (np.floor((x - 499970) / 20) + 0.5)
    middle_y = 4200010 - 20 * (np.floor((4200010 - y) / 20) + 0.5)
    # SAMPLE: the level of 20 m pixels holds the upper left of each 2×2.
    i, j = (
        np.floor((middle_x - 499980) / 20).astype(int) * 2,
        np.floor((4200000 - middle_y) / 20).astype(int) * 2,
    )
    wanted = np.where((i >= 0) & (j >= 0), oracle_window(QUICKSTART, "QA10", 0, 0, 80, 80)[j, i], 0)
    same(found, wanted)


def test_reproject_by_scale_and_to_degrees(api):
    fixed = call("Image.reproject", image=image(ID, "B4"), crs="EPSG:4326", scale=30)
    found = array(api, fixed, SMALL)["B4"]
    size = 30 / 111319.49079327358
    row, column = np.mgrid[:48, :64] + 0.5
    lon, lat = pyproj.Transformer.from_crs(32610, 4326, always_xy=True).transform(
        499980 + 10 * column, 4200000 - 10 * row
    )
    lon, lat = (np.floor(lon / size) + 0.5) * size, (np.floor(lat / size) + 0.5) * size
    x, y = pyproj.Transformer.from_crs(4326, 32610, always_xy=True).transform(lon, lat)
    # 30 m in degrees is 24 m east here: the 20 m level serves.
    i, j = np.floor((x - 499980) / 20).astype(int), np.floor((4200000 - y) / 20).astype(int)
    fine = native("B4", 0, 0, 200, 200)
    level = np.floor(fine.reshape(100, 2, 100, 2).mean(axis=(1, 3)) + 0.5)
    same(found, np.where((i >= 0) & (j >= 0), level[j, i], 0))
    described = value(api, fixed)["bands"][0]
    assert described["crs"] == "EPSG:4326"
    assert described["crs_transform"][0] == pytest.approx(size)


def test_projections(api):
    utm_of = call("Image.projection", image=image(ID, "B4"))
    assert value(api, utm_of) == {
        "type": "Projection",
        "crs": "EPSG:32610",
        "transform": [10, 0, 499980, 0, -10, 4200000],
    }
    assert value(api, call("Projection", crs="EPSG:4326"))["crs"] == "EPSG:4326"
    for bad in (image(), call("Image.select", input=image(), bandSelectors=["B1", "B2"])):
        answer = api.post(
            "/v1/projects/p-test-1/value:compute", {"expression": graph(call("Image.projection", image=bad))}
        )
        assert "different projections" in error_of(answer, 400, "INVALID_ARGUMENT")["message"]


def test_a_reprojection_that_is_too_large(api):
    fine = call("Image.reproject", image=image(ID, "B4"), crs="EPSG:32610", scale=0.001)
    message = error_of(compute(api, graph(fine)), 400, "INVALID_ARGUMENT")["message"]
    assert message.startswith("Reprojection output too large (")


# ---------------------------------------------------------------- arithmetic as text


def formula(text, images, free=False):
    """A call of Image.parseExpression's result, as the official client writes it."""
    names = ["DEFAULT_EXPRESSION_IMAGE", *(name for name in images if name != "DEFAULT_EXPRESSION_IMAGE")]
    parsed = call("Image.parseExpression", expression=text, argName=names[0], vars=names)
    if free:
        arguments = parsed["functionInvocationValue"]["arguments"]
        arguments["mapFreeVarsToDefaultImageBands"] = {"constantValue": True}
    return {
        "result": "0",
        "values": {
            "0": {"functionInvocationValue": {"functionReference": "1", "arguments": images}},
            "1": parsed,
        },
    }


def worked_out(api, text, images, **more):
    answer = compute(api, formula(text, images, **more), SMALL)
    assert answer.status_code == 200, answer.text
    return load(answer.content)


EVI = "2.5 * ((NIR - RED) / (NIR + 6 * RED - 7.5 * BLUE + 10000))"


def test_evi_with_variables_in_any_order(api):
    images = {
        "BLUE": image(ID, "B2"),
        "NIR": image(ID, "B8"),
        "DEFAULT_EXPRESSION_IMAGE": image(),
        "RED": image(ID, "B4"),
    }
    found = worked_out(api, EVI, images)
    (name,) = found.dtype.names
    n, r, b = native("B8"), native("B4"), native("B2")
    np.testing.assert_allclose(found[name], 2.5 * ((n - r) / (n + 6 * r - 7.5 * b + 10000)), rtol=1e-14)


FORMULAS = {
    "b('B8') - b('B4') * 2": lambda n, r: n - r * 2,
    "b(0) - b(1) - 3": lambda n, r: n - r - 3,
    "(b('B8') - b('B4')) / (b('B8') + b('B4'))": lambda n, r: (n - r) / (n + r),
    "-b('B4') ** 2 + 1": lambda n, r: -(r**2) + 1,
    "2 ** 3 ** 2 + b(0) * 0": lambda n, r: 2**9 + n * 0,
    "b(0) % 7 + 1e2": lambda n, r: n % 7 + 100,
    "b('B8') > 2700 ? b('B8') : b('B4')": lambda n, r: np.where(n > 2700, n, r),
    "b(0) < 2600 ? 1 : b(0) < 2800 ? 2 : 3": lambda n, r: np.where(n < 2600, 1, np.where(n < 2800, 2, 3)),
    "(b(0) > 2700 && b(1) > 1500) || !(b(0) != b(1) + 1200)": lambda n, r: (
        ((n > 2700) & (r > 1500)) | (n == r + 1200)
    ),
    "b(0) & 255 | b(1) << 8 ^ 3": lambda n, r: (n.astype(int) & 255) | ((r.astype(int) << 8) ^ 3),
    "~b(0) >> 1": lambda n, r: ~n.astype(int) >> 1,
    "min(b(0), b(1)) + max(b(0), 2700) - sqrt(abs(b(1)))": lambda n, r: (
        np.minimum(n, r) + np.maximum(n, 2700) - np.sqrt(r)
    ),
    "byte(b(0) / 16)": lambda n, r: np.minimum(np.trunc(n / 16), 255),
    'x = img.B4 + img["B8"] + img[1]': lambda n, r: r + n + r,
    "img['B8', 'B4'] + 1": lambda n, r: n + 1,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas(api, text):
    both = image(ID, "B8", "B4")
    found = worked_out(api, text, {"DEFAULT_EXPRESSION_IMAGE": both, "img": both})
    same(found[found.dtype.names[0]], np.asarray(FORMULAS[text](native("B8"), native("B4")), float))
    if text.startswith("x ="):
        assert found.dtype.names == ("x",)
    if text.startswith("img["):
        assert found.dtype.names == ("B8", "B4")


def test_free_names_are_bands_when_asked(api):
    found = worked_out(api, "B8 - B4", {"DEFAULT_EXPRESSION_IMAGE": image(ID, "B8", "B4")}, free=True)
    same(found["B8"], native("B8") - native("B4"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("b('B8') +", "ends too early"),
        ("b('B8' - 1", "missing"),
        ("NIR + 1", "Unknown variable 'NIR'"),
        ("frobnicate(b(0))", "Unknown function 'frobnicate'"),
        ("b(0) $ 2", "Unexpected '$"),
        ("b('B99')", "Band pattern 'B99'"),
        ("(b(0)", "')' is missing"),
        ("sqrt(b(0), b(1))", "does not take 2"),
        ("x = b()", "cannot name 2 bands"),
        ("b(0) b(1)", "Unexpected 'b'"),
    ],
)
def test_formulas_that_are_none(api, text, why):
    answer = compute(api, formula(text, {"DEFAULT_EXPRESSION_IMAGE": image(ID, "B8", "B4")}), SMALL)
    assert why in error_of(answer, 400, "INVALID_ARGUMENT")["message"]


# ---------------------------------------------------------------- collections


def stack_of(band):
    """The two quickstart images, of which the darker half of each is masked, and numpy's view of them."""
    layers = []
    for name in (QUICKSTART_B, QUICKSTART):
        plane = native(band, name=name)
        layers.append(np.where(native("B8", name=name) > 2750, plane, np.nan))
    return np.stack(layers)


def cloudless(band):
    """The same as a graph: map(updateMask(B8 > 2750))."""
    variable = {"argumentReference": "one"}
    bright = call(
        "Image.gt",
        image1=call("Image.select", input=variable, bandSelectors=["B8"]),
        image2=call("Image.constant", value=2750),
    )
    masked = call(
        "Image.updateMask", image=call("Image.select", input=variable, bandSelectors=[band]), mask=bright
    )
    mapped = call(
        "Collection.map",
        collection=series(),
        baseAlgorithm={"functionDefinitionValue": {"argumentNames": ["one"], "body": "body"}},
    )
    return mapped, masked


def composite(api, name, band="B4", where=SMALL, **more):
    mapped, masked = cloudless(band)
    answer = compute(
        api, {"result": "0", "values": {"0": call(name, collection=mapped, **more), "body": masked}}, where
    )
    assert answer.status_code == 200, answer.text
    return load(answer.content)


@pytest.mark.parametrize(
    ("name", "operation", "dtype"),
    [
        ("median", np.nanmedian, "<f8"),
        ("mean", np.nanmean, "<f8"),
        ("min", np.nanmin, "<u2"),
        ("max", np.nanmax, "<u2"),
    ],
)
def test_composites_of_what_is_valid(api, name, operation, dtype):
    found = composite(api, f"reduce.{name}")["B4"]
    stack = stack_of("B4")
    some = ~np.isnan(stack).all(axis=0)
    assert 0 < some.sum() < some.size
    filled = np.where(some, stack, 0)
    assert found.dtype == dtype
    same(found, np.where(some, operation(filled, axis=0), 0))


def test_count_and_mosaic(api):
    stack = stack_of("B4")
    same(composite(api, "reduce.count")["B4"], (~np.isnan(stack)).sum(axis=0))
    older, newer = stack
    wanted = np.where(np.isnan(newer), older, newer)
    same(composite(api, "ImageCollection.mosaic")["B4"], np.nan_to_num(wanted))


def test_reducers_name_their_bands(api):
    mapped = composite(api, "ImageCollection.reduce", reducer=call("Reducer.mean"))
    stack = stack_of("B4")
    some = ~np.isnan(stack).all(axis=0)
    same(mapped["B4_mean"], np.where(some, np.nanmean(np.where(some, stack, 0), axis=0), 0))
    across = array(
        api, call("Image.reduce", image=image(ID, "B8", "B4", "B2"), reducer=call("Reducer.max")), SMALL
    )
    assert across.dtype.names == ("max",)
    same(across["max"], np.max([native(b) for b in ("B8", "B4", "B2")], axis=0))


def test_truth_is_the_oracles(api):
    """The helper that other tests compare with."""
    same(array(api, image(ID, "B8"), SMALL)["B8"], truth("B8")[:48, :64])
