"""`downloader init` as a new user meets it: what it writes runs, what is there stays, and a terminal is asked."""

from __future__ import annotations

import json

import jsonschema
import pytest

import downloader
from downloader import JobError, JobTemplate, RefusedError, init, job_schema
from downloader.job.load import load
from downloader.job.template import SCENE, SCHEMA_FILE
from downloader.job.yaml import parse
from tests.harness import command, compare
from tests.terminal import on_terminal


def test_what_it_writes_without_any_word_runs(tmp_path):
    file = tmp_path / "job.yaml"
    ended = command("init", file)
    assert ended.status == 0, ended
    assert ended.out == ""
    assert f"downloader run {file}" in ended.err
    assert file.read_text().startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
    jsonschema.Draft7Validator(json.loads((tmp_path / SCHEMA_FILE).read_text())).validate(
        parse(file.read_text("utf-8"), "job").values
    )
    ended = command("run", file, "-q")
    assert ended.status == 0, ended
    assert compare(tmp_path / "out" / "job.zarr") == 4 * 1024 * 1024


def test_what_exists_is_never_overwritten(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("mine")
    ended = command("init", file)
    assert ended.status == 5
    assert "never overwritten" in ended.err
    with pytest.raises(RefusedError):
        init(file)
    assert file.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_file_of_the_schemas_name_that_is_another_stays(tmp_path):
    (tmp_path / SCHEMA_FILE).write_text("{}")
    init(tmp_path / "a.yaml")
    assert (tmp_path / SCHEMA_FILE).read_text() == "{}"
    assert "$schema" not in (tmp_path / "a.yaml").read_text()
    (tmp_path / SCHEMA_FILE).write_text(json.dumps({"$id": job_schema()["$id"], "old": True}))
    init(tmp_path / "b.yaml")
    assert json.loads((tmp_path / SCHEMA_FILE).read_text()) == job_schema()


TEMPLATES = {
    "asset": JobTemplate(asset="USGS/SRTMGL1_003", bands=["elevation"]),
    "box": JobTemplate(bbox=(-122.12, 37.38, -122.04, 37.44)),
    "point": JobTemplate(point=(-122.085, 37.422), km=2),
    "collection": JobTemplate(
        collection="COPERNICUS/S2", start="2017-04-01", end="2017-05-01", point=(-122.085, 37.422)
    ),
    "account": JobTemplate(project="my-project", key_file="my key: 1.json", out="s3://bucket/m.zarr"),
    "strange words": JobTemplate(asset="null", bands=["NO", "1", "b: #", "all", "ß"], out="a b/#c.zarr"),
    "file": JobTemplate(asset="A", file="park.geojson"),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("file", ["job.yaml", "o'hare #1\n.yaml"])
def test_a_template_becomes_the_job_that_it_says(name, file, tmp_path):
    template = TEMPLATES[name]
    path = init(tmp_path / file, template, schema=False)
    assert sorted(tmp_path.iterdir()) == [path]
    job = load(path)
    jsonschema.Draft7Validator(job_schema()).validate(parse(path.read_text("utf-8"), "job").values)
    assert job.source.asset == (None if template.collection else template.asset or SCENE)
    assert job.source.collection == template.collection
    assert template.bands is None or job.source.bands == tuple(template.bands)
    assert template.out is None or job.mosaic.path == template.out
    assert (job.service.endpoint == "emulator") == template.on_emulator
    assert (job.service.project, job.auth.key_file) == (template.project, template.key_file)
    assert job.region.file == template.file
    if template.bbox:
        assert job.region.bbox == template.bbox
    if template.point:
        west, south, east, north = job.region.bbox
        assert (west + east) / 2 == pytest.approx(template.point[0], abs=1e-4)
        assert (north - south) * 111.32 == pytest.approx(template.km, abs=0.01)
        assert (east - west) == pytest.approx((north - south) / 0.794, rel=0.01)  # cos 37.4°


@pytest.mark.parametrize(
    ("template", "word"),
    [
        (JobTemplate(asset="A", collection="C", start="2017-04-01", end="2017-05-01"), "exclude each other"),
        (JobTemplate(collection="C", bbox=(0, 0, 1, 1)), "start and end"),
        (JobTemplate(collection="C", start="2017-04-01", end="2017-05-01"), "is needed"),
        (JobTemplate(asset="A", start="2017-04-01"), "collection"),
        (JobTemplate(bbox=(0, 0, 1, 1), point=(0, 0)), "one of"),
        (JobTemplate(bbox=(5, 0, 1, 1)), "bbox"),
        (JobTemplate(point=(0, 90)), "pole"),
    ],
)
def test_templates_that_make_no_job_are_refused(template, word, tmp_path):
    with pytest.raises(JobError, match=word):
        init(tmp_path / "job.yaml", template)
    assert list(tmp_path.iterdir()) == []


def test_paths_of_the_command_line_start_where_it_is_typed(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "park.geojson").write_text("{}")
    monkeypatch.chdir(tmp_path)
    ended = command("init", "jobs/a.yaml", "--file", "park.geojson", "--key-file", "k.json", "--no-schema")
    assert ended.status == 0, ended
    job = load(tmp_path / "jobs" / "a.yaml")
    assert job.resolve(job.region.file).resolve() == tmp_path / "park.geojson"
    assert job.resolve(job.auth.key_file).resolve() == tmp_path / "k.json"


@pytest.mark.parametrize("option", [("--bbox", "1,2,3"), ("--point", "a,b"), ("--bands",)])
def test_options_that_are_none(option, tmp_path):
    assert command("init", tmp_path / "job.yaml", *option).status == 2
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_asked(tmp_path):
    status, shown = on_terminal(
        "init",
        answers=[
            ("Synthetic", "emulator"),
            ("One image", "collection"),
            ("Collection", "COPERNICUS/S2"),
            ("From (UTC)", "2017-04-10"),
            ("To (exclusive)", ""),
            ("Bands", "B8,B4"),
            ("Where", "nowhere"),
            ("Where", "-122.085,37.422"),
            ("Mosaic", "here.zarr"),
        ],
        cwd=tmp_path,
    )
    assert status == 0, shown
    job = load(tmp_path / "job.yaml")
    assert (job.source.collection, job.source.start, job.source.end) == (
        "COPERNICUS/S2", "2017-04-10", "2017-05-01",
    )  # fmt: skip
    assert job.source.bands == ("B8", "B4")
    assert job.mosaic.path == "here.zarr"
    assert job.service.endpoint == "emulator"
    assert job.region.bbox is not None


def test_nobody_is_asked_with_yes(tmp_path):
    status, shown = on_terminal("init", "--yes", answers=[], cwd=tmp_path)
    assert status == 0, shown
    assert "?" not in shown
    assert load(tmp_path / "job.yaml").source.asset == SCENE


def test_schema_prints_one_document():
    ended = command("schema")
    assert ended.status == 0
    assert ended.document == downloader.job_schema()
