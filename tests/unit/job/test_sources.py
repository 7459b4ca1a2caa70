"""`sources` of the job file."""

from __future__ import annotations

import jsonschema
import pytest

from downloader import job_schema
from downloader.errors import JobError
from downloader.job.load import as_job, as_jobs, load
from downloader.job.sources import Sources
from downloader.job.yaml import parse

GOOD = """\
sources:
  s2: {collection: X, start: 2017-04-01, end: 2017-05-01, bands: [B4], nodata: 0}
  dem: {asset: Y, grid: {scale: 30}, chip: 3}
region: {points: {file: p.csv, chip: 9}}
grid: {scale: 10}
mosaic: {path: out/m.zarr, nodata: 7}
"""


def test_each_source_is_a_job_with_its_own_keys(tmp_path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD)
    found = load(tmp_path / "job.yaml", ["sources.s2.bands=[B8]", "limits.concurrency=3"])
    assert isinstance(found, Sources)
    assert found.mosaic_path == tmp_path / "out" / "m.zarr"
    s2, dem = found.jobs["s2"], found.jobs["dem"]
    assert (s2.source.band_names, s2.mosaic.nodata, s2.grid.scale) == (("B8",), 0, (10, 10))
    assert (dem.grid.scale, dem.mosaic.nodata, dem.region.points.chip) == ((30, 30), 7, 3)
    assert s2.region.points.chip == 9
    assert s2.mosaic_path == tmp_path / "out" / "m.zarr" / "s2"
    assert s2.limits.concurrency == dem.limits.concurrency == 3
    assert list(as_jobs(parse(GOOD, "job").values).jobs) == ["s2", "dem"]
    with pytest.raises(
        JobError, match=r"s2, dem: this takes one source; name the mosaic of one, such as .*m.zarr/s2"
    ):
        as_job(tmp_path / "job.yaml")


def test_the_schema_knows_them() -> None:
    check, values = jsonschema.Draft7Validator(job_schema()), parse(GOOD, "job").values
    check.validate(values)
    assert not check.is_valid({**values, "source": {"asset": "X"}})
    assert not check.is_valid({name: value for name, value in values.items() if name != "sources"})
    assert not check.is_valid({**values, "sources": {"a": {"asset": "X", "colour": 1}}})


def test_a_bucket_holds_them() -> None:
    values = parse(GOOD, "job").values | {"mosaic": {"path": "s3://bucket/m.zarr/"}}
    found = as_jobs(values)
    assert found.mosaic_path == "s3://bucket/m.zarr"
    assert found.jobs["dem"].mosaic_path == "s3://bucket/m.zarr/dem"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: {}", "line 1: sources: needs names with a source under each"),
        ("sources: {1a: {asset: X}}", "line 1: sources.1a: names a group: letters"),
        ("sources: {a: X}", "line 1: sources.a: needs keys under it"),
        ("sources: {a: {asset: X, bandz: [B]}}", "line 1: sources.a.bandz: unknown key"),
        ("sources: {a: {asset: X, grid: {scale: no}}}", "line 1: sources.a.grid.scale"),
        (
            "sources: {a: {asset: X, chip: 3}}",
            "line 1: sources.a.chip: goes with region.points or region.fields",
        ),
        ("sources: {a: {asset: X}}\nsource: {asset: X}", "line 2: source: and sources exclude each other"),
    ],
)
def test_mistakes_name_the_source(tmp_path, text, said) -> None:
    (tmp_path / "job.yaml").write_text(f"{text}\nmosaic: {{path: o}}\n")
    with pytest.raises(JobError) as caught:
        load(tmp_path / "job.yaml")
    assert said in str(caught.value)
