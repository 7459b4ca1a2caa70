"""A time series grows: what is there stays where it is, and a reader sees the old mosaic or the new one, at any step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from downloader.errors import DriftError, IncompleteError
from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.reader import open_group
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.status import status
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.verify.verify import verify
from downloader.planning import Plan
from tests.mosaics import UTM, WINDOW, band_pixels, coverage_of, day, fill, series

SERVICE = "earth-engine"
APRIL = (1_491_004_800_000_000, 1_493_596_800_000_000)
SMALL = Window(100, 200, 260, 300)
OLD = [day(6), day(9)]
PROFILES = pytest.mark.parametrize("profile", ["sharded", "plain"])


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


async def run(path: Path, plan: Plan, profile: str = "sharded", **options) -> int:
    """Open, fetch what is missing, finish; how many requests that took."""
    async with open_for_writing(
        path, plan, MosaicSettings(profile=profile), service=SERVICE, job_text="source: …\n", **options
    ) as mosaic:
        return await fill(mosaic, plan)


def dataset(path: Path) -> xr.Dataset:
    return open_group(path, chunks=None)


def check(path: Path, plan: Plan) -> None:
    """Every pixel of every slice, in the mosaic's own order."""
    found = xr.open_zarr(path, chunks=None)
    for index, part in enumerate(plan.slices):
        assert found.image_id.values[index] == part.id
        for band, name in enumerate(("B2", "B3")):
            expected = band_pixels(plan.groups[0], band, slice_=index)
            np.testing.assert_array_equal(found[name].values[index], expected)


@PROFILES
async def test_one_image_has_a_time_axis_too(tmp_path, profile) -> None:
    plan = series([day(3)])
    assert await run(tmp_path / "m", plan, profile) == 9
    found = dataset(tmp_path / "m")
    assert found.B2.dims == ("time", "y", "x")
    assert found.time.values.tolist() == [np.datetime64("2017-04-03T19:03:51", "ns").astype(int)]
    assert found.image_id.values.tolist() == ["TEST/03"]
    assert found.CLOUDY.values.tolist() == [0.5]
    assert set(found.data_vars) == {"B2", "B3"}
    check(tmp_path / "m", plan)


@PROFILES
async def test_later_images_are_appended_and_nothing_old_is_touched(tmp_path, profile) -> None:
    first = series([day(3), day(6)], period=APRIL)
    await run(tmp_path / "m", first, profile)
    before = {k: v for k, v in tree(tmp_path / "m").items() if k.startswith("B") and "/c/" in k}
    longer = series([day(3), day(6), day(9), day(12)], period=(APRIL[0], APRIL[1] + 1))
    assert await run(tmp_path / "m", longer, profile) == 2 * 9
    after = tree(tmp_path / "m")
    assert {key: after[key] for key in before} == before
    check(tmp_path / "m", longer)
    assert dataset(tmp_path / "m").sizes["time"] == 4
    assert verify(tmp_path / "m").is_clean


async def test_an_earlier_image_stands_last_and_is_read_first(tmp_path) -> None:
    await run(tmp_path / "m", series([day(6), day(9)]))
    plan = series([day(6), day(9), day(3)])
    await run(tmp_path / "m", plan)
    check(tmp_path / "m", plan)
    found = dataset(tmp_path / "m")
    assert found.image_id.values.tolist() == ["TEST/03", "TEST/06", "TEST/09"]
    np.testing.assert_array_equal(found.B3.values[0], band_pixels(plan.groups[0], 1, slice_=2))
    chunked = open_group(tmp_path / "m")
    np.testing.assert_array_equal(chunked.B3.values[0], band_pixels(plan.groups[0], 1, slice_=2))


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


def kill_at(monkeypatch, step: int) -> list[str]:
    """Let the process die just before its n-th write; the writes before it."""
    written: list[str] = []

    def dying(name):
        original = getattr(DiskStore, name)

        def method(self, *args):
            if len(written) == step:
                raise Killed
            written.append(f"{name} {args[0]}" if isinstance(args[0], str) else name)
            return original(self, *args)

        monkeypatch.setattr(DiskStore, name, method)

    for name in ("put", "append", "flush"):
        dying(name)
    return written


@PROFILES
async def test_a_reader_sees_a_whole_mosaic_at_every_step_of_an_append(
    tmp_path, monkeypatch, profile
) -> None:
    first, longer = (series(images, window=SMALL) for images in (OLD, [*OLD, day(3)]))
    step, seen = 0, set()
    while True:
        path = tmp_path / str(step)
        await run(path, first, profile)
        reader = xr.open_zarr(path, chunks=None)
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                async with open_for_writing(path, longer, MosaicSettings(profile=profile), service=SERVICE):
                    pass
            except Killed:
                killed = True
            else:
                killed = False
        np.testing.assert_array_equal(reader.B2.values[1], band_pixels(first.groups[0], 0, slice_=1))
        assert reader.image_id.values.tolist() == ["TEST/06", "TEST/09"]
        now = xr.open_zarr(path, chunks=None)
        length = now.sizes["time"]
        seen.add(length)
        assert now.image_id.values.tolist() == ["TEST/06", "TEST/09", "TEST/03"][:length]
        assert now.CLOUDY.values.tolist() == [0.5] * length
        assert now.B3.shape == (length, 300, 260)
        assert coverage_of(path)[:2].min() == 1
        np.testing.assert_array_equal(now.B3.values[0], band_pixels(first.groups[0], 1))
        if length == 3:
            assert coverage_of(path)[2].max() == 0
        assert await run(path, longer, profile) == 4
        check(path, longer)
        if not killed:
            break
        step += 1
    assert seen == {2, 3}
    assert step > 8


async def test_the_append_makes_itself_visible_last(tmp_path, monkeypatch) -> None:
    await run(tmp_path / "m", series([day(6), day(9)]))
    steps = kill_at(monkeypatch, -1)
    async with open_for_writing(tmp_path / "m", series([day(6), day(9), day(3)]), service=SERVICE):
        visible = steps.index("put zarr.json")
    for name in (
        "time/c/0",
        "image_id/c/0",
        "CLOUDY/c/0",
        "B2/zarr.json",
        "time/zarr.json",
        "coverage/zarr.json",
        "coverage/tiles/zarr.json",
    ):
        assert steps.index(f"put {name}") < visible, name


async def test_a_lost_own_folder_costs_nothing(tmp_path) -> None:
    """What the mosaic is stands in its attributes, the image list with it."""
    import shutil

    plan = series([day(3), day(6, cloudy=None)], period=APRIL)
    await run(tmp_path / "m", plan)
    shutil.rmtree(tmp_path / "m/.downloader")
    identity = read_identity(tmp_path / "m")
    assert identity is not None
    assert identity.listed is not None
    assert identity.listed.period == APRIL
    assert [image.id for image in identity.listed.images] == ["TEST/03", "TEST/06"]
    assert await run(tmp_path / "m", plan) == 0
    np.testing.assert_array_equal(dataset(tmp_path / "m").CLOUDY.values, [0.5, np.nan])


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"images": [day(3)]}, "image TEST/06.updateTime: 2020-01-01T00:00:00Z → not in this job"),
        (
            {"images": [day(3), day(6, update_time="2021-01-01T00:00:00Z")]},
            "image TEST/06.updateTime: 2020-01-01T00:00:00Z → 2021-01-01T00:00:00Z",
        ),
        (
            {"period": (APRIL[0] + 86_400_000_000, APRIL[1])},
            "source.start and end: 2017-04-01T00:00:00Z…2017-05-01T00:00:00Z → 2017-04-02T00:00:00Z…2017-05-01T00:00:00Z, which is not all of it",
        ),
        ({"bands": ("B2",)}, "source.bands: B3: uint16, nodata none → not in this job"),
    ],
)
async def test_a_job_that_means_something_else_is_refused(tmp_path, other, line) -> None:
    await run(tmp_path / "m", series([day(3), day(6)], period=APRIL))
    before = tree(tmp_path / "m")
    values = {"images": [day(3), day(6)], "period": APRIL, **other}
    with pytest.raises(DriftError) as caught:
        await run(tmp_path / "m", series(values.pop("images"), **values))
    assert f"  {line}" in str(caught.value).splitlines()
    assert ("--accept updates" in str(caught.value)) == ("2021" in line)
    assert tree(tmp_path / "m") == before


async def test_a_single_image_is_no_series(tmp_path) -> None:
    from tests.mosaics import one_group

    await run(tmp_path / "m", series([day(3)]))
    with pytest.raises(DriftError, match=r"leading axis: time, 1 in a shard → none, 1 in a shard"):
        await run(tmp_path / "m", one_group())


@PROFILES
async def test_an_image_that_changed_is_kept_or_fetched_again_alone(tmp_path, profile) -> None:
    changed = series([day(3), day(6, update_time="2021-01-01T00:00:00Z"), day(9)])
    await run(tmp_path / "m", series([day(3), day(6), day(9)]), profile)
    with pytest.raises(DriftError, match=r"TEST/06"):
        await run(tmp_path / "m", changed, profile)
    assert await run(tmp_path / "m", changed, profile, on_update="keep") == 0
    identity = read_identity(tmp_path / "m")
    assert identity is not None
    assert identity.kept == ("TEST/06 2020-01-01T00:00:00Z",)
    assert await run(tmp_path / "m", changed, profile) == 0

    again = series([day(3), day(6, update_time="2022-01-01T00:00:00Z"), day(9)])
    async with open_for_writing(
        tmp_path / "m",
        again,
        MosaicSettings(profile=profile),
        service=SERVICE,
        job_text="source: …\n",
        on_update="refetch",
    ) as mosaic:
        assert mosaic.counts()[""].missing == 9
        with pytest.raises(IncompleteError, match="9 missing"):
            dataset(tmp_path / "m")
        assert await fill(mosaic, again) == 9
    check(tmp_path / "m", again)
    identity = read_identity(tmp_path / "m")
    assert identity is not None
    assert (identity.kept, identity.refetching) == ((), False)
    assert verify(tmp_path / "m").is_clean


async def test_a_refetch_that_was_killed_goes_on(tmp_path) -> None:
    await run(tmp_path / "m", series([day(3), day(6)]))
    again = series([day(3, update_time="2021-01-01T00:00:00Z"), day(6)])
    async with open_for_writing(tmp_path / "m", again, service=SERVICE, on_update="refetch") as mosaic:
        assert await fill(mosaic, again, most=4, finish=False) == 4
    assert await run(tmp_path / "m", again, on_update="refetch") == 5
    check(tmp_path / "m", again)


async def test_tiles_outside_an_image_are_no_holes(tmp_path) -> None:
    """Two images beside each other: each is asked for only where it lies, and the mosaic is complete all the same."""
    west = PixelGrid(UTM.crs, UTM.transform, WINDOW.column + 300, 10980)
    plan = series([day(3), day(6, grid=west)])
    assert await run(tmp_path / "m", plan) == 9 + 6
    assert coverage_of(tmp_path / "m")[1].tolist() == [[1, 1, 3]] * 3
    assert status(tmp_path / "m").is_complete
    assert verify(tmp_path / "m").is_clean
    masked = open_group(tmp_path / "m", missing="mask", chunks=None)
    assert np.isnan(masked.B2.values[1][:, 512:]).all()
    assert not np.isnan(masked.B2.values[1][:, :512]).any()


async def test_a_band_that_an_image_lacks_is_no_hole(tmp_path) -> None:
    plan = series([day(3), day(6, bands=("B2",)), day(9, bands=())])
    assert await run(tmp_path / "m", plan) == 9 + 9
    found = dataset(tmp_path / "m")
    assert coverage_of(tmp_path / "m")[1].tolist() == [[1] * 3] * 3
    assert coverage_of(tmp_path / "m")[2].tolist() == [[3] * 3] * 3
    assert (found.B3.values[1:] == 0).all()
    assert status(tmp_path / "m").is_complete
    assert await run(tmp_path / "m", plan) == 0


async def test_a_property_can_be_added_and_is_never_lost(tmp_path) -> None:
    await run(tmp_path / "m", series([day(3)], properties=()))
    await run(tmp_path / "m", series([day(3), day(6)]))
    assert dataset(tmp_path / "m").CLOUDY.values.tolist() == [0.5, 0.5]
    text = series([day(3), day(6), day(9, cloudy="unknown")])
    await run(tmp_path / "m", text)
    np.testing.assert_array_equal(dataset(tmp_path / "m").CLOUDY.values, [0.5, 0.5, np.nan])


async def test_a_property_gives_way_to_a_band_of_its_name(tmp_path) -> None:
    images = [replace(day(3), properties={"B2": 7, "time": 8})]
    await run(tmp_path / "m", series(images, properties=("B2", "time")))
    found = dataset(tmp_path / "m")
    assert found.B2.dims == ("time", "y", "x")
    assert (found.B2_.values.tolist(), found.time_.values.tolist()) == ([7.0], [8.0])


async def test_a_missing_time_is_no_time(tmp_path) -> None:
    plan = series([day(3), replace(day(6), start_time="")])
    await run(tmp_path / "m", plan)
    assert np.isnat(dataset(tmp_path / "m").time.values).tolist() == [False, True]
    assert np.isnat(xr.open_zarr(tmp_path / "m").time.values).tolist() == [False, True]


async def test_times_may_repeat(tmp_path) -> None:
    plan = series([day(3), replace(day(6), start_time="2017-04-03T19:03:51Z")])
    await run(tmp_path / "m", plan)
    assert len(set(dataset(tmp_path / "m").time.values)) == 1
    check(tmp_path / "m", plan)


async def test_a_thousand_images_cost_little(tmp_path) -> None:
    """Neither what a reader parses nor the number of objects grows with them as pixels do."""
    images = [
        replace(day(1 + k % 28), name=f"projects/p/assets/C/{k:05d}", id=f"C/{k:05d}") for k in range(1500)
    ]
    plan = series(images, window=Window(100, 200, 40, 30))
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await mosaic.finish()
    root = json.loads((tmp_path / "m/zarr.json").read_text())
    assert len(root["attributes"]["downloader"]) < 150_000
    assert len(list((tmp_path / "m/coverage/tiles/c").rglob("*"))) < 10
    assert xr.open_zarr(tmp_path / "m").image_id.values[1499] == "C/01499"
    assert status(tmp_path / "m").groups[""].missing == 1500
