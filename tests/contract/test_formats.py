"""Rows 62 to 66 of tests/contract/acceptance.md: GeoTIFF, PNG and JPEG."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from tests.contract.conftest import QUICKSTART_GRID, error_of, grid, window_of
from tests.oracle import PUBLIC, QUICKSTART, oracle_valid, oracle_window

FOLDER = f"{PUBLIC}EMULATOR/"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def picture(answer):
    assert answer.status_code == 200, answer.text
    with PIL.Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image)


def stretched(values, high):
    return np.floor(np.clip(values / high, 0, 1) * 255 + 0.5).astype("u1")


def test_row_062_geotiff(api):
    rasterio = pytest.importorskip("rasterio")
    answer = api.pixels(fileFormat="GEO_TIFF", bandIds=["B2", "B3"], grid=QUICKSTART_GRID)
    assert answer.headers["content-type"] == "image/tiff"
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.driver == "GTiff"
        assert file.dtypes == ("uint16", "uint16")
        assert file.transform.to_gdal() == (499980, 10, 0, 4200000, 0, -10)
        assert file.crs.to_epsg() == 32610
        assert file.nodata == 0
        assert file.descriptions == ("B2", "B3")
        for i, band in enumerate(("B2", "B3"), 1):
            np.testing.assert_array_equal(file.read(i), oracle_window(QUICKSTART, band, 0, 0, 256, 256))


@pytest.mark.parametrize(
    ("bands", "dtype", "nodata"),
    [(["i2"], "int16", -32768), (["u1", "i2"], "int16", -32768), (["u2", "f4"], "float32", -np.inf)],
)
def test_geotiff_types_and_nodata(api, bands, dtype, nodata):
    rasterio = pytest.importorskip("rasterio")
    image = f"{FOLDER}MASKED"
    where = window_of(api.get(f"/v1/{image}").json(), bands[0], 130, 0, 80, 60)
    answer = api.pixels(image, fileFormat="GEO_TIFF", bandIds=bands, grid=where)
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
        assert set(file.dtypes) == {dtype}
        assert file.nodata == nodata
        for i, band in enumerate(bands, 1):
            valid = oracle_valid(image, band, 130, 0, 80, 60)
            expected = np.where(valid, oracle_window(image, band, 130, 0, 80, 60).astype(dtype), nodata)
            np.testing.assert_array_equal(file.read(i), expected)


def test_geotiff_in_a_projection_without_code(api):
    rasterio = pytest.importorskip("rasterio")
    image = f"{FOLDER}SINUSOIDAL"
    where = window_of(api.get(f"/v1/{image}").json(), "QA", 5, 5, 8, 8)
    answer = api.pixels(image, fileFormat="GEO_TIFF", bandIds=["QA"], grid=where)
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.crs.to_dict()["proj"] == "sinu"


def test_row_063_quickstart_thumbnail(api):
    asset = api.get(f"/v1/{QUICKSTART}").json()
    body = {
        "fileFormat": "PNG",
        "bandIds": ["B4", "B3", "B2"],
        "region": asset["geometry"],
        "grid": {"dimensions": {"width": 256, "height": 256}},
        "visualizationOptions": {"ranges": [{"min": 0, "max": 3000}]},
    }
    answer = api.pixels(**body)
    assert answer.headers["content-type"] == "image/png"
    pixels = picture(answer)
    assert pixels.shape[:2] == (256, 256)
    assert pixels.dtype == np.uint8
    numbers = api.npy(**{k: v for k, v in body.items() if k not in ("fileFormat", "visualizationOptions")})
    for channel, band in enumerate(("B4", "B3", "B2")):
        seen = numbers[band] > 0
        assert seen.mean() > 0.8
        np.testing.assert_array_equal(pixels[..., channel][seen], stretched(numbers[band], 3000)[seen])


def test_row_064_palette(api):
    options = {"ranges": [{"min": 0, "max": 10000}], "paletteColors": ["000000", "ffffff"]}
    pixels = picture(api.pixels(fileFormat="PNG", bandIds=["B8"], grid=grid(), visualizationOptions=options))
    expected = stretched(oracle_window(QUICKSTART, "B8", 0, 0, 256, 256), 10000)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], expected)


def test_palettes_by_name_and_gamma(api):
    options = {"ranges": [{"max": 4000}], "paletteColors": ["red", "#00ff00", "blue"]}
    pixels = picture(api.pixels(fileFormat="PNG", bandIds=["B8"], grid=grid(), visualizationOptions=options))
    assert (pixels[..., :3].sum(axis=-1) >= 254).all()
    options = {"ranges": [{"max": 4000}], "gamma": {"value": 2.0}}
    grey = picture(api.pixels(fileFormat="PNG", bandIds=["B8"], grid=grid(), visualizationOptions=options))
    unit = np.clip(oracle_window(QUICKSTART, "B8", 0, 0, 256, 256) / 4000, 0, 1)
    np.testing.assert_array_equal(grey[..., 0], np.floor(np.sqrt(unit) * 255 + 0.5))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", None])
def test_row_065_data_that_is_not_8_bit(api, file_format):
    error_of(api.pixels(fileFormat=file_format, bandIds=["B2"], grid=grid()), 400, "INVALID_ARGUMENT")


def test_row_066_auto(api):
    options = {"ranges": [{"max": 3000}]}
    body = {"fileFormat": "AUTO_JPEG_PNG", "bandIds": ["B4", "B3", "B2"], "visualizationOptions": options}
    assert api.pixels(grid=grid(), **body).content.startswith(JPEG)
    edge = api.pixels(grid=grid(-100, -100), **body)
    assert edge.content.startswith(PNG)
    pixels = picture(edge)
    assert pixels.shape == (256, 256, 4)
    assert (pixels[100:, 100:, 3] == 255).all()
    assert not pixels[:100, :, 3].any()
    assert not pixels[:, :100, 3].any()


def test_eight_bit_data_needs_no_options(api):
    image = f"{FOLDER}TYPES"
    where = window_of(api.get(f"/v1/{image}").json(), "u1", 10, 20, 30, 40)
    pixels = picture(api.pixels(image, fileFormat="PNG", bandIds=["u1"], grid=where))
    np.testing.assert_array_equal(pixels[..., 0], oracle_window(image, "u1", 10, 20, 30, 40))
    assert api.pixels(image, fileFormat=None, bandIds=["u1"], grid=where).content.startswith(JPEG)


@pytest.mark.parametrize(
    "options",
    [
        {"ranges": [{"min": 3, "max": 3}]},
        {"ranges": [{"min": 3}]},
        {},
        {"ranges": [{"max": 1}, {"max": 2}]},
        {"ranges": [{"max": 1}], "paletteColors": ["red", "blue"]},
        {"ranges": [{"max": 1}], "gamma": {"value": -1}},
    ],
)
def test_bad_visualizations(api, options):
    body = {
        "fileFormat": "PNG",
        "bandIds": ["B4", "B3", "B2"],
        "grid": grid(),
        "visualizationOptions": options,
    }
    error_of(api.pixels(**body), 400, "INVALID_ARGUMENT")


def test_limits_count_the_picture_not_the_data(api):
    options = {"ranges": [{"max": 3000}]}
    body = {"fileFormat": "PNG", "bandIds": ["B4"], "visualizationOptions": options}
    error = error_of(api.pixels(grid=grid(width=2897, height=2897), **body), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith(f"Total request size ({2897 * 2897 * 6} bytes)")
