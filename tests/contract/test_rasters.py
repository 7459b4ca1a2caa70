"""Local rasters as assets, compared with rasterio's own read of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earthengine_emulator import EmulatorProcess, arguments
from tests.contract.conftest import Api, window_of
from tests.oracle import PUBLIC

rasterio = pytest.importorskip("rasterio")

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Rasters by asset id: real ones where they are to be had, and a made one of each awkward kind."""
    folder = tmp_path_factory.mktemp("rasters")
    made = folder / "made.tif"
    profile = {
        "driver": "GTiff",
        "width": 70,
        "height": 50,
        "count": 2,
        "dtype": "float32",
        "crs": "EPSG:3031",
        "transform": rasterio.Affine(500, 0, -1000, 0, -500, 2000),
        "nodata": -9999,
    }
    values = np.random.default_rng(1).normal(size=(2, 50, 70)).astype("f4")
    values[:, 10:20, 30:40] = -9999
    with rasterio.open(made, "w", **profile) as file:
        file.write(values)
        file.set_band_description(1, "velocity")
    found = {"rasters/made": made}
    for name in ("rgb", "dem"):
        path = DATA / f"rmnp-{name}.tif"
        if path.exists():
            found[f"projects/p-test-1/assets/park/{name}"] = path
    return found


@pytest.fixture(scope="module")
def served(files):
    with EmulatorProcess(arguments(rasters=files, tokens={"tok": "p-test-1"}, strict=False)) as process:
        api = Api(process)
        yield api
        api.client.close()


def compare(api, name, path):
    asset = api.get(f"/v1/{name}").json()
    with rasterio.open(path) as file:
        for band in asset["bands"]:
            assert band["grid"]["dimensions"] == {"width": file.width, "height": file.height}
        whole = window_of(asset, asset["bands"][0]["id"], 0, 0, file.width, file.height)
        pixels = api.npy(name, grid=whole)
        masks = file.read_masks()
        for i, band in enumerate(asset["bands"]):
            expected = np.where(masks[i] > 0, file.read(i + 1), 0)
            np.testing.assert_array_equal(pixels[band["id"]], expected)
    return asset


def test_made_raster(served, files):
    asset = compare(served, f"{PUBLIC}rasters/made", files["rasters/made"])
    assert asset["id"] == "rasters/made"
    assert [band["id"] for band in asset["bands"]] == ["velocity", "B2"]
    assert asset["bands"][0]["dataType"] == {"precision": "FLOAT"}
    assert asset["bands"][0]["missingData"] == {"values": [-9999]}
    assert asset["bands"][0]["grid"]["crsCode"] == "EPSG:3031"
    assert served.get(f"/v1/{PUBLIC}rasters").json()["type"] == "FOLDER"


@pytest.mark.parametrize("which", ["rgb", "dem"])
def test_real_rasters(served, files, which):
    name = f"projects/p-test-1/assets/park/{which}"
    if name not in files:
        pytest.skip(f"{DATA}/rmnp-{which}.tif is not here")
    asset = compare(served, name, files[name])
    assert asset["id"] == name
    assert len(asset["bands"]) == {"rgb": 3, "dem": 1}[which]


def test_the_data_set_and_update_time_follow_the_contents(served, files, tmp_path):
    before = served.get(f"/v1/{PUBLIC}rasters/made")
    assert before.headers["x-earth-engine-emulator"].startswith("land-2-")
    copy = tmp_path / "copy.tif"
    copy.write_bytes(files["rasters/made"].read_bytes())
    with rasterio.open(copy, "r+") as file:
        file.write(np.zeros((50, 70), "f4"), 1)
    answers = []
    for path in (files["rasters/made"], copy):
        with EmulatorProcess(
            arguments(rasters={"rasters/made": path}, tokens={"tok": "p-test-1"})
        ) as process:
            api = Api(process)
            answers.append(api.get(f"/v1/{PUBLIC}rasters/made"))
            api.client.close()
    assert answers[0].json()["updateTime"] == before.json()["updateTime"] != answers[1].json()["updateTime"]
    headers = [answer.headers["x-earth-engine-emulator"] for answer in answers]
    assert headers[0] != headers[1]
