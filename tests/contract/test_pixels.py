"""Rows 47 to 61 and 67 to 71 of tests/contract/acceptance.md: getPixels as NPY."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from tests.contract.conftest import QUICKSTART_GRID, detail, error_of, grid, load, window_of
from tests.oracle import ALL_KINDS, DTYPES, PUBLIC, QUICKSTART, oracle_valid, oracle_window

BANDS = ["B2", "B3", "B4", "B8"]
FOLDER = f"{PUBLIC}EMULATOR/"
MODIS = "+proj=sinu +R=6371007.181 +units=m +no_defs"


def expect(pixels, image, column, row):
    """Every field of a native window is what the oracle says."""
    height, width = pixels.shape
    for band in pixels.dtype.names:
        np.testing.assert_array_equal(
            pixels[band], oracle_window(image, band, column, row, width, height), strict=True
        )


def test_row_047_quickstart(api):
    answer = api.pixels(bandIds=BANDS, grid=QUICKSTART_GRID)
    assert answer.status_code == 200
    assert len(answer.content) == 524_480
    assert answer.content[:10] == b"\x93NUMPY\x01\x00" + (182).to_bytes(2, "little")
    assert answer.content[10:192].startswith(
        b"{'descr': [('B2', '<u2'), ('B3', '<u2'), ('B4', '<u2'), ('B8', '<u2')], 'fortran_order': False, "
        b"'shape': (256, 256), }"
    )
    pixels = load(answer.content)
    assert pixels.shape == (256, 256)
    assert pixels.dtype == np.dtype([(band, "<u2") for band in BANDS])
    expect(pixels, QUICKSTART, 0, 0)


@pytest.mark.parametrize("content_type", [None, "text/plain"])
def test_row_048_content_type_does_not_matter(api, content_type):
    answer = api.pixels(bandIds=BANDS, grid=QUICKSTART_GRID, headers={"Content_Type": content_type})
    assert answer.content == api.pixels(bandIds=BANDS, grid=QUICKSTART_GRID).content


def test_row_049_one_band_is_still_structured(api):
    answer = api.pixels(bandIds=["B4"], grid=grid(width=1, height=1))
    assert len(answer.content) == 130
    assert answer.content[:8] == b"\x93NUMPY\x01\x00"
    assert load(answer.content).dtype == np.dtype([("B4", "<u2")])


def test_row_050_bands_in_the_order_asked(api):
    pixels = api.npy(bandIds=["B4", "B2"], grid=grid(7, 9, 33, 21))
    assert pixels.dtype.names == ("B4", "B2")
    expect(pixels, QUICKSTART, 7, 9)


def test_row_051_all_bands(api):
    pixels = api.npy(grid=grid(width=1, height=1))
    names = [band["id"] for band in api.get(f"/v1/{QUICKSTART}").json()["bands"]]
    assert list(pixels.dtype.names) == names
    assert pixels.dtype.itemsize == 34


def test_row_052_mixed_resolutions_repeat_pixels(api):
    answer = api.pixels(bandIds=["B2", "B5", "B1"], grid=grid(width=64, height=64))
    assert len(answer.content) == 24_768
    pixels = load(answer.content)
    rows, columns = np.mgrid[:64, :64]
    for band, step in (("B2", 1), ("B5", 2), ("B1", 6)):
        native = oracle_window(QUICKSTART, band, 0, 0, 64, 64)
        np.testing.assert_array_equal(pixels[band], native[rows // step, columns // step])


def test_row_053_wide_unsigned(api):
    answer = api.pixels(bandIds=["QA20"], grid=grid(3, 5, 10, 10, scale=20))
    assert len(answer.content) == 528
    assert load(answer.content).dtype == np.dtype([("QA20", "<u4")])
    expect(load(answer.content), QUICKSTART, 3, 5)


def test_row_054_tiles_are_parts_of_the_whole(api):
    whole = api.npy(bandIds=BANDS, grid=grid(width=512, height=300))
    right = api.npy(bandIds=BANDS, grid=grid(256, 0, 256, 300))
    np.testing.assert_array_equal(whole[:, 256:], right)
    left = api.npy(bandIds=BANDS, grid=grid(0, 0, 256, 300))
    np.testing.assert_array_equal(np.hstack([left, right]), whole)


def test_row_055_nearest_pixel_by_centre(api):
    here = api.npy(bandIds=["B2"], grid=grid(100, 50, 40, 30))
    np.testing.assert_array_equal(api.npy(bandIds=["B2"], grid=grid(100.4, 50, 40, 30)), here)
    following = api.npy(bandIds=["B2"], grid=grid(101, 50, 40, 30))
    np.testing.assert_array_equal(api.npy(bandIds=["B2"], grid=grid(100.6, 50, 40, 30)), following)


def test_row_056_partly_outside(api):
    pixels = api.npy(bandIds=BANDS, grid=grid(10960, 10970, 64, 64))
    expect(pixels[:10, :20], QUICKSTART, 10960, 10970)
    pixels[:10, :20] = 0
    assert not any(pixels[band].any() for band in BANDS)


def test_row_057_wholly_outside(api):
    pixels = api.npy(bandIds=BANDS, grid=grid(-500, -500, 64, 64))
    assert not any(pixels[band].any() for band in BANDS)


def test_row_058_coarser_by_two(api):
    pixels = api.npy(bandIds=["B2", "QA10"], grid=grid(20, 30, 50, 40, scale=20))
    native = oracle_window(QUICKSTART, "B2", 40, 60, 100, 80).astype(int)
    total = native[::2, ::2] + native[1::2, ::2] + native[::2, 1::2] + native[1::2, 1::2]
    np.testing.assert_array_equal(pixels["B2"], (total + 2) // 4)
    sample = oracle_window(QUICKSTART, "QA10", 40, 60, 100, 80)[::2, ::2]
    np.testing.assert_array_equal(pixels["QA10"], sample)


def test_row_059_gdal_overview(api):
    scale = 642.105263157894683
    pixels = api.npy(bandIds=["B5"], grid=grid(width=171, height=171, scale=scale))
    assert pixels.shape == (171, 171)
    level = oracle_window(QUICKSTART, "B5", 0, 0, 5490, 5490).astype(int)
    for _ in range(5):
        rows, columns = level.shape
        padded = np.ma.masked_all((rows + rows % 2, columns + columns % 2), int)
        padded[:rows, :columns] = level
        blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).swapaxes(1, 2)
        total, count = blocks.sum(axis=(2, 3)), blocks.count(axis=(2, 3))
        level = np.ma.filled((2 * total + count) // (2 * count))
    at = np.floor((np.arange(171) + 0.5) * scale / 20 / 32).astype(int)
    np.testing.assert_array_equal(pixels["B5"], level[np.ix_(at, at)])


def nearest(image, band, affine, crs, request):
    """Nearest-neighbour reprojection worked out from first principles, and which pixels have a source."""
    to, size = request["affineTransform"], request["dimensions"]
    rows, columns = np.mgrid[: size["height"], : size["width"]] + 0.5
    x = to["translateX"] + to["scaleX"] * columns
    y = to["translateY"] + to["scaleY"] * rows
    x, y = pyproj.Transformer.from_crs(request["crsCode"], crs, always_xy=True).transform(x, y)
    scale_x, left, scale_y, top, width, height = affine
    column = np.floor((x - left) / scale_x).astype(int)
    row = np.floor((y - top) / scale_y).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    i, j = column[inside], row[inside]
    window = (i.min(), j.min(), i.max() - i.min() + 1, j.max() - j.min() + 1)
    native, valid = oracle_window(image, band, *window), oracle_valid(image, band, *window)
    expected = np.zeros(inside.shape, native.dtype)
    expected[inside] = np.where(valid, native, native.dtype.type(0))[j - j.min(), i - i.min()]
    return expected, inside


def degrees(west, north, step, width, height, code="EPSG:4326"):
    affine = {"scaleX": step, "scaleY": -step, "translateX": west, "translateY": north}
    return {"affineTransform": affine, "dimensions": {"width": width, "height": height}, "crsCode": code}


def test_row_060_other_crs(api):
    request = degrees(-123.0005, 37.9475, 0.0001, 300, 280)
    pixels = api.npy(bandIds=["B4"], grid=request)["B4"]
    expected, inside = nearest(
        QUICKSTART, "B4", (10, 499980, -10, 4200000, 10980, 10980), "EPSG:32610", request
    )
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(pixels, expected)


def test_row_060_sinusoidal(api):
    image = f"{FOLDER}SINUSOIDAL"
    asset = api.get(f"/v1/{image}").json()
    assert asset["bands"][0]["grid"]["crsCode"] == "SR-ORG:6974"
    assert asset["bands"][0]["missingData"] == {"values": [-28672]}
    request = degrees(-123.0, 38.0, 0.004, 200, 150)
    pixels = api.npy(image, bandIds=["sur_refl_b01"], grid=request)["sur_refl_b01"]
    at = asset["bands"][0]["grid"]["affineTransform"]
    affine = (at["scaleX"], at["translateX"], at["scaleY"], at["translateY"], 2400, 2400)
    expected, inside = nearest(image, "sur_refl_b01", affine, MODIS, request)
    assert inside.any()
    np.testing.assert_array_equal(pixels, expected)


def test_row_061_float_and_wide_integer_bands(api):
    image = f"{FOLDER}TYPES"
    asset = api.get(f"/v1/{image}").json()
    pixels = api.npy(image, bandIds=["f4", "f8", "i8"], grid=window_of(asset, "f4", 40, 50, 60, 70))
    assert [pixels.dtype[band].str for band in pixels.dtype.names] == ["<f4", "<f8", "<f8"]
    expect(pixels, image, 40, 50)


def test_row_061_every_type_in_one_request(api):
    image = f"{FOLDER}TYPES"
    asset = api.get(f"/v1/{image}").json()
    pixels = api.npy(image, grid=window_of(asset, "u1", 1200, 1000, 100, 111))
    assert [pixels.dtype[kind].str for kind in ALL_KINDS] == [DTYPES[kind] for kind in ALL_KINDS]
    expect(pixels, image, 1200, 1000)


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("DEGREES", "elevation"),
        ("POLAR", "velocity"),
        ("POLAR", "flags"),
        ("ANTARCTIC", "thickness"),
        ("SINUSOIDAL_WKT", "sur_refl_b02"),
        ("SHEARED", "a"),
        ("SHEARED", "b"),
        ("SOUTH_UP", "a"),
        ("TWO_SYSTEMS", "degrees"),
        ("SERIES/20170228", "cloud"),
    ],
)
@pytest.mark.parametrize("with_crs", [True, False], ids=["crs", "no crs"])
def test_native_windows_of_every_kind_of_lattice(api, name, band, with_crs):
    image = FOLDER + name
    asset = api.get(f"/v1/{image}").json()
    wide = next(b for b in asset["bands"] if b["id"] == band)["grid"]["dimensions"]
    for column, row in ((0, 0), (wide["width"] - 45, wide["height"] - 37), (101, 67)):
        request = window_of(asset, band, column, row, 45, 37)
        if not with_crs:
            request.pop("crsCode", None)
            request.pop("crsWkt", None)
        expect(api.npy(image, bandIds=[band], grid=request), image, column, row)


@pytest.mark.parametrize("fill", ["zero", "min", "missing", "-inf", "nan"])
def test_masked_pixels_hold_the_fill_of_the_switch(api, emulator, fill):
    emulator.control("configure", {"fill": fill})
    image = f"{FOLDER}MASKED"
    asset = api.get(f"/v1/{image}").json()
    pixels = api.npy(image, grid=window_of(asset, "u1", 130, 0, 80, 60))
    least = {"i1": -128, "i2": -32768, "i4": -(2**31)}
    for kind in ALL_KINDS:
        dtype = np.dtype(DTYPES[kind])
        if dtype.kind == "u" or fill == "zero":
            wanted = 0
        elif fill == "missing":
            wanted = {"i2": -32768, "f4": -9999}.get(kind, 0)
        elif dtype.kind == "i":
            wanted = 0 if fill == "nan" else least[kind]
        else:
            wanted = {"min": np.finfo(dtype).min, "-inf": -np.inf, "nan": np.nan}[fill]
        expected = oracle_window(image, kind, 130, 0, 80, 60, fill=wanted)
        valid = oracle_valid(image, kind, 130, 0, 80, 60)
        assert valid.any()
        assert not valid.all()
        np.testing.assert_array_equal(pixels[kind], expected)


POLICIES = {
    "sample": lambda block: block[0],
    "min": lambda block: block.min(axis=0),
    "max": lambda block: block.max(axis=0),
    "median": lambda block: np.sort(block, axis=0)[1],
    "mean": lambda block: (block.sum(axis=0) + 2) // 4,
}


@pytest.mark.parametrize("policy", POLICIES)
def test_pyramid_policies(api, policy):
    image = f"{FOLDER}POLICIES"
    affine = {"scaleX": 40, "scaleY": -40, "translateX": 600000 + 40 * 10, "translateY": 5200020 - 40 * 6}
    request = {"affineTransform": affine, "dimensions": {"width": 30, "height": 20}}
    pixels = api.npy(image, bandIds=[policy], grid=request)[policy]
    native = oracle_window(image, policy, 20, 12, 60, 40).astype(int)
    block = np.stack([native[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    np.testing.assert_array_equal(pixels, POLICIES[policy](block))


def test_masked_children_do_not_count_in_the_mean(api):
    image = f"{FOLDER}MASKED"
    affine = {"scaleX": 40, "scaleY": -40, "translateX": 600000 + 40 * 60, "translateY": 5200020}
    request = {"affineTransform": affine, "dimensions": {"width": 60, "height": 40}}
    pixels = api.npy(image, bandIds=["i2", "f4"], grid=request)
    valid = oracle_valid(image, "i2", 120, 0, 120, 80)
    masks = np.stack([valid[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    count = masks.sum(axis=0)
    assert {1, 2, 3} & set(count.ravel())
    for band in ("i2", "f4"):
        native = oracle_window(image, band, 120, 0, 120, 80).astype(float)
        total = (np.stack([native[i::2, j::2] for i in (0, 1) for j in (0, 1)]) * masks).sum(axis=0)
        mean = total / np.maximum(count, 1)
        expected = np.floor(mean + 0.5) if band == "i2" else mean.astype("f4")
        np.testing.assert_array_equal(pixels[band], np.where(count > 0, expected, 0))


def test_no_two_neighbours_are_equal(api):
    pixels = api.npy(bandIds=BANDS, grid=grid(5000, 3000, 512, 512))
    for band in BANDS:
        p = pixels[band]
        assert (p[:, 1:] != p[:, :-1]).all()
        assert (p[1:] != p[:-1]).all()
        assert (p[1:, 1:] != p[:-1, :-1]).all()
        assert (p[1:, :-1] != p[:-1, 1:]).all()


@pytest.mark.parametrize("file_format", ["TF_RECORD_IMAGE", "ZIPPED_GEO_TIFF", "MULTI_BAND_IMAGE_TILE"])
def test_row_067_formats_of_other_methods(api, file_format):
    error_of(api.pixels(fileFormat=file_format, grid=grid()), 400, "INVALID_ARGUMENT")


def test_row_068_unknown_format(api):
    error = error_of(api.pixels(fileFormat="NUMPY", grid=grid()), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid value at 'file_format' (type.googleapis.com/")
    assert error["message"].endswith('ImageFileFormat), "NUMPY"')


def test_row_069_unknown_band(api):
    error = error_of(api.pixels(bandIds=["B99"], grid=grid()), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith(
        "Image.select: Band pattern 'B99' did not match any bands. Available bands: [B1, B2, "
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"bands": ["B2"]}, 'Unknown name "bands": Cannot find field.'),
        ({"grid": {**grid(), "crs": "EPSG:4326"}}, "Unknown name \"crs\" at 'grid': Cannot find field."),
    ],
)
def test_row_070_unknown_fields(api, body, message):
    error = error_of(api.pixels(**body), 400, "INVALID_ARGUMENT")
    assert error["message"] == f"Invalid JSON payload received. {message}"
    assert detail(error, "BadRequest")["fieldViolations"]


def test_row_071_null_is_absent(api):
    body = {
        "bandIds": ["B2"],
        "grid": {**grid(), "crsCode": None},
        "region": None,
        "visualizationOptions": None,
    }
    assert api.pixels(**body).content == api.pixels(bandIds=["B2"], grid=grid()).content


def test_snake_case_and_numbers_as_strings_are_understood(api):
    affine = {"scale_x": "10", "scale_y": -1e1, "translate_x": 499980.0, "translate_y": 4200000}
    body = {
        "band_ids": ["B2"],
        "grid": {"affine_transform": affine, "dimensions": {"width": "256", "height": 256.0}},
    }
    assert api.pixels(**body).content == api.pixels(bandIds=["B2"], grid=grid()).content


@pytest.mark.parametrize(
    "body",
    [
        {"grid": {"dimensions": {"width": "many", "height": 1}}},
        {"grid": {**grid(), "crsCode": "EPSG:999999"}},
        {"grid": {**grid(), "crsCode": "nonsense"}},
        {"grid": {"affineTransform": {"scaleX": 10}, "dimensions": {"width": 1, "height": 1}}},
        {"bandIds": ["B2", "B2"], "grid": grid()},
        {"region": {"type": "Point", "coordinates": []}},
        {"region": 7},
    ],
)
def test_bad_requests_are_refused(api, body):
    error_of(api.pixels(**body), 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe"])
def test_bodies_that_are_no_json_object(api, body):
    error = error_of(api.post(f"/v1/{QUICKSTART}:getPixels", body), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid JSON payload received.")


def test_pixels_of_a_folder(api):
    error_of(api.pixels(f"{PUBLIC}LANDSAT", grid=grid()), 400, "INVALID_ARGUMENT")
