"""Exports of all slices: by the pattern of a name, into buckets, as NetCDF; again, only what is not there."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import obstore
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine

import downloader
from downloader.errors import IncompleteError, JobError
from downloader.job.location import parse_place
from downloader.mosaic.storage.cloud import connect_bucket
from tests.harness import command, environment
from tests.interop.test_export import check, make
from tests.mosaics import band_pixels, day, one_group, series

# ruff: noqa: ASYNC240  # files of the test itself
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
DAYS = (day(6), day(3), day(9))


async def test_a_file_for_each_slice_and_band(tmp_path: Path) -> None:
    plan = await make(tmp_path / "m", series(DAYS))
    written = downloader.export(tmp_path / "m", tmp_path / "cogs/{time}_{band}.tif")
    names = [f"201704{d}T190351_{band}.tif" for band in ("B2", "B3") for d in ("06", "03", "09")]
    assert [Path(one.file).name for one in written] == names
    assert sorted(path.name for path in (tmp_path / "cogs").iterdir()) == sorted(names)
    for index, d in enumerate(("06", "03", "09")):
        for band in (0, 1):
            file = tmp_path / f"cogs/201704{d}T190351_B{band + 2}.tif"
            pixels = band_pixels(plan.groups[0], band, slice_=index)[None]
            check(file, pixels, plan.groups[0].grid, (f"B{band + 2}",))


async def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    await make(tmp_path / "m", series(DAYS))
    out = tmp_path / "{slice}.tif"
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        downloader.export(tmp_path / "m", out, watch=stop)
    there = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tif")}
    assert [path.name for path in there] == ["0.tif"]
    assert not list(tmp_path.glob(".*")), "nothing half is left"
    told: list[tuple[int, int]] = []
    again = downloader.export(tmp_path / "m", out, watch=lambda *steps: told.append(steps))
    assert [Path(one.file).name for one in again] == ["0.tif", "1.tif", "2.tif"]
    assert all(one.nbytes == Path(one.file).stat().st_size for one in again)
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == seen[-1][1]
    # What would be another file is written anew.
    downloader.export(tmp_path / "m", out, compress="lzw")
    assert all(path.stat().st_mtime_ns > before for path, before in there.items())


KILLED = """
import os, signal, sys, downloader
def watch(done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
downloader.export(sys.argv[1], sys.argv[2], watch=watch)
"""


@pytest.mark.parametrize("name", ["{time}.tif", "{time}.nc", "all.nc"])
async def test_killed_it_leaves_nothing_half_once_it_ran_again(tmp_path: Path, name: str) -> None:
    await make(tmp_path / "m", series(DAYS))
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / name
    steps = (1, 2, 4) if "{" in name else (1,)
    for step in steps:
        ended = await anyio.run_process(
            [sys.executable, "-c", KILLED, str(tmp_path / "m"), str(out), str(step)],
            env=environment(),
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL
        for path in out.parent.iterdir():
            if not path.name.startswith("."):
                opened = xr.open_dataset if path.suffix == ".nc" else rasterio.open
                opened(path).close()
    written = downloader.export(tmp_path / "m", out)
    assert {Path(one.file) for one in written} == set(out.parent.iterdir())
    clean = downloader.export(tmp_path / "m", tmp_path / "clean" / name)
    for one, other in zip(written, clean, strict=True):
        if name.endswith(".tif"):
            assert Path(one.file).read_bytes() == Path(other.file).read_bytes()
        else:
            with xr.open_dataset(one.file) as a, xr.open_dataset(other.file) as b:
                xr.testing.assert_identical(a, b)


async def test_one_export_writes_a_file_at_a_time(tmp_path: Path) -> None:
    await make(tmp_path / "m")
    out = tmp_path / "a.tif"

    def watch(done: int, total: int) -> None:
        with pytest.raises(JobError, match="another export is writing it"):
            downloader.export(tmp_path / "m", out)

    downloader.export(tmp_path / "m", out, watch=watch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "m"]


async def test_an_ending_in_capitals_is_the_same(tmp_path: Path) -> None:
    await make(tmp_path / "m")
    downloader.export(tmp_path / "m", tmp_path / "A.NC")
    with xr.open_dataset(tmp_path / "A.NC", engine="h5netcdf") as ds:
        assert set(ds.data_vars) == {"B2", "B3"}


async def test_samples_are_named_only_where_there_are_some(tmp_path: Path) -> None:
    await make(tmp_path / "m")
    with pytest.raises(
        JobError, match=r"\{sample\}: .* holds no samples; name files by \{time\} or \{slice\}"
    ):
        downloader.export(tmp_path / "m", tmp_path / "{sample}.tif")


async def test_holes_are_found_before_anything_is_written(tmp_path: Path) -> None:
    await make(tmp_path / "m", series(DAYS), most=3)
    with pytest.raises(IncompleteError, match="not stored"):
        downloader.export(tmp_path / "m", tmp_path / "{time}.tif")
    assert not list(tmp_path.glob("*.tif"))
    written = downloader.export(tmp_path / "m", tmp_path / "{time}.tif", missing="mask")
    assert sum(one.holes for one in written) > 0


async def test_netcdf_takes_bands_of_all_types_and_windows_without_holes(tmp_path: Path) -> None:
    (group,) = one_group().groups
    red, other = group.bands
    bands = (red, replace(other, dtype=np.dtype("<f4")))
    plan = await make(tmp_path / "two", replace(one_group(), groups=(replace(group, bands=bands),)))
    (written,) = downloader.export(tmp_path / "two", tmp_path / "two.nc")
    assert written.bands == ("B2", "B3")
    with xr.open_dataset(tmp_path / "two.nc", engine="h5netcdf", mask_and_scale=False) as ds:
        assert [ds[band].dtype for band in ("B2", "B3")] == ["uint16", "float32"]
        np.testing.assert_array_equal(ds["B3"].values, band_pixels(plan.groups[0], 1))
    plan = await make(tmp_path / "half", most=3)
    tile = plan.groups[0].tiling.tile
    stored = np.argwhere(zarr.open_group(tmp_path / "half", mode="r")["coverage/tiles"][...] == 1)
    row, column = (int(one) * tile for one in stored[0])
    part = (column, row, tile, tile)
    (written,) = downloader.export(tmp_path / "half", tmp_path / "part.nc", window=part)
    assert written.holes == 0
    with pytest.raises(IncompleteError, match="tiles of the window are not stored"):
        downloader.export(tmp_path / "half", tmp_path / "all.nc")
    assert not (tmp_path / "all.nc").exists()


async def test_files_go_into_a_bucket_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = await make(tmp_path / "m", series(DAYS))
    pattern = f"memory://cogs/{tmp_path.name}/{{time}}.tif"
    written = downloader.export(tmp_path / "m", pattern, bands=["B3"])
    assert [one.file.rpartition("/")[2] for one in written] == [f"2017040{d}T190351.tif" for d in (6, 3, 9)]
    place = parse_place(f"memory://cogs/{tmp_path.name}")
    assert place is not None
    store = connect_bucket(place, 1, 1)
    before = {}
    for index, d in enumerate((6, 3, 9)):
        there = obstore.get(store, f"2017040{d}T190351.tif")
        before[d] = there.meta["last_modified"]
        (tmp_path / "back.tif").write_bytes(bytes(there.bytes()))
        check(
            tmp_path / "back.tif",
            band_pixels(plan.groups[0], 1, slice_=index)[None],
            plan.groups[0].grid,
            ("B3",),
        )
    downloader.export(tmp_path / "m", pattern, bands=["B3"])
    assert {d: obstore.head(store, f"2017040{d}T190351.tif")["last_modified"] for d in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.tif", "m"], "no folder named memory:"
    for wrong, problem in (
        ("memory://b", "name a .tif or .nc file"),
        ("ftp://h/a.tif", "write a folder's path"),
        ("s3://user:secret@b/a.tif", "credentials do not belong into a path"),
    ):
        with pytest.raises(JobError, match=problem):
            downloader.export(tmp_path / "m", wrong)


async def test_a_series_as_netcdf(tmp_path: Path) -> None:
    plan = await make(tmp_path / "m", series(DAYS))
    grid = plan.groups[0].grid
    (written,) = downloader.export(tmp_path / "m", tmp_path / "s.nc")
    assert (written.slices, written.bands) == (3, ("B2", "B3"))
    expected = np.stack([band_pixels(plan.groups[0], 1, slice_=index) for index in (1, 0, 2)])
    with xr.open_dataset(
        tmp_path / "s.nc", engine="h5netcdf", decode_coords="all", mask_and_scale=False
    ) as ds:
        assert ds["B3"].dims == ("time", "y", "x")
        assert ds["B3"].dtype == np.uint16
        np.testing.assert_array_equal(ds["B3"].values, expected)
        np.testing.assert_array_equal(
            ds["time"].values.astype("datetime64[D]"),
            np.array(["2017-04-03", "2017-04-06", "2017-04-09"], "datetime64[D]"),
        )
        assert ds.rio.crs == rasterio.crs.CRS.from_user_input(grid.crs.to_pyproj())
        assert ds.rio.transform() == Affine.from_gdal(*grid.transform.to_gdal())
    with rasterio.open(f"netcdf:{tmp_path / 's.nc'}:B3") as dataset:
        np.testing.assert_array_equal(dataset.read(), expected)
        assert dataset.transform == Affine.from_gdal(*grid.transform.to_gdal())
        assert dataset.crs == rasterio.crs.CRS.from_user_input(grid.crs.to_pyproj())
    downloader.export(tmp_path / "m", tmp_path / "{time}.nc", bands=["B2"], window=(5, 7, 40, 30))
    with xr.open_dataset(tmp_path / "20170403T190351.nc", engine="h5netcdf", mask_and_scale=False) as ds:
        assert list(ds.data_vars) == ["B2"]
        np.testing.assert_array_equal(
            ds["B2"].values[0], band_pixels(plan.groups[0], 0, slice_=1)[7:37, 5:45]
        )
    before = (tmp_path / "20170403T190351.nc").stat().st_mtime_ns
    downloader.export(tmp_path / "m", tmp_path / "{time}.nc", bands=["B2"], window=(5, 7, 40, 30))
    assert (tmp_path / "20170403T190351.nc").stat().st_mtime_ns == before


async def test_one_image_as_netcdf_by_the_command(tmp_path: Path) -> None:
    import asyncio

    plan = await make(tmp_path / "m")
    done = await asyncio.to_thread(command, "export", tmp_path / "m", "-o", tmp_path / "a.nc")
    assert done.out.startswith(f"{tmp_path / 'a.nc'}: 700×600 pixels, B2, B3, uint16, ")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf", mask_and_scale=False) as ds:
        np.testing.assert_array_equal(ds["B2"].values, band_pixels(plan.groups[0], 0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "m"]
