"""Real input: rasters of Rocky Mountain National Park as assets, compared pixel by pixel with rasterio's own read."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

import downloader
from tests.harness import ROOT, band_arrays, cli, job, same_bits, write_job

rasterio = pytest.importorskip("rasterio")

DATA = ROOT.parent / "shared" / "data"
RASTERS = ("rmnp-rgb.tif", "rmnp-dem.tif")

pytestmark = pytest.mark.skipif(
    not all((DATA / name).is_file() for name in RASTERS), reason=f"the example rasters are not in {DATA}"
)


def raster_job(folder, name, **sections):
    """A job file beside which the raster is named by a relative path."""
    asset = f"projects/p-test-1/assets/{name.removesuffix('.tif')}"
    (folder / name).symlink_to(DATA / name)
    service = {"endpoint": "emulator", "emulator": {"rasters": {asset: name}}}
    values = job(None, "mosaic.zarr", source={"asset": asset}, region=None, service=service, **sections)
    return write_job(folder, values)


@pytest.mark.parametrize("name", RASTERS)
def test_every_pixel_is_rasterio_s(tmp_path, name):
    job_file, mosaic = raster_job(tmp_path, name), tmp_path / "mosaic.zarr"
    ended = cli("run", job_file)
    assert ended.status == 0, ended
    with rasterio.open(DATA / name) as file:
        bands, transform, crs = file.read(), file.transform, file.crs
        # Earth Engine answers 0 for masked pixels of unsigned bands (docs/contract.md §4.3).
        wanted = np.where(file.read_masks() != 0, bands, 0)
    arrays = list(band_arrays(mosaic).values())
    assert len(arrays) == len(wanted)
    for array, band in zip(sorted(arrays, key=lambda a: a.name), wanted, strict=True):
        same_bits(array[:], band, array.name)
    opened = xarray.open_dataset(mosaic, engine="zarr", decode_coords="all")
    import rioxarray  # noqa: F401

    assert opened.rio.crs == crs
    assert tuple(map(float, opened.spatial_ref.attrs["GeoTransform"].split())) == transform.to_gdal()
    assert np.allclose(
        opened.x, transform.c + transform.a * (np.arange(wanted.shape[2]) + 0.5), rtol=0, atol=1e-12
    )


def test_nodata_reads_back(tmp_path):
    """`missingData` of the asset is the mosaic's nodata; with mask_and_scale it becomes NaN."""
    name = "rmnp-dem.tif"
    with rasterio.open(DATA / name) as file:
        wanted, mask, nodata = file.read(1), file.read_masks(1) != 0, file.nodata
    report = downloader.download(raster_job(tmp_path, name), progress=False)
    (plain,) = report.open().data_vars.values()
    assert plain.dtype == np.uint16
    assert plain.attrs["_FillValue"] == nodata
    assert (plain.values[mask] == wanted[mask]).all()
    (masked,) = report.open(mask_and_scale=True).data_vars.values()
    assert np.isnan(masked.values[wanted == nodata]).sum() == 0 or not mask.all()
    assert np.array_equal(masked.values[mask], wanted[mask].astype(masked.dtype))


def test_nodata_that_the_job_says(tmp_path):
    """`mosaic.nodata: 0` for a service that answers 0 where it has nothing."""
    name = "rmnp-rgb.tif"
    job_file = raster_job(tmp_path, name, mosaic={"nodata": 0})
    report = downloader.download(job_file, progress=False)
    with rasterio.open(DATA / name) as file:
        masks = file.read_masks() != 0
        wanted = file.read()
    opened = report.open(mask_and_scale=True)
    for values, band, mask in zip(
        (opened[v].values for v in sorted(opened.data_vars)), wanted, masks, strict=True
    ):
        assert np.isnan(values[~mask]).all()
        keep = mask & (band != 0)
        assert (values[keep] == band[keep]).all()


def test_part_of_a_raster_by_a_box(tmp_path):
    """A box in degrees of a raster in degrees: what rasterio's window of the same box holds."""
    name = "rmnp-dem.tif"
    with rasterio.open(DATA / name) as file:
        left, _, _, top = file.bounds
        t = file.transform
        box = [left + 10.5 * t.a, top + 40.5 * t.e, left + 30.5 * t.a, top + 20.5 * t.e]
        wanted = file.read(1, window=((20, 41), (10, 31)))
        valid = file.read_masks(1, window=((20, 41), (10, 31))) != 0
    assert cli("run", raster_job(tmp_path, name), "--set", f"region.bbox={box}").status == 0
    (array,) = band_arrays(tmp_path / "mosaic.zarr").values()
    assert (array[:] == np.where(valid, wanted, 0)).all()
