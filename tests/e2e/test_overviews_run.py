"""Overviews of real runs: what this program makes of the pixels is what the service itself answers for coarser ones."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr

import downloader
from downloader.errors import JobError
from tests.harness import command, job, write_job


def run(emulator, folder, place, **sections):
    return command("run", write_job(folder, job(emulator, place, **sections)), "-q")


@pytest.mark.parametrize(
    ("asset", "bands", "size"),
    [
        ("COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", ["B2", "B8"], (2048, 1536)),
        ("EMULATOR/TYPES", None, (1300, 1111)),
    ],
)
def test_a_level_is_what_the_service_answers_for_pixels_of_its_size(emulator, tmp_path, asset, bands, size):
    source = {"asset": asset, **({"bands": bands} if bands else {})}
    region = {"window": {"column": 0, "row": 0, "width": size[0], "height": size[1]}}
    fine, coarse = tmp_path / "fine.zarr", tmp_path / "coarse.zarr"
    done = run(emulator, tmp_path, fine, source=source, region=region, mosaic={"overviews": True})
    assert done.status == 0, done
    here = zarr.open_group(fine, mode="r")["overviews"]
    levels = sorted(map(int, here.group_keys()))
    assert levels == [2, 4]
    for level in levels:
        name = next(name for name, array in here[str(level)].arrays() if array.attrs.get("band"))
        transform = here.attrs["multiscales"]["layout"][levels.index(level)]["spatial:transform"]
        height, width = here[f"{level}/{name}"].shape
        done = run(
            emulator,
            tmp_path,
            coarse,
            source=source,
            region={"window": {"column": 0, "row": 0, "width": width, "height": height}},
            grid={"transform": transform},
        )
        assert done.status == 0, (level, done)
        there = zarr.open_group(coarse, mode="r")
        # A last odd row or column is the one place where the service may know pixels beyond the region.
        inner = (slice(0, size[1] // level), slice(0, size[0] // level))
        for name, array in there.arrays():
            if array.attrs.get("band"):
                np.testing.assert_array_equal(here[f"{level}/{name}"][inner], array[inner], err_msg=name)
        shutil.rmtree(coarse)


def test_groups_follow_their_own_policies_and_a_rerun_leaves_them(emulator, tmp_path):
    mosaic = tmp_path / "mosaic.zarr"
    sections = {
        "source": {"asset": job(emulator)["source"]["asset"], "bands": ["B2", "B5", "QA60"]},
        "region": {"window": {"column": 0, "row": 0, "width": 1500, "height": 1200}},
        "mosaic": {"overviews": True},
    }
    done = run(emulator, tmp_path, mosaic, **sections)
    assert done.status == 0, done
    fine = json.loads((mosaic / "overviews/10m/zarr.json").read_text())["attributes"]["multiscales"]["layout"]
    assert [entry["asset"] for entry in fine] == ["2", "4"]
    assert fine[1]["resampling_method"] == "average"
    assert set(zarr.open_group(mosaic / "overviews/20m", mode="r").group_keys()) == {"2"}
    before = (mosaic / "overviews/10m/2/B2/c/0/0").stat().st_mtime_ns
    made = command("run", tmp_path / "job.yaml")
    assert (made.status, "overviews" in made.err) == (0, False), made
    assert (mosaic / "overviews/10m/2/B2/c/0/0").stat().st_mtime_ns == before
    report = downloader.download(tmp_path / "job.yaml", progress=False)
    assert report.open("10m", level=4)["B2"].shape == (300, 375)
    assert not any(name.startswith("overviews") for name in report.open_tree().children)
    (mosaic / "overviews/10m/2/B2/c/0/0").unlink()
    made = command("run", tmp_path / "job.yaml")
    assert "overviews 10m: 1/2 … 1/4" in made.err, made
    assert (mosaic / "overviews/10m/2/B2/c/0/0").exists()
    assert command("verify", mosaic).status == 0
    assert command("status", mosaic).status == 0


def test_categories_are_not_averaged(emulator, tmp_path):
    """QA60's policy is SAMPLE in the catalogue, and a mosaic knows it without asking again."""
    mosaic = tmp_path / "mosaic.zarr"
    asset = job(emulator)["source"]["asset"]
    done = run(emulator, tmp_path, mosaic, source={"asset": asset, "bands": ["QA60"]}, region={})
    assert done.status == 0, done
    made = downloader.overviews(mosaic)
    assert made.policies == {"": {"QA60": "SAMPLE"}}
    base = zarr.open_group(mosaic, mode="r")["QA60"][:]
    np.testing.assert_array_equal(zarr.open_group(mosaic, mode="r")["overviews/2/QA60"][:], base[::2, ::2])


async def test_asked_to_stop_meanwhile_all_pixels_are_saved(emulator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stop = downloader.Stop()
    from downloader.mosaic.overviews import build

    made_shard = build.make_shard

    def make_shard(*arguments, **options):
        stop.ask("enough")
        return made_shard(*arguments, **options)

    monkeypatch.setattr(build, "make_shard", make_shard)
    values = job(emulator, tmp_path / "m", mosaic={"overviews": True})
    with pytest.raises(downloader.StoppedError, match="the overviews are not finished") as caught:
        await downloader.adownload(values, stop=stop)
    assert caught.value.report.tiles_stored == 64
    monkeypatch.undo()
    report = await downloader.adownload(values)
    assert report.requests == 0
    assert report.open(level=4)["B2"].shape == (512, 512)


def test_samples_have_none(emulator, tmp_path):
    (tmp_path / "points.csv").write_text("lon,lat\n-122.1,37.4\n")
    values = job(
        emulator,
        tmp_path / "m",
        source={"asset": job(emulator)["source"]["asset"], "bands": ["B2"]},
        region={"points": {"file": str(tmp_path / "points.csv"), "chip": 64}},
        mosaic={"overviews": True},
    )
    with pytest.raises(JobError, match="samples have none"):
        downloader.download(values)
    del values["mosaic"]["overviews"]
    downloader.download(values, progress=False)
    with pytest.raises(JobError, match="holds samples"):
        downloader.overviews(tmp_path / "m")
    with pytest.raises(JobError, match="choose a chip with slice"):
        downloader.export(tmp_path / "m", tmp_path / "a.tif")
    (chip,) = downloader.export(tmp_path / "m", tmp_path / "a.tif", slice=0)
    assert (chip.width, chip.height) == (64, 64)
    import rasterio

    there = zarr.open_group(tmp_path / "m", mode="r")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), there["B2"][0])
        a, b, c, d, e, f = there["transform"][0]
        assert tuple(dataset.transform)[:6] == (a, b, c, d, e, f)
        assert dataset.tags()["IMAGE_ID"] == there["image_id"][0]
