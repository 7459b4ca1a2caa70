"""`grid.resampling: average`: coarser pixels are means of those they hold, masked at the images' own pixels first."""

from __future__ import annotations

import json

import numpy as np
import pytest

import downloader
from downloader.errors import JobError
from tests.harness import job, same_bits, window
from tests.oracle import PUBLIC, QUICKSTART, oracle_window

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
DAYS = ("20170401", "20170406", "20170411", "20170416", "20170421", "20170426")
SCENES = [f"{COLLECTION}/{day}T184921_{day}T184921_T10SEG" for day in DAYS]
X, Y = 499980, 4200000


def run(values):
    return downloader.download(values, progress=False).open(chunks=None)


def means(plane, factor):
    """Means of factor × factor pixels, NaN left out."""
    height, width = (side // factor for side in plane.shape)
    return np.nanmean(plane.reshape(height, factor, width, factor).swapaxes(1, 2).reshape(height, width, -1), axis=2)  # fmt: skip


def test_bands_are_averaged_and_classes_are_not(emulator, tmp_path):
    """A job of raw bands becomes a computed one, and plan says so; what lies on the grid already stays bit for bit."""
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": SCENES[0], "bands": ["B4", "B11", "SCL", "B1"]},
        region=window(30, 60, 300, 280), grid={"resolution": 20, "resampling": "average"},
    )  # fmt: skip
    told = str(downloader.plan(values))
    assert "computed  1 slice: grid.resampling: average" in told
    assert "B4: read from the native pixels of 10 m, averaged" in told
    assert "B1: read from the native pixels of 60 m, nearest neighbour" in told
    found = run(values)
    image = PUBLIC + SCENES[0]
    wanted = means(oracle_window(image, "B4", 60, 120, 600, 560).astype(float), 2)
    assert found["B4"].dtype == "<f4"
    same_bits(found["B4"].values, wanted.astype("<f4"), "B4")
    for band in ("B11", "SCL"):
        same_bits(found[band].values, oracle_window(image, band, 30, 60, 300, 280), band)
    coarse = oracle_window(image, "B1", 10, 20, 100, 94).repeat(3, axis=0).repeat(3, axis=1)
    same_bits(found["B1"].values, coarse[:280], "B1")


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_masked_at_native_resolution_then_averaged_then_over_time(emulator, tmp_path):
    source = {
        "collection": COLLECTION,
        "start": "2017-04-01",
        "end": "2017-05-01",
        "filter": 'MGRS_TILE = "10SEG"',
        "mask": {"band": "SCL", "bits": [0]},
        "bands": ["B4", {"nd": "(B8 - B4) / (B8 + B4)"}],
        "every": "month",
        "reduce": "median",
    }
    left, top, side = 40, 60, 50
    box = [X + 60 * left, Y - 60 * (top + side), X + 60 * (left + side), Y - 60 * top]
    values = job(
        emulator, tmp_path / "m.zarr", source=source, region={"bbox": box, "crs": "EPSG:32610"},
        grid={"resolution": 60, "resampling": "average"},
    )  # fmt: skip
    found = run(values)
    stacks: dict[str, list] = {"B4": [], "nd": []}
    for name in SCENES:
        fine = (6 * left, 6 * top, 6 * side, 6 * side)
        red, nir = (oracle_window(PUBLIC + name, band, *fine).astype(float) for band in ("B4", "B8"))
        classes = oracle_window(PUBLIC + name, "SCL", *(part // 2 for part in fine))
        bad = (classes & 1 > 0).repeat(2, axis=0).repeat(2, axis=1)
        assert 0 < bad.mean() < 1
        for band, plane in (("B4", red), ("nd", (nir - red) / (nir + red))):
            stacks[band].append(means(np.where(bad, np.nan, plane), 6))
    for band, stack in stacks.items():
        wanted = np.nanmedian(np.stack(stack), axis=0)
        np.testing.assert_allclose(found[band].values[0], wanted, rtol=2e-7, atol=1e-7, err_msg=band)


def test_pixels_of_another_crs_are_weighed_by_their_share(emulator, tmp_path):
    """Degrees: near the mean of the pixels whose centres lie within, over a field that hardly bends."""
    grid = {"crs": "EPSG:4326", "scale": 400, "resampling": "average"}
    box = [-122.10, 37.40, -122.06, 37.43]
    values = job(emulator, tmp_path / "m.zarr", source={"asset": SCENES[0], "bands": ["B4"]}, region={"bbox": box}, grid=grid)  # fmt: skip
    found = run(values)["B4"]
    import pyproj

    plane = oracle_window(PUBLIC + SCENES[0], "B4", 7700, 5600, 800, 800).astype(float)
    x, y = np.meshgrid(X + 10 * (np.arange(7700, 8500) + 0.5), Y - 10 * (np.arange(5600, 6400) + 0.5))
    lon, lat = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True).transform(x, y)
    size = 400 / 111_319.49079327358
    for row, column in np.ndindex(found.shape):
        held = (abs(lon - found.x.values[column]) < size / 2) & (abs(lat - found.y.values[row]) < size / 2)
        if held.sum() > 1000:
            assert found.values[row, column] == pytest.approx(plane[held].mean(), rel=0.02)


def test_more_than_the_service_averages_comes_from_the_pyramid_and_plan_says_so(emulator, tmp_path):
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": QUICKSTART.removeprefix(PUBLIC), "bands": ["B4"]},
        region=window(3, 5, 2, 1), grid={"resolution": 3200, "resampling": "average"},
    )  # fmt: skip
    assert "B4: read from pyramid level 1 of 20 m (MEAN), averaged" in str(downloader.plan(values))
    found = run(values)["B4"].values
    plane = oracle_window(QUICKSTART, "B4", 960, 1600, 640, 320).astype(float)
    np.testing.assert_allclose(found, means(plane, 320), atol=0.6)


def test_another_way_is_another_mosaic(emulator, tmp_path):
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": SCENES[0], "bands": ["B4"]},
        region=window(0, 0, 30, 30), grid={"resolution": 20, "resampling": {"B4": "average"}},
    )  # fmt: skip
    run(values)
    with pytest.raises(downloader.DriftError, match=r"source\.bands: B4: float32, .*average → uint16"):
        run({**values, "grid": {"resolution": 20}})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"resolution": 10, "resampling": "average"}, "grid.resampling: averages none of the bands: they are classes or bits, or their pixels are no finer than the grid's; leave it out, or write a coarser grid"),
        ({"resolution": 10, "resampling": {"B11": "average"}}, "grid.resampling: pixels of the grid are no coarser than those of B11, 20 m, so there is nothing to average; write bilinear, or a coarser grid"),
        ({"resampling": "average"}, "grid.resampling: 'average': native pixels are not resampled; give a resolution, or leave this out"),
        ({"resolution": 20, "resampling": "mean"}, "grid.resampling: 'mean': write nearest, bilinear, bicubic or average, or one of them for each band"),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged_says_what_to_write(emulator, tmp_path, grid, message):
    values = job(emulator, tmp_path / "m.zarr", source={"asset": SCENES[0], "bands": ["B11", "SCL"]}, region=window(0, 0, 9, 9), grid=grid)  # fmt: skip
    with pytest.raises(JobError) as caught:
        downloader.plan(values)
    assert message in str(caught.value), json.dumps(grid)


def test_averaged_onto_the_grid_of_a_file(emulator, tmp_path):
    """Another mosaic's pixels of 30 m, of one image and of images that are counted first."""
    like = job(
        emulator, tmp_path / "like.zarr", source={"asset": SCENES[0], "bands": ["B4"]},
        region=window(0, 0, 9, 9), grid={"resolution": 30},
    )  # fmt: skip
    run(like)
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": SCENES[0], "bands": ["B4"]},
        region={"bbox": [X + 3000, Y - 3600, X + 3900, Y - 3000], "crs": "EPSG:32610"},
        grid={"like": str(tmp_path / "like.zarr"), "resampling": "average"},
    )  # fmt: skip
    found = run(values)["B4"].values
    wanted = means(oracle_window(PUBLIC + SCENES[0], "B4", 300, 300, 90, 60).astype(float), 3)
    np.testing.assert_allclose(found, wanted, rtol=2e-7)
    period = {"start": "2017-04-01", "end": "2017-04-05"}
    values["source"] = {"collection": COLLECTION, "bands": ["B4"], "min_cover": 0.1, **period}
    values["mosaic"] = {"path": str(tmp_path / "series.zarr")}
    np.testing.assert_allclose(run(values)["B4"].values[0], wanted, rtol=2e-7)


def test_decibels_are_averaged_and_interpolated_as_power(emulator, tmp_path):
    """Sentinel-1: the mean of power, not of its logarithm; between pixels as well."""
    name = "COPERNICUS/S1_GRD/S1A_IW_GRDH_1SDV_20230103T141500_00"
    source = {"asset": name, "bands": ["VV"]}
    power = 10 ** (oracle_window(PUBLIC + name, "VV", 0, 0, 400, 400) / 10)
    grid = {"resolution": 40, "resampling": "average"}
    values = job(emulator, tmp_path / "coarse.zarr", source=source, region=window(10, 20, 60, 50), grid=grid)
    wanted = 10 * np.log10(means(power, 4)[20:70, 10:70])
    found = run(values)["VV"].values
    np.testing.assert_allclose(found, wanted, rtol=2e-7)
    plain = means(oracle_window(PUBLIC + name, "VV", 0, 0, 400, 400), 4)[20:70, 10:70]
    assert (wanted > plain + 1e-5).mean() > 0.5, "the mean of decibels is another"
    grid = {"resolution": 5, "resampling": "bilinear"}
    values = job(emulator, tmp_path / "fine.zarr", source=source, region=window(21, 31, 40, 30), grid=grid)
    found = run(values)["VV"].values
    x, y = (np.arange(21, 61) + 0.5) / 2 - 0.5, (np.arange(31, 61) + 0.5) / 2 - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = x - column, (y - row)[:, None]
    upper = power[np.ix_(row, column)] * (1 - across) + power[np.ix_(row, column + 1)] * across
    lower = power[np.ix_(row + 1, column)] * (1 - across) + power[np.ix_(row + 1, column + 1)] * across
    np.testing.assert_allclose(found, 10 * np.log10(upper * (1 - down) + lower * down), rtol=1e-9)
