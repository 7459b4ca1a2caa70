"""A notebook's afternoon: five years of NDVI opened before they are there, looked at, then fetched to the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

import downloader
from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import TILE, same_bits
from tests.kernel import Kernel

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("matplotlib.pyplot")

# rasterio 1.4 multiplies transforms in a way that its own affine library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

MONTHS = 60
SHAPE = (270, 300)
"""Two by two tiles."""
LEFT, TOP = 500_010, 4_200_000


def scene(month: int) -> np.ndarray:
    """(band, row, column): red and near infrared of the month's only scene."""
    return np.random.default_rng(month).integers(1, 10_000, (2, *SHAPE), "<u2")


def ndvi(month: int) -> np.ndarray:
    red, nir = scene(month).astype(np.float64)
    return ((nir - red) / (nir + red)).astype(np.float32)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator with five years of scenes, one a month."""
    folder = tmp_path_factory.mktemp("scenes")
    for month in range(MONTHS):
        name = folder / f"scene_{2015 + month // 12}{1 + month % 12:02}15.tif"
        with rasterio.open(
            name, "w", driver="GTiff", count=2, dtype="uint16", crs="EPSG:32610",
            width=SHAPE[1], height=SHAPE[0], transform=rasterio.transform.from_origin(LEFT, TOP, 30, 30),
        ) as file:  # fmt: skip
            file.write(scene(month))
            file.set_band_description(1, "red")
            file.set_band_description(2, "nir")
    with EmulatorProcess(arguments(quota_per_minute=0, folders={"mine/series": folder})) as process:
        yield process


def asked_tiles(service: EmulatorProcess) -> int:
    """How many tiles were asked for, over all months, each as often as it was; a canary asks for one pixel."""
    sizes = [one["size"] for one in service.requests("image.computePixels") if one["status"] == 200]
    return sum(-(-width // TILE) * -(-height // TILE) for width, height in sizes if width * height > 1)


def asked_slices(service: EmulatorProcess) -> int:
    """How many months were asked for, each with its validity, as often as it was."""
    found = (one for one in service.requests("image.computePixels") if one["status"] == 200)
    return sum(len(one["bands"]) // 2 for one in found if one["size"] != [1, 1])


def five_years(service: EmulatorProcess, folder: Path, height: int, width: int) -> dict:
    """The job of so many rows and columns."""
    return {
        "source": {
            "collection": "mine/series", "start": "2015-01-01", "end": "2020-01-01",
            "bands": [{"ndvi": "(nir - red) / (nir + red)"}], "every": "month", "reduce": "median",
        },
        "region": {"bbox": [LEFT, TOP - 30 * height, LEFT + 30 * width, TOP], "crs": "EPSG:32610"},
        "mosaic": {"path": str(folder / "ndvi.zarr")},
        "service": {"endpoint": service.url, "project": "p-test-1"},
        "auth": {"key_file": str(service.key_file)},
    }  # fmt: skip


@pytest.mark.slow
def test_five_years_of_ndvi(service: EmulatorProcess, kernel: Kernel, tmp_path: Path) -> None:
    """In a notebook: opened at once, one pixel's series, one month's map, then all of it."""
    service.reset()
    job = five_years(service, tmp_path, *SHAPE)

    def cell(code: str) -> list[tuple[str, str]]:
        """Return the kinds and texts of what a cell shows."""
        shown = list(kernel.run(code))
        assert not [content for kind, content in shown if kind in {"error", "stream"}]
        return [
            text for _, content in shown for text in content.get("data", {}).items() if text[0] != "text/html"
        ]

    cell(f"import json, downloader\njob = json.loads({json.dumps(json.dumps(job))})")
    (sizes,) = [
        text
        for kind, text in cell("cube = downloader.open(job, progress=False)\ndict(cube.sizes)")
        if kind == "text/plain"
    ]
    assert sizes == f"{{'time': {MONTHS}, 'y': {SHAPE[0]}, 'x': {SHAPE[1]}}}"
    assert asked_tiles(service) == 0

    assert "image/png" in dict(cell("cube.ndvi.isel(y=260, x=70).plot();"))
    assert asked_tiles(service) == MONTHS, "one tile of each month"

    assert "image/png" in dict(cell('cube.ndvi.sel(time="2016-02").squeeze("time").plot.imshow();'))
    assert asked_tiles(service) == MONTHS + 3, "the other tiles of one month"

    cell("report = downloader.download(job)")
    (counts,) = [
        text for kind, text in cell("report.tiles_before, report.tiles_stored") if kind == "text/plain"
    ]
    assert counts == f"({MONTHS + 3}, {4 * MONTHS})"
    assert asked_tiles(service) == 4 * MONTHS, "nothing is asked for twice"
    asked = len(service.requests())
    for month, pixels in enumerate(downloader.open(job, chunks=None).ndvi.values):
        same_bits(pixels, ndvi(month), str(month))
    assert len(service.requests()) == asked, "a finished mosaic needs no network"


def test_chunks_of_several_months(service: EmulatorProcess, tmp_path: Path) -> None:
    """A small plane: chunks and requests hold several slices, and those that are read are fetched, no others."""
    service.reset()
    cube = downloader.open(five_years(service, tmp_path, 40, 50), chunks=None)
    assert zarr.open_array(tmp_path / "ndvi.zarr" / "ndvi", mode="r").chunks[0] > 1
    spring = cube.ndvi.isel(time=slice(2, 5))
    same_bits(spring.values, np.stack([ndvi(month)[:40, :50] for month in range(2, 5)]), "spring")
    assert asked_slices(service) == 3
    series = cube.ndvi.isel(y=33, x=7)
    assert series.values.tolist() == [ndvi(month)[33, 7] for month in range(MONTHS)]
    assert asked_slices(service) == MONTHS
