"""GeoTIFFs made of mosaics: valid as cloud-optimised ones, and pixel for pixel, corner for corner the mosaic's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rio_cogeo.cogeo import cog_validate

import downloader
from downloader.errors import IncompleteError, JobError, MissingExtraError, RefusedError, StoppedError
from downloader.exports import cog
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.planning import Group, Plan, Tiling
from tests.harness import command
from tests.interop.test_readers import GRIDS, SHEARED
from tests.mosaics import UTM, band_pixels, day, fill, image_of, one_group, series

SERVICE = "earth-engine"
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


async def make(path: Path, plan: Plan | None = None, *, most: int | None = None, **options) -> Plan:
    plan = plan or one_group()
    async with open_for_writing(path, plan, MosaicSettings(**options), service=SERVICE) as mosaic:
        await fill(mosaic, plan, most=most)
    return plan


def check(file: Path, pixels: np.ndarray, grid: PixelGrid, bands: tuple[str, ...]) -> None:
    """The file holds these pixels (band, height, width) at this place, and is what it calls itself."""
    is_valid, errors, warnings = cog_validate(str(file), strict=True)
    assert (is_valid, errors, warnings) == (True, [], [])
    with rasterio.open(file) as dataset:
        assert dataset.driver == "GTiff"
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert dataset.dtypes[0] == pixels.dtype.name
        assert dataset.transform == Affine.from_gdal(*grid.transform.to_gdal())
        assert dataset.crs == rasterio.crs.CRS.from_user_input(grid.crs.to_pyproj())
        assert dataset.descriptions == bands


@pytest.mark.parametrize("name", [*GRIDS, "sheared"])
async def test_place_and_pixels_are_the_mosaics(tmp_path, name) -> None:
    lattice = GRIDS.get(name, SHEARED)
    plan = await make(tmp_path / "m", one_group(lattice=lattice, window=Window(101, 203, 700, 600)))
    (written,) = downloader.export(tmp_path / "m", tmp_path / "all.tif")
    assert (written.bands, written.width, written.height, written.holes) == (("B2", "B3"), 700, 600, 0)
    expected = np.stack([band_pixels(plan.groups[0], band) for band in (0, 1)])
    check(tmp_path / "all.tif", expected, plan.groups[0].grid, ("B2", "B3"))
    with rasterio.open(tmp_path / "all.tif") as dataset:
        assert dataset.overviews(1) == [2]
        assert dataset.tags()["SOURCE"] == "projects/earthengine-public/assets/TEST/IMAGE"
        assert dataset.nodata is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.tif", "m"]


@pytest.mark.parametrize("compress", cog.COMPRESSORS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"])
async def test_types_and_compressors(tmp_path, dtype, compress) -> None:
    plan = await make(tmp_path / "m", one_group(["B2"], dtype=dtype, window=Window(0, 0, 300, 270)))
    downloader.export(tmp_path / "m", tmp_path / "a.tif", compress=compress)
    check(tmp_path / "a.tif", band_pixels(plan.groups[0], 0)[None], plan.groups[0].grid, ("B2",))


@pytest.mark.parametrize("block", [512, 1024])
async def test_block_by_block(tmp_path, monkeypatch, block) -> None:
    monkeypatch.setattr(cog, "BLOCK", block)
    plan = await make(
        tmp_path / "m", one_group(window=Window(100, 200, 1300, 1111)), nodata={"B2": 7, "B3": 7}
    )
    window = Window(37, 211, 1190, 900)
    seen = []
    downloader.export(
        tmp_path / "m",
        tmp_path / "a.tif",
        window=window,
        bands=["B3", "B2"],
        watch=lambda *told: seen.append(told),
    )
    expected = np.stack([band_pixels(plan.groups[0], band, window) for band in (1, 0)])
    check(tmp_path / "a.tif", expected, plan.groups[0].grid.window(window), ("B3", "B2"))
    steps = -(-1190 // block) * -(-900 // block) + 1
    assert seen == [(n, steps) for n in range(1, steps + 1)]
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.nodata == 7
        np.testing.assert_array_equal(dataset.read_masks(), np.where(expected == 7, 0, 255))


async def test_a_box_takes_every_pixel_that_it_overlaps(tmp_path) -> None:
    plan = await make(tmp_path / "m")
    grid = plan.groups[0].grid
    west, north = grid.transform.at(10, 20)
    downloader.export(
        tmp_path / "m",
        tmp_path / "a.tif",
        bbox=(west + 1, north - 101, west + 59, north - 1),
        crs="EPSG:32610",
    )
    window = Window(10, 20, 6, 11)
    check(
        tmp_path / "a.tif",
        np.stack([band_pixels(plan.groups[0], band, window) for band in (0, 1)]),
        grid.window(window),
        ("B2", "B3"),
    )


async def test_a_file_for_each_band_of_each_group(tmp_path) -> None:
    fine, coarse = one_group(["B2", "B3"], name="10m"), one_group(["B5"], dtype="f4", name="20m", window=Window(50, 100, 350, 300))  # fmt: skip
    plan = Plan(image_of(fine.image.bands + coarse.image.bands), fine.groups + coarse.groups, fine.model)
    await make(tmp_path / "m", plan)
    written = downloader.export(tmp_path / "m", tmp_path / "out/{group}_{band}.tif")
    assert [Path(one.file).name for one in written] == ["10m_B2.tif", "10m_B3.tif", "20m_B5.tif"]
    check(tmp_path / "out/20m_B5.tif", band_pixels(plan.groups[1], 0)[None], plan.groups[1].grid, ("B5",))
    check(tmp_path / "out/10m_B3.tif", band_pixels(plan.groups[0], 1)[None], plan.groups[0].grid, ("B3",))
    (one,) = downloader.export(tmp_path / "m", tmp_path / "b5.tif", bands=["B5"])
    assert one.group == "20m"
    assert len(downloader.export(tmp_path / "m", tmp_path / "{group}.tif")) == 2
    for options, problem in (
        ({}, "has the groups 10m, 20m, and a file has one grid"),
        ({"bands": ["B2", "B5"]}, "no group has all of B2, B5"),
        ({"bands": ["B9"]}, "no band 'B9'; its bands are B2, B3, B5"),
        ({"bands": []}, "bands: names no band"),
        ({"group": "60m"}, "no group '60m'"),
    ):
        with pytest.raises(JobError, match=problem):
            downloader.export(tmp_path / "m", tmp_path / "a.tif", **options)


async def test_files_of_one_name_are_refused_before_any_is_written(tmp_path) -> None:
    masks = [(Band("B2", np.dtype("u2"), UTM), "10m"), (Band("B5", np.dtype("u2"), UTM), "20m")]
    groups = tuple(
        Group(
            name, UTM, Window(0, 0, 300, 270), (band, Band("mask", np.dtype("u1"), UTM, mask_of=(band.id,))),
            Tiling(300, 270), (1, 1),
        )
        for band, name in masks
    )  # fmt: skip
    await make(tmp_path / "m", Plan(image_of(groups[0].bands + groups[1].bands), groups, one_group().model))
    with pytest.raises(JobError, match=r"several files would be named .*mask.tif; put \{group\}"):
        downloader.export(tmp_path / "m", tmp_path / "{band}.tif", bands=["mask"])
    assert not list(tmp_path.glob("*.tif"))
    assert len(downloader.export(tmp_path / "m", tmp_path / "{group}_{band}.tif", bands=["mask"])) == 2
    assert len(downloader.export(tmp_path / "m", tmp_path / "{band}.tif")) == 2


async def test_bands_that_do_not_fit_one_file_are_refused(tmp_path) -> None:
    bands = (Band("B2", np.dtype("u2"), UTM), Band("QA", np.dtype("u1"), UTM))
    group = Group("", UTM, Window(0, 0, 300, 270), bands, Tiling(300, 270), (1, 1))
    await make(tmp_path / "m", Plan(image_of(bands), (group,), one_group().model))
    with pytest.raises(JobError, match=r"different types .*B2 uint16, QA uint8.*\{band\}.tif"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif")
    assert len(downloader.export(tmp_path / "m", tmp_path / "{band}.tif")) == 2
    await make(tmp_path / "n", one_group(), nodata={"B2": 0})
    with pytest.raises(JobError, match="different nodata values"):
        downloader.export(tmp_path / "n", tmp_path / "a.tif")


@pytest.mark.parametrize("nodata", [None, 4])
async def test_holes_are_refused_masked_or_ignored(tmp_path, nodata) -> None:
    plan = one_group(["B2"])
    await make(tmp_path / "m", plan, most=4, nodata={} if nodata is None else {"B2": nodata})
    with pytest.raises(IncompleteError, match="5 of 9 tiles of the window are not stored"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif")
    assert not list(tmp_path.glob("*.tif"))
    # A window of what is there is whole.
    downloader.export(tmp_path / "m", tmp_path / "part.tif", window=(0, 0, 512, 512))
    pixels = band_pixels(plan.groups[0], 0)
    stored = np.zeros(pixels.shape, bool)
    stored[:512, :512] = True
    (masked,) = downloader.export(tmp_path / "m", tmp_path / "masked.tif", missing="mask")
    assert masked.holes == 5
    assert cog_validate(str(tmp_path / "masked.tif"), strict=True)[0]
    with rasterio.open(tmp_path / "masked.tif") as dataset:
        seen = stored if nodata is None else stored & (pixels != nodata)
        np.testing.assert_array_equal(dataset.read_masks(1) > 0, seen)
        np.testing.assert_array_equal(dataset.read(1)[stored], pixels[stored])
    downloader.export(tmp_path / "m", tmp_path / "ignored.tif", missing="ignore")
    with rasterio.open(tmp_path / "ignored.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), np.where(stored, pixels, nodata or 0))
        assert (dataset.read_masks(1) > 0).all() == (nodata is None)


async def test_the_mosaics_masks_become_the_files(tmp_path) -> None:
    bands = (Band("B2", np.dtype("u2"), UTM), Band("B2_mask", np.dtype("u1"), UTM, mask_of=("B2",)))
    group = Group("", UTM, Window(0, 0, 600, 520), bands, Tiling(600, 520), (1, 1))
    await make(tmp_path / "m", Plan(image_of(bands), (group,), one_group().model))
    (written,) = downloader.export(tmp_path / "m", tmp_path / "a.tif")
    assert written.bands == ("B2",)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), band_pixels(group, 0))
        np.testing.assert_array_equal(dataset.read_masks(1) > 0, band_pixels(group, 1) == 1)
    downloader.export(tmp_path / "m", tmp_path / "mask.tif", bands=["B2_mask"])
    check(tmp_path / "mask.tif", band_pixels(group, 1)[None], group.grid, ("B2_mask",))


async def test_a_moment_of_a_series(tmp_path) -> None:
    plan = await make(tmp_path / "m", series([day(6), day(3), day(9)]))
    grid = plan.groups[0].grid
    for options, index in (({}, 2), ({"time": "0"}, 1), ({"time": "2017-04-06"}, 0), ({"slice": 1}, 1)):
        downloader.export(tmp_path / "m", tmp_path / "a.tif", bands=["B3"], **options)
        check(tmp_path / "a.tif", band_pixels(plan.groups[0], 1, slice_=index)[None], grid, ("B3",))
        with rasterio.open(tmp_path / "a.tif") as dataset:
            assert dataset.tags()["IMAGE_ID"] == plan.slices[index].id
            assert dataset.tags()["START_TIME"].startswith(plan.slices[index].id[-2:].join(("2017-04-", "")))
    with pytest.raises(JobError, match="no such time"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif", time="2018")
    with pytest.raises(JobError, match="3 slices, 0 to 2"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif", slice=3)


async def test_an_overview_in_place_of_the_pixels(tmp_path) -> None:
    await make(tmp_path / "m", one_group(window=Window(100, 200, 1300, 1111)))
    downloader.overviews(tmp_path / "m")
    downloader.export(tmp_path / "m", tmp_path / "a.tif", level=4)
    from downloader.mosaic.reader import open_group

    found = open_group(tmp_path / "m", level=4, chunks=None)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), found.B2.values)
        assert dataset.transform == Affine(40, 0, 500980, 0, -40, 4198000)


async def test_stopped_it_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch) -> None:
    await make(tmp_path / "m")
    (tmp_path / "a.tif").write_text("old")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        downloader.export(tmp_path / "m", tmp_path / "a.tif", watch=stop)
    assert (tmp_path / "a.tif").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "m"]

    def full(*_: object, **__: object) -> None:
        raise rasterio.errors.RasterioIOError("write failed: No space left on device")

    monkeypatch.setattr(rasterio.shutil, "copy", full)
    with pytest.raises(StoppedError, match="the disk is full"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "m"]


async def test_what_cannot_be_is_refused(tmp_path, monkeypatch) -> None:
    await make(tmp_path / "m")
    (tmp_path / "folder.tif").mkdir()
    for out, options, problem in (
        ("a.png", {}, "name a .tif or .nc file"),
        ("folder.tif", {}, "is a folder"),
        ("m/a.tif", {}, "inside the mosaic"),
        ("{when}.tif", {}, "braces in a file's name are one of {time}"),
        ("{}.tif", {}, "braces in a file's name"),
        ("{.tif", {}, "braces in a file's name"),
        ("a.tif", {"window": (700, 0, 5, 5)}, "outside the 700×600 pixels"),
        ("a.tif", {"window": (0, 0, 5)}, "write 4 numbers: column, row"),
        ("a.tif", {"window": (0, 0, 5, 5), "bbox": (0, 0, 1, 1)}, "take one"),
        ("a.tif", {"bbox": (0, 0, 1, 1)}, "^bbox: .* lies outside"),
        ("a.tif", {"time": "0"}, "not a time series"),
        ("a.tif", {"compress": "jpeg"}, "none of deflate"),
        ("a.tif", {"level": 2}, "no overview of level 2"),
        ("a.nc", {"compress": "zstd"}, "none of deflate, none"),
        ("{slice}.tif", {"slice": 0}, "leave time and slice out"),
    ):
        with pytest.raises(JobError, match=problem):
            downloader.export(tmp_path / "m", tmp_path / out, **options)
    with pytest.raises(RefusedError, match="is not a mosaic"):
        downloader.export(tmp_path / "nothing", tmp_path / "a.tif")
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"earthengine-downloader\[rasters\]"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif")


async def test_the_commands(tmp_path) -> None:
    await make(tmp_path / "m", one_group(window=Window(100, 200, 1300, 1111)))
    import asyncio

    async def run(*arguments: object):
        return await asyncio.to_thread(command, *arguments)

    made = await run("overviews", tmp_path / "m")
    assert (made.status, made.err) == (0, "")
    assert made.out == f"{tmp_path / 'm'}: overviews 1/2 … 1/4: 5 of 5 shards made\n"
    again = await run("overviews", tmp_path / "m", "--json", "--policy", "B2=mode")
    assert again.document["groups"][""] == {
        "levels": [2, 4], "policies": {"B2": "MODE", "B3": "MEAN"}, "missing": 0
    }  # fmt: skip
    assert (await run("overviews", tmp_path / "m", "--policy", "B2")).status == 2
    assert (await run("overviews", tmp_path / "no")).status == 5
    done = await run(
        "export", tmp_path / "m", "-o", tmp_path / "a.tif", "--window", "5,6,70,80", "--bands", "B3"
    )
    assert done.status == 0
    assert done.out.startswith(f"{tmp_path / 'a.tif'}: 70×80 pixels, B3, uint16, ")
    assert done.out.endswith(" kB\n")
    done = await run(
        "export", tmp_path / "m", "-o", tmp_path / "{band}.tif", "--json", "--bbox", "-123,37,-122.9,38"
    )
    assert [one["file"] for one in json.loads(done.out)] == [str(tmp_path / f"{b}.tif") for b in ("B2", "B3")]
    wrong = await run("export", tmp_path / "m", "-o", tmp_path / "a.tif", "--window", "5,6,70")
    assert (wrong.status, "write COLUMN,ROW,WIDTH,HEIGHT" in wrong.err) == (2, True)
