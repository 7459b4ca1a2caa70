"""Time series as others read them: without hints, without warnings."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import odc.geo.xr  # registers the accessor
import pytest
import rasterio
import rioxarray  # registers the accessor
import xarray as xr
import zarr

from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.reader import open_group, open_tree
from tests.mosaics import band_pixels, day, fill, series

# affine's own word to rioxarray and odc-geo about their use of it.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
_ = (odc.geo.xr, rioxarray)


async def make(path, profile="sharded"):
    """Two images, and a third that came later and was taken earlier."""
    for images in ([day(6), day(9)], [day(6), day(9), day(3, cloudy=None)]):
        plan = series(images)
        async with open_for_writing(
            path, plan, MosaicSettings(profile=profile), service="earth-engine"
        ) as mosaic:
            await fill(mosaic, plan)
    return plan


@pytest.fixture(params=["sharded", "plain"])
def profile(request):
    return request.param


async def test_xarray_knows_times_ids_and_properties(tmp_path, profile) -> None:
    plan = await make(tmp_path / "m", profile)
    found = xr.open_zarr(tmp_path / "m")
    assert set(found.data_vars) == {"B2", "B3"}
    assert set(found.coords) >= {"time", "image_id", "CLOUDY", "x", "y", "spatial_ref"}
    assert found.time.dt.day.values.tolist() == [6, 9, 3]
    assert found.sel(time="2017-04-09").image_id.values.tolist() == ["TEST/09"]
    np.testing.assert_array_equal(found.CLOUDY.values, [0.5, 0.5, np.nan])
    np.testing.assert_array_equal(found.B3.isel(time=2).values, band_pixels(plan.groups[0], 1, slice_=2))


async def test_our_own_door_sorts_by_time_with_and_without_dask(tmp_path, profile) -> None:
    plan = await make(tmp_path / "m", profile)
    for chunks in ("shard", None):
        found = open_group(tmp_path / "m", chunks=chunks)
        assert found.time.dt.day.values.tolist() == [3, 6, 9]
        for index, slice_ in enumerate((2, 0, 1)):
            np.testing.assert_array_equal(
                found.B2.isel(time=index).values, band_pixels(plan.groups[0], 0, slice_=slice_)
            )
        if chunks:
            assert found.B2.data.chunksize[0] == 1
    tree = open_tree(tmp_path / "m")
    assert tree.to_dataset().time.dt.day.values.tolist() == [3, 6, 9]


async def test_rioxarray_and_odc_geo_place_every_slice(tmp_path, profile) -> None:
    plan = await make(tmp_path / "m", profile)
    found = xr.open_zarr(tmp_path / "m", decode_coords="all")
    grid = plan.groups[0].grid
    assert found.B2.rio.crs.to_epsg() == 32610
    assert found.B2.rio.transform().to_gdal() == grid.transform.to_gdal()
    assert found.B2.odc.geobox.shape == (grid.height, grid.width)
    assert found.odc.geobox.crs.epsg == 32610


async def test_zarr_alone_reads_ids_without_a_warning(tmp_path, profile) -> None:
    await make(tmp_path / "m", profile)
    root = zarr.open_group(tmp_path / "m", mode="r")
    assert list(root["image_id"][:]) == ["TEST/06", "TEST/09", "TEST/03"]
    first = datetime(2017, 4, 6, 19, 3, 51, tzinfo=UTC)
    assert root["time"][0] == first.timestamp() * 1e6
    assert root["B2"].shape[0] == root["coverage/tiles"].shape[0] == 3


async def test_a_series_goes_into_netcdf_and_a_data_frame(tmp_path, profile) -> None:
    plan = await make(tmp_path / "m", profile)
    for found, order in (
        (xr.open_zarr(tmp_path / "m", mask_and_scale=False), (0, 1, 2)),
        (open_group(tmp_path / "m"), (2, 0, 1)),
    ):
        found.to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "m.nc", engine="h5netcdf") as again:
            np.testing.assert_array_equal(again.time.values, found.time.values)
            assert again.image_id.values.tolist() == [f"TEST/{(6, 9, 3)[k]:02d}" for k in order]
            for index, slice_ in enumerate(order):
                wanted = band_pixels(plan.groups[0], 0, slice_=slice_)
                np.testing.assert_array_equal(again.B2.values[index], wanted)
        frame = found.isel(y=3, x=slice(2)).to_dataframe()
        assert len(frame) == 6
        assert {"B2", "B3", "CLOUDY", "image_id"} <= set(frame.columns)


GDAL = tuple(map(int, rasterio.__gdal_version__.split(".")[:2]))


@pytest.mark.skipif(GDAL < (3, 12), reason=f"GDAL {rasterio.__gdal_version__} reads no Zarr v3; 3.12 does")
async def test_gdal_reads_a_plain_series(tmp_path) -> None:
    """A band for each time; the string arrays, which GDAL does not know, hinder nothing."""
    plan = await make(tmp_path / "m", "plain")
    with rasterio.open(f'ZARR:"{tmp_path / "m"}":/B3') as source:
        assert source.count == 3
        assert source.crs.to_epsg() == 32610
        assert source.transform.to_gdal() == plan.groups[0].grid.transform.to_gdal()
        for slice_ in range(3):
            np.testing.assert_array_equal(
                source.read(slice_ + 1), band_pixels(plan.groups[0], 1, slice_=slice_)
            )
