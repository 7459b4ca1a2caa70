"""Mosaics as others read them: without hints, without warnings, while they are written."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys

import numpy as np
import odc.geo.xr  # registers the accessor
import pytest
import rasterio
import rioxarray  # registers the accessor
import xarray as xr
from affine import Affine

from downloader.errors import IncompleteError, JobError, MissingExtraError, RefusedError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.overviews.overviews import overviews
from downloader.mosaic.reader import open_group, open_tree
from downloader.planning import Plan
from tests.mosaics import PROBLEM, band_pixels, fill, image_of, one_group

SERVICE = "earth-engine"

# affine's own word to rioxarray and odc-geo about their use of it.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
_ = (odc.geo.xr, rioxarray)

GRIDS = {
    "utm": PixelGrid(Crs("EPSG:32610"), AffineTransform(10.0, 0, 499980.0, 0, -10.0, 4200000.0), 10980, 10980),
    "degrees": PixelGrid(
        Crs("EPSG:4326"),
        AffineTransform(0.000269494585235856472, 0, -180.0, 0, -0.000269494585235856472, 60.0),
        1_000_000, 400_001,
    ),
    "polar": PixelGrid(Crs("EPSG:3413"), AffineTransform(32.0, 0, -640000.0, 0, -32.0, -655600.0), 46750, 84375),
    "sinusoidal": PixelGrid(
        Crs("SR-ORG:6974"),
        AffineTransform(463.3127165279165, 0, -20015109.354, 0, -463.3127165279167, 10007554.677),
        86400, 43200,
    ),
    "wkt": PixelGrid(
        Crs(wkt=Crs("EPSG:32633").to_pyproj().to_wkt("WKT1_GDAL")),
        AffineTransform(10.0, 0, 399960.0, 0, -10.0, 6000000.0), 10980, 10980,
    ),
    "north up": PixelGrid(Crs("EPSG:32610"), AffineTransform(10.0, 0, 499980.0, 0, 10.0, 4200000.0), 10980, 10980),
}  # fmt: skip
SHEARED = PixelGrid(Crs("EPSG:32633"), AffineTransform(9.5, 1.25, 5e5, 0.75, -8.0, 4e6), 2000, 2000)


async def make(path, plan: Plan | None = None, **options) -> Plan:
    plan = plan or one_group()
    settings = MosaicSettings(**options)
    async with open_for_writing(path, plan, settings, service=SERVICE) as mosaic:
        await fill(mosaic, plan)
    return plan


def affine(grid: PixelGrid) -> Affine:
    return Affine.from_gdal(*grid.transform.to_gdal())


@pytest.mark.parametrize("profile", ["sharded", "plain"])
@pytest.mark.parametrize("name", GRIDS)
async def test_crs_and_transform_are_read_without_hints(tmp_path, name, profile) -> None:
    plan = await make(
        tmp_path / "m", one_group(lattice=GRIDS[name], window=Window(101, 203, 300, 280)), profile=profile
    )
    grid = plan.groups[0].grid
    for dataset in (xr.open_zarr(tmp_path / "m"), open_group(tmp_path / "m")):
        band = dataset["B3"]
        assert dataset["B2"].shape == (280, 300)
        assert (band.values == band_pixels(plan.groups[0], 1)).all()
        for here in (band, dataset):
            assert here.rio.crs.to_wkt() == rasterio.crs.CRS.from_user_input(grid.crs.to_pyproj()).to_wkt()
            assert here.odc.crs.proj.equals(grid.crs.to_pyproj())
            # Both rebuild the transform from x and y, so the last bits are theirs.
            assert here.odc.geobox.shape == grid.shape
            assert here.odc.geobox.transform.almost_equals(
                affine(grid), precision=1e-9 * abs(grid.transform.scale_x)
            )
            for ours, theirs in zip(affine(grid)[:6], here.rio.transform()[:6], strict=True):
                assert theirs == pytest.approx(ours, rel=1e-12)
        x, y = grid.transform.exact(0.5, 0.5)
        assert (float(dataset.x[0]), float(dataset.y[0])) == pytest.approx((float(x), float(y)), rel=1e-15)


async def test_a_sheared_grid_is_read_by_its_transform(tmp_path) -> None:
    plan = await make(tmp_path / "m", one_group(lattice=SHEARED, window=Window(10, 20, 300, 280)))
    grid = plan.groups[0].grid
    dataset = xr.open_zarr(tmp_path / "m")
    assert "x" not in dataset.coords
    assert dataset["B2"].rio.transform() == affine(grid)
    assert dataset["B2"].rio.crs.to_epsg() == 32633
    assert dataset["B2"].odc.geobox.transform == affine(grid)
    assert dataset["B2"].odc.geobox.crs.epsg == 32633
    assert (dataset["B2"].values == band_pixels(plan.groups[0], 0)).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("<f4", float("nan")),
        ("<f8", float("-inf")),
        ("<i2", -32768.0),
        ("<u2", 0.0),
        ("|u1", 255.0),
        ("<f4", -9999.0),
    ],
)
async def test_nodata_is_read_without_hints(tmp_path, dtype, nodata) -> None:
    plan = await make(tmp_path / "m", one_group(dtype=dtype), nodata={"B2": nodata})
    raw = open_group(tmp_path / "m")
    assert raw["B2"].dtype == np.dtype(dtype)
    np.testing.assert_equal(float(raw["B2"].rio.nodata), nodata)
    np.testing.assert_equal(float(raw["B2"].odc.nodata), nodata)
    assert raw["B3"].rio.nodata is None
    scaled = xr.open_zarr(tmp_path / "m")["B2"]
    values = band_pixels(plan.groups[0], 0)
    expected = np.where(values == nodata, np.nan, values) if nodata == nodata else values
    np.testing.assert_array_equal(scaled.values, expected.astype(scaled.dtype))
    np.testing.assert_equal(float(scaled.rio.encoded_nodata), nodata)


async def test_without_nodata_pixels_keep_their_type_everywhere(tmp_path) -> None:
    plan = await make(tmp_path / "m")
    dataset = xr.open_zarr(tmp_path / "m")
    assert dataset["B2"].dtype == np.uint16
    assert dataset["B2"].rio.nodata is None
    assert (dataset["B2"].values == band_pixels(plan.groups[0], 0)).all()


async def test_coverage_is_a_group_of_its_own(tmp_path) -> None:
    await make(tmp_path / "m")
    for dataset in (xr.open_zarr(tmp_path / "m"), open_group(tmp_path / "m")):
        assert list(dataset.data_vars) == ["B2", "B3"]
        assert set(dataset.coords) == {"x", "y", "spatial_ref"}
        assert json.loads(dataset.attrs["properties"]) == {"CLOUDY": 0.5, "NAMES": ["a", "b"]}
        assert dataset.attrs["start_time"] == "2017-04-30T19:03:51Z"
        dataset.rio.clip_box(*dataset.rio.bounds())
    coverage = xr.open_zarr(tmp_path / "m", group="coverage").tiles
    assert coverage.dims == ("tile_y", "tile_x")
    assert coverage.attrs["flag_meanings"].split()[1] == "stored"
    assert (coverage == 1).all()
    assert xr.open_datatree(tmp_path / "m", engine="zarr")["coverage/tiles"].shape == (3, 3)


def opened(path):
    """As xarray opens it by itself, and as our own door does."""
    return xr.open_zarr(path, mask_and_scale=False), open_group(path)


@pytest.mark.parametrize("with_overviews", [False, True])
async def test_what_is_opened_goes_into_a_netcdf(tmp_path, with_overviews) -> None:
    plan = await make(tmp_path / "m", nodata={"B2": 7.0})
    if with_overviews:
        overviews(tmp_path / "m")
    for dataset in opened(tmp_path / "m"):
        dataset.to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "m.nc", engine="h5netcdf", decode_coords="all") as found:
            assert found["B3"].dtype == np.uint16
            for number, band in enumerate(("B2", "B3")):
                values = band_pixels(plan.groups[0], number)
                np.testing.assert_array_equal(np.nan_to_num(found[band].values, nan=7), values)
            assert found.rio.crs.to_epsg() == 32610
            assert found.rio.transform().almost_equals(affine(plan.groups[0].grid))


async def test_what_is_opened_goes_into_a_geotiff(tmp_path) -> None:
    plan = await make(tmp_path / "m")
    for dataset in opened(tmp_path / "m"):
        dataset.rio.to_raster(tmp_path / "all.tif")
        dataset["B3"].rio.to_raster(tmp_path / "one.tif")
        for name, bands in (("all", (0, 1)), ("one", (1,))):
            with rasterio.open(tmp_path / f"{name}.tif") as source:
                assert source.crs.to_epsg() == 32610
                assert source.transform.almost_equals(affine(plan.groups[0].grid))
                assert source.dtypes == ("uint16",) * len(bands)
                for number, band in enumerate(bands, 1):
                    np.testing.assert_array_equal(source.read(number), band_pixels(plan.groups[0], band))


async def test_what_is_opened_goes_into_a_data_frame(tmp_path) -> None:
    plan = await make(tmp_path / "m")
    for dataset in opened(tmp_path / "m"):
        frame = dataset.isel(y=slice(5), x=slice(7)).to_dataframe()
        assert list(frame.index.names) == ["y", "x"]
        assert len(frame) == 35
        values = band_pixels(plan.groups[0], 1, Window(0, 0, 7, 5))
        np.testing.assert_array_equal(frame["B3"].to_numpy().reshape(5, 7), values)


async def test_our_own_folder_disturbs_no_reader(tmp_path) -> None:
    await make(tmp_path / "m")
    with_it = xr.open_zarr(tmp_path / "m").load()
    listed = xr.open_zarr(tmp_path / "m", consolidated=False).load()
    assert len(xr.open_datatree(tmp_path / "m", engine="zarr", consolidated=False)[".downloader"]) == 0
    shutil.rmtree(tmp_path / "m/.downloader")
    assert xr.open_zarr(tmp_path / "m").load().identical(with_it)
    assert listed.identical(with_it)


async def test_groups_are_read_one_by_one_and_as_a_tree(tmp_path) -> None:
    fine = one_group(["B2"], name="10m")
    coarse = one_group(["B5", "B6"], name="20m", window=Window(50, 100, 350, 300))
    bands = fine.image.bands + coarse.image.bands
    plan = Plan(image_of(bands), fine.groups + coarse.groups, fine.model)
    await make(tmp_path / "m", plan)
    assert (xr.open_zarr(tmp_path / "m", group="20m")["B6"].values == band_pixels(plan.groups[1], 1)).all()
    assert (open_group(tmp_path / "m", "10m")["B2"].values == band_pixels(plan.groups[0], 0)).all()
    for tree in (open_tree(tmp_path / "m"), xr.open_datatree(tmp_path / "m", engine="zarr")):
        assert set(tree.children) == {"10m", "20m"}
        assert tree["20m/B5"].rio.crs.to_epsg() == 32610
        assert list(tree["20m"].data_vars) == ["B5", "B6"]
    with pytest.raises(JobError, match="has the groups 10m, 20m"):
        open_group(tmp_path / "m")
    with pytest.raises(JobError, match="no group '60m'"):
        open_group(tmp_path / "m", "60m")


async def test_one_group_is_a_tree_of_one_node(tmp_path) -> None:
    await make(tmp_path / "m")
    assert list(open_tree(tmp_path / "m").data_vars) == ["B2", "B3"]
    assert list(open_group(tmp_path / "m", "").data_vars) == ["B2", "B3"]


async def test_dask_chunks_are_the_shards(tmp_path) -> None:
    plan = await make(tmp_path / "m")
    assert open_group(tmp_path / "m")["B2"].chunks == ((512, 88), (512, 188))
    assert open_group(tmp_path / "m", chunks={"y": 256})["B2"].chunks[0] == (256, 256, 88)
    assert open_group(tmp_path / "m", chunks=None)["B2"].chunks is None
    assert (open_group(tmp_path / "m", chunks=None)["B2"].values == band_pixels(plan.groups[0], 0)).all()


@pytest.fixture
async def holed(tmp_path):
    """Four tiles stored, one failed, the others missing."""
    plan = one_group(["B2"], dtype="<u2")
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await fill(mosaic, plan, most=4)
        request = next(plan.groups[0].requests(list(plan.groups[0].shards())[1]))
        mosaic.fail(request, PROBLEM)
        await mosaic.commit(request.shard)
        await mosaic.finish()
    return tmp_path / "m", plan


async def test_holes_are_refused_unless_asked_for(holed) -> None:
    path, _ = holed
    with pytest.raises(IncompleteError, match=r"5 of 9 tiles are not stored \(4 missing, 1 failed\)"):
        open_group(path)
    with pytest.raises(IncompleteError, match="missing='mask'"):
        open_tree(path)


@pytest.mark.parametrize("chunks", ["shard", None, {"y": 256, "x": 512}])
async def test_holes_are_masked_or_shown_as_fill(holed, chunks) -> None:
    path, plan = holed
    values = band_pixels(plan.groups[0], 0)
    expected = np.full(values.shape, np.nan, "f4")
    expected[:512, :512] = values[:512, :512]
    masked = open_group(path, chunks=chunks, missing="mask")
    assert masked["B2"].dtype == np.float32
    np.testing.assert_array_equal(masked["B2"].values, expected)
    assert masked["B2"].rio.crs.to_epsg() == 32610
    shown = open_group(path, chunks=chunks, missing="ignore")["B2"]
    assert shown.dtype == np.uint16
    np.testing.assert_array_equal(shown.values, np.nan_to_num(expected).astype("u2"))


async def test_a_mosaic_opens_while_it_is_written(tmp_path) -> None:
    plan = one_group(["B2"])
    values = band_pixels(plan.groups[0], 0)
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        for _ in range(9):
            await fill(mosaic, plan, most=1, finish=False)
            seen = await asyncio.to_thread(lambda: xr.open_zarr(tmp_path / "m")["B2"].values)
            assert ((seen == values) | (seen == 0)).all()
        with pytest.raises(IncompleteError):
            open_group(tmp_path / "m")
        await mosaic.finish()
        assert (open_group(tmp_path / "m")["B2"].values == values).all()


async def test_a_missing_extra_is_named(tmp_path, monkeypatch) -> None:
    await make(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'earthengine-downloader\[xarray\]'"):
        open_group(tmp_path / "m")


async def test_without_dask_there_are_no_chunks(tmp_path, monkeypatch) -> None:
    await make(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "dask.array", None)
    assert open_group(tmp_path / "m")["B2"].chunks is None


def test_what_is_no_mosaic_is_refused(tmp_path) -> None:
    with pytest.raises(RefusedError, match="is not a mosaic"):
        open_group(tmp_path)


GDAL = tuple(map(int, rasterio.__gdal_version__.split(".")[:2]))


@pytest.mark.skipif(GDAL < (3, 12), reason=f"GDAL {rasterio.__gdal_version__} reads no Zarr v3; 3.12 does")
async def test_gdal_reads_an_overview_of_a_plain_mosaic(tmp_path) -> None:
    await make(tmp_path / "m", one_group(window=Window(100, 200, 1300, 1111)), profile="plain")
    overviews(tmp_path / "m")
    with rasterio.open(f'ZARR:"{tmp_path / "m"}":/overviews/4/B3') as dataset:
        assert dataset.transform == Affine(40, 0, 500980, 0, -40, 4198000)
        assert dataset.crs.to_epsg() == 32610
        assert (dataset.read(1) == open_group(tmp_path / "m", level=4)["B3"].values).all()


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("profile", "since"), [("plain", (3, 12)), ("sharded", (3, 13))])
async def test_gdal_reads_a_mosaic(tmp_path, name, profile, since) -> None:
    if since > GDAL:
        pytest.skip(f"GDAL {rasterio.__gdal_version__} reads no {profile} mosaic; {since[0]}.{since[1]} does")
    plan = await make(
        tmp_path / "m",
        one_group(lattice=GRIDS[name], window=Window(101, 203, 300, 280)),
        profile=profile,
        nodata={"B2": 9},
    )
    grid = plan.groups[0].grid
    with rasterio.open(f'ZARR:"{tmp_path / "m"}":/B2') as dataset:
        assert dataset.crs == rasterio.crs.CRS.from_user_input(grid.crs.to_pyproj())
        for ours, theirs in zip(affine(grid)[:6], dataset.transform[:6], strict=True):
            assert theirs == pytest.approx(ours, rel=1e-12)
        assert dataset.nodata == 9
        assert (dataset.read(1) == band_pixels(plan.groups[0], 0)).all()
