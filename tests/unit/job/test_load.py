"""Jobs from files and arguments, and the place of a mistake in its file."""

import pytest

from downloader.errors import JobError, MissingExtraError
from downloader.job import Job
from downloader.job.load import as_job, load, located

JOB = """\
source:
  asset: a/b
region:
  bbox: [0, 0, 1, 1]
mosaic: {path: out}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def raised(error, file, overrides=()):
    with pytest.raises(JobError) as caught, located(load(file, overrides)):
        raise error
    return str(caught.value)


def test_an_error_with_a_key_says_the_line_of_the_key(file):
    error = JobError("lies outside the image", key="region.bbox")
    assert raised(error, file) == f"{file}, line 4: region.bbox: lies outside the image"


def test_a_key_that_the_file_leaves_out_is_found_at_its_section(file):
    error = JobError("is wrong", key="region.buffer")
    assert raised(error, file) == f"{file}, line 3: region.buffer: is wrong"
    assert raised(JobError("is wrong", key="grid"), file) == f"{file}: grid: is wrong"


def test_a_key_of_the_command_line_is_named_once(file):
    error = JobError("lies outside the image", key="region.bbox")
    assert raised(error, file, ["region.bbox=[2, 2, 3, 3]"]) == "--set region.bbox: lies outside the image"


def test_other_errors_and_errors_with_a_place_stay_as_they_are(file):
    assert raised(JobError("region.bbox: only text"), file) == "region.bbox: only text"
    known = JobError("is wrong", key="grid")
    known.where = "other.yaml, line 1"
    assert raised(known, file) == "other.yaml, line 1: grid: is wrong"
    assert "pip install" in raised(MissingExtraError("this", "dask"), file)


def test_a_file_that_is_gone_hides_no_error(file):
    job = load(file)
    file.unlink()
    with pytest.raises(JobError, match=r"job\.yaml, line 4: region\.bbox: is wrong"), located(job):
        raise JobError("is wrong", key="region.bbox")


def test_a_job_that_no_file_holds_has_no_lines():
    made = Job.model_validate({"source": {"asset": "a/b"}, "mosaic": {"path": "out"}})
    with pytest.raises(JobError, match=r"^grid: is wrong"), located(made):
        raise JobError("is wrong", key="grid")


def test_a_job_error_survives_its_way_to_another_process():
    import pickle

    error = JobError("is wrong", key="grid.crs")
    error.where = "job.yaml, line 1"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.key, again.message) == (str(error), "grid.crs", "is wrong")


def test_a_job_comes_from_a_file_a_mapping_or_itself(file):
    job = load(file)
    values = {"source": {"asset": "a/b"}, "region": {"bbox": [0, 0, 1, 1]}, "mosaic": {"path": "out"}}
    assert as_job(file) == as_job(str(file)) == as_job(values) == as_job(job) == Job.from_dict(values) == job


def test_a_mistake_of_one_key_carries_it():
    with pytest.raises(JobError) as caught:
        Job.parse(
            "source: {asset: a}\nmosaic: {path: o}\nregion: {all_touched: true, geometry: {type: Point}}"
        )
    assert caught.value.key == "region.all_touched"
    assert caught.value.where == "job, line 3"


def test_keys_of_source_are_keywords_of_a_call() -> None:
    made = as_job(
        "COPERNICUS/S2_SR_HARMONIZED", "m.zarr", start="2017-04-01", end="2017-06-01", mask="clouds",
        bands=["B4", {"ndvi": "(B8 - B4) / (B8 + B4)"}], every="month", reduce="median",
        region={"bbox": [0, 0, 1, 1]},
    )  # fmt: skip
    assert made.source.collections == ("COPERNICUS/S2_SR_HARMONIZED",)
    assert made.source.band_names == ("B4", "ndvi")
    assert (made.source.every, made.source.reduce, made.source.mask) == ("month", "median", "clouds")
    assert as_job("A/B", "m.zarr", bands=["B4"], scale="catalog").source.asset == "A/B"
