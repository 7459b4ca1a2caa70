"""Rows 16, 46 and 92 of tests/contract/acceptance.md with GDAL's EEDAI and EEDA drivers, as the wheels of rasterio and pyogrio have them."""

from __future__ import annotations

import contextlib

import numpy as np
import pyogrio
import pytest
import rasterio

from tests.contract.conftest import error_of
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, oracle_window

IDS = [name.removeprefix(PUBLIC) for name in (QUICKSTART_B, QUICKSTART)]


def options(emulator, **more):
    return {"EEDA_URL": f"{emulator.url}/v1alpha/", "EEDA_BEARER": "tok", "CPL_GCE_SKIP": "YES", **more}


@contextlib.contextmanager
def configured(values):
    """GDAL's options for pyogrio, which has its own GDAL."""
    pyogrio.set_gdal_config_options(values)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(values))


def test_row_016_gdal_opens_the_image(emulator):
    with rasterio.Env(**options(emulator)) as environment:
        assert "EEDAI" in environment.drivers(), "this rasterio was built without GDAL's EEDAI driver"
        with rasterio.open(f"EEDAI:{QUICKSTART}") as whole:
            assert [name.rsplit(":", 1)[1] for name in whole.subdatasets] == [
                "B1,B9,B10,QA60",
                "B2,B3,B4,B8,QA10",
                "B5,B6,B7,B8A,B11,B12,QA20",
            ]
            assert (whole.count, whole.width, whole.height, whole.crs.to_epsg()) == (4, 1830, 1830, 32610)
            assert whole.tags()["CLOUDY_PIXEL_PERCENTAGE"] == "0"
            assert whole.overviews(1) == [2, 4, 8]


@pytest.mark.parametrize("encoding", ["NPY", "GEO_TIFF", "AUTO"])
def test_row_016_gdal_reads_windows_and_overviews(emulator, encoding):
    with (
        rasterio.Env(**options(emulator)),
        rasterio.open(f"EEDAI:{QUICKSTART}:B2,B3", PIXEL_ENCODING=encoding) as file,
    ):
        pixels = file.read(window=((100, 400), (300, 600)))
        for i, band in enumerate(("B2", "B3")):
            np.testing.assert_array_equal(pixels[i], oracle_window(QUICKSTART, band, 300, 100, 300, 300))
        assert file.read(1, out_shape=(171, 171)).shape == (171, 171)


def test_row_016_gdal_reads_other_types_and_systems(emulator):
    """Element sizes that GDAL derives from the metadata must be those of the answers."""
    name = f"{PUBLIC}EMULATOR/POLAR"
    with rasterio.Env(**options(emulator)), rasterio.open(f"EEDAI:{name}") as file:
        assert file.crs.to_epsg() == 3413
        assert file.dtypes == ("float32", "uint8")
        pixels = [file.read(i, window=((700, 800), (500, 700))) for i in (1, 2)]
    for i, band in enumerate(("velocity", "flags")):
        np.testing.assert_array_equal(pixels[i], oracle_window(name, band, 500, 700, 200, 100))


def test_row_046_gdal_lists_the_collection(emulator):
    assert "EEDA" in pyogrio.list_drivers(), "this pyogrio was built without GDAL's EEDA driver"
    emulator.control("reset", {})
    with configured(options(emulator, EEDA_PAGE_SIZE="1")):
        meta, _, outlines, columns = pyogrio.raw.read(
            "EEDA:COPERNICUS/S2",
            bbox=(-122.1, 37.4, -122.0, 37.5),
            where="CLOUDY_PIXEL_PERCENTAGE < 10 AND startTime >= '2017-04-01 00:00:00' AND endTime <= '2017-05-01 00:00:00'",
        )
    table = dict(zip(meta["fields"], columns, strict=True))
    assert len(outlines) == 2
    assert list(table["id"]) == IDS
    assert [name.removeprefix("EEDAI:") for name in table["gdal_dataset"]] == [QUICKSTART_B, QUICKSTART]
    for field, value in {
        "band_count": 16,
        "band_max_width": 10980,
        "band_max_height": 10980,
        "band_min_pixel_size": 10,
        "band_crs": "EPSG:32610",
        "sizeBytes": 800_000_000,
        "MGRS_TILE": "10SEG",
    }.items():
        assert list(table[field]) == [value, value], field
    assert list(table["CLOUDY_PIXEL_PERCENTAGE"]) == [4.3166, 0]
    assert str(table["startTime"][0]) == "2017-04-20T18:49:21.000"
    asked = [
        r["query"] for r in emulator.control("requests")["requests"] if r["method"] == "assets.listImages"
    ]
    pages = [query for query in asked if "region" in query]
    assert [query["pageSize"] for query in asked] == ["1"] * len(asked)
    assert len(pages) >= 2
    assert "pageToken" in pages[-1]
    assert {query["filter"] for query in pages} == {"CLOUDY_PIXEL_PERCENTAGE < 10"}
    assert {query["startTime"] for query in pages} == {"2017-04-01T00:00:00Z"}


def test_row_046_gdal_finds_what_the_filter_leaves(emulator):
    with configured(options(emulator)):
        meta, _, _, columns = pyogrio.raw.read("EEDA:COPERNICUS/S2", where="CLOUDY_PIXEL_PERCENTAGE > 1")
    assert list(dict(zip(meta["fields"], columns, strict=True))["id"]) == IDS[:1]


def test_row_092_gdal_tries_again(emulator, api):
    """GDAL waits 1 s, then 4 s, and gives up after the fifth try."""
    emulator.control("reset", {})
    emulator.control("configure", {"faults": [{"fault": "unavailable-503", "times": 2}]})
    with (
        rasterio.Env(**options(emulator)),
        rasterio.open(f"EEDAI:{QUICKSTART}:B2", PIXEL_ENCODING="NPY") as file,
    ):
        pixels = file.read(1, window=((0, 64), (0, 64)))
    np.testing.assert_array_equal(pixels, oracle_window(QUICKSTART, "B2", 0, 0, 64, 64))
    tries = [
        r["status"] for r in emulator.control("requests")["requests"] if r["method"] == "assets.getPixels"
    ]
    assert tries == [503, 503, 200]
    assert len(tries) <= 5


def test_gdal_says_what_the_error_says(emulator, api):
    error_of(api.get("/v1/projects/p-private-1/assets/secret"), 403, "PERMISSION_DENIED")
    with (
        rasterio.Env(**options(emulator)),
        pytest.raises(rasterio.errors.RasterioIOError, match="denied on resource"),
    ):
        rasterio.open("EEDAI:projects/p-private-1/assets/secret")
