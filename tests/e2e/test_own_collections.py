"""A folder of GeoTIFFs as the collection of a job, served by the emulator that the job starts: files in, cube out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from tests.harness import cli, job, same_bits, write_job

rasterio = pytest.importorskip("rasterio")

# rasterio 1.4 multiplies transforms in a way that its own affine library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

SHAPES = {"20200105": (0, 0, 400, 300), "20200110": (100, -50, 400, 300), "20200115": (0, 0, 400, 300)}
"""Day → column, row, width, height on one lattice of 30 m."""


def pixels(day):
    return np.random.default_rng(int(day)).integers(1, 60_000, (300, 400), "<u2")


def test_a_folder_beside_the_job_is_a_time_series(tmp_path):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for day, (column, row, width, height) in SHAPES.items():
        transform = rasterio.transform.from_origin(500_010 + 30 * column, 4_200_000 - 30 * row, 30, 30)
        where = {"crs": "EPSG:32610", "transform": transform, "width": width, "height": height, "nodata": 0}
        with rasterio.open(
            scenes / f"scene_{day}.tif", "w", driver="GTiff", count=1, dtype="uint16", **where
        ) as file:
            file.write(pixels(day), 1)
            file.set_band_description(1, "red")
    (scenes / "scene_20200115.json").write_text(
        json.dumps({"startTime": "2020-01-15T10:30:00Z", "properties": {"CLOUDS": 55}})
    )
    values = job(
        None,
        "mosaic.zarr",
        source={"collection": "mine/series", "start": "2020-01-01", "end": "2020-02-01", "filter": "NOT CLOUDS > 90"},
        region={"bbox": [500_010, 4_191_000, 515_010, 4_201_500], "crs": "EPSG:32610"},
        service={"endpoint": "emulator", "emulator": {"folders": {"mine/series": "scenes"}}},
    )  # fmt: skip
    ended = cli("run", write_job(tmp_path, values), "-q")
    assert ended.status == 0, ended
    found = xr.open_zarr(tmp_path / "mosaic.zarr", chunks=None, mask_and_scale=False)
    assert found.image_id.values.tolist() == [f"mine/series/scene_{day}" for day in SHAPES]
    times = ["2020-01-05", "2020-01-10", "2020-01-15T10:30:00"]
    np.testing.assert_array_equal(found.time.values, np.array(times, "M8[ns]"))
    assert found["red"].shape == (3, 350, 500)
    for index, (day, (column, row, width, height)) in enumerate(SHAPES.items()):
        wanted = np.zeros((350, 500), "<u2")
        wanted[row + 50 : row + 50 + height, column : column + width] = pixels(day)
        same_bits(found["red"].values[index], wanted, day)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    service = {"endpoint": "emulator", "emulator": {"folders": {"mine/series": "nowhere"}}}
    ended = cli("plan", write_job(tmp_path, job(None, service=service)))
    assert ended.status == 2, ended
    assert "service.emulator: " in ended.err
    assert "nowhere" in ended.err
