"""Keywords of the library's calls: every key of the job file that means one thing, where the job file has it."""

from __future__ import annotations

import pytest

from downloader.errors import JobError
from downloader.job import Job
from downloader.job.keywords import JobKeywords, sections_of
from downloader.job.load import as_job
from downloader.model.image import Image


def test_every_keyword_is_a_key_of_the_job_file() -> None:
    keys = {
        key for field in Job.model_fields.values() for key in getattr(field.annotation, "model_fields", {})
    }
    assert set(JobKeywords.__annotations__) <= keys | set(Job.model_fields)
    assert {"bands", "start", "mask", "every", "reduce", "region", "scale", "crs"} <= set(
        JobKeywords.__annotations__
    )


@pytest.mark.parametrize("key", ["asset", "path", "none", "emulator"])
def test_keys_that_say_too_little_alone_stay_in_their_sections(key: str) -> None:
    with pytest.raises(JobError, match=f"^{key}: is no keyword"):
        sections_of({key: 1})


def test_flat_keywords_are_the_job_of_the_same_keys() -> None:
    job = as_job(
        "COPERNICUS/S2_SR_HARMONIZED",
        "x.zarr",
        start="2019-01-01",
        end="2020-01-01",
        mask="clouds",
        bands=["B4", {"ndvi": "(B8 - B4) / (B8 + B4)"}],
        every="month",
        reduce="median",
        region=[-122.2, 37.4, -122.1, 37.5],
        crs="EPSG:32610",
        scale=10,
        nodata=0,
        concurrency=7,
        endpoint="emulator",
        tiles=4,
    )
    assert job == Job.from_dict(
        {
            "source": {
                "collection": "COPERNICUS/S2_SR_HARMONIZED",
                "start": "2019-01-01",
                "end": "2020-01-01",
                "mask": "clouds",
                "bands": ["B4", {"ndvi": "(B8 - B4) / (B8 + B4)"}],
                "every": "month",
                "reduce": "median",
            },
            "region": {"bbox": [-122.2, 37.4, -122.1, 37.5]},
            "grid": {"crs": "EPSG:32610", "scale": 10},
            "mosaic": {"path": "x.zarr", "nodata": 0},
            "limits": {"concurrency": 7},
            "service": {"endpoint": "emulator"},
            "request": {"tiles": 4},
        }
    )


def test_a_scale_in_words_is_the_catalogues() -> None:
    assert sections_of({"scale": "catalog"}) == {"source": {"scale": "catalog"}}
    assert sections_of({"scale": 30}) == {"grid": {"scale": 30}}
    assert sections_of({"scale": [30, 20], "grid": {"crs": "utm"}}) == {
        "grid": {"crs": "utm", "scale": [30, 20]}
    }


@pytest.mark.parametrize("keywords", [{"scale": 10, "grid": {"scale": 20}}, {"scale": 10, "grid": "native"}])
def test_a_key_given_twice_is_refused(keywords: dict) -> None:
    with pytest.raises(JobError, match=r"scale=10 and grid=.* are given; write one"):
        as_job("A", "x.zarr", **keywords)


def test_what_is_no_key_is_refused_with_what_is_near() -> None:
    with pytest.raises(JobError, match=r"^bandz: is no keyword of this call; did you mean bands\?$"):
        as_job("A", "x.zarr", bandz=["B4"])


def test_images_that_were_found_can_be_fetched() -> None:
    one, two = (Image(f"projects/earthengine-public/assets/C/{n}", f"C/{n}", ()) for n in "ab")
    box = [0, 0, 1, 1]
    assert as_job(one, "x.zarr").source.asset == "C/a"
    assert as_job([one, two], "x.zarr", region=box).source.images == ("C/a", "C/b")
    assert as_job(["C/a", "C/b"], "x.zarr", region=box).source.images == ("C/a", "C/b")
    merged = as_job(["A", "B"], "x.zarr", start="2019-01-01", end="2020-01-01", region=box)
    assert merged.source.collection == ("A", "B")
    dem = as_job("D", "x.zarr", every="all", reduce="first", region=box)
    assert dem.source.collection == "D"
    with pytest.raises(JobError, match="give the path of the mosaic"):
        as_job([one, two])
