"""The JSON Schema of the job file: current, complete, and neither kinder nor stricter than the loader where both speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from downloader import Job, JobError, job_schema
from downloader.job.load import load
from downloader.job.template import schema_text
from downloader.job.yaml import parse
from tests.harness import ROOT

CHECK = jsonschema.Draft7Validator(job_schema())
PUBLISHED = ROOT / "docs" / "job.schema.json"
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

SMALL = {"source": {"asset": "A", "bands": ["B1"]}, "mosaic": {"path": "m.zarr"}}


def changed(**sections: object) -> dict[str, Any]:
    return {**SMALL, **sections}


def keys(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, what the schema says of it) of every key of a job."""
    for branch in [node, *node.get("anyOf", [])]:
        for name, child in branch.get("properties", {}).items():
            key = f"{path}.{name}".lstrip(".")
            yield key, child
            yield from keys(child, key)


def test_it_is_a_schema_and_needs_no_other_file() -> None:
    schema = job_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["$schema"].startswith("http://json-schema.org/draft-07")
    assert "$ref" not in schema_text()


def test_what_is_published_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), (
        "write it anew: downloader schema > docs/job.schema.json"
    )


def test_the_copy_that_is_given_away_is_nobody_elses() -> None:
    job_schema()["properties"].clear()
    assert job_schema()["properties"]


def test_every_key_says_what_it_is() -> None:
    found = dict(keys(job_schema()))
    assert {"source.asset", "limits.memory", "region.points.chip", "grid.crs", "auth.key_file"} <= set(found)
    for key, told in found.items():
        assert told["title"] == key
        assert told.get("description"), f"{key} needs a docstring in its model"
        assert "\n" not in told["description"]


def test_defaults_are_what_people_write() -> None:
    found = dict(keys(job_schema()))
    assert found["limits.memory"]["default"] == "1GiB"
    assert found["limits.give_up_after"]["default"] == "15m"
    assert found["limits.concurrency"]["default"] == 40
    assert found["mosaic.compressor"]["default"] == "lz4"


def test_defaults_and_examples_are_valid() -> None:
    for key, told in keys(job_schema()):
        values = [*told.get("examples", ()), *([told["default"]] if "default" in told else [])]
        for value in values:
            jsonschema.Draft7Validator(told).validate(value), key


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_valid(path: Path) -> None:
    CHECK.validate(parse(path.read_text("utf-8"), path.name).values)
    CHECK.validate(json.loads(json.dumps(load(path).model_dump(mode="json", exclude_unset=True))))


RIGHT = {
    "smallest": SMALL,
    "all bands": changed(source={"asset": "A", "bands": "all"}),
    "a size": changed(limits={"memory": "400MB", "max_time": "2h", "give_up_after": 30}),
    "a variable for a number": changed(limits={"concurrency": "${N}"}),
    "a variable for a choice": changed(mosaic={"path": "${WHERE}/m.zarr", "profile": "${PROFILE}"}),
    "grid native": changed(grid="native"),
    "one pixel size": changed(grid={"resolution": 20}),
    "two pixel sizes": changed(grid={"resolution": [20, 30], "crs": 32610}),
    "auth by a word": changed(auth="application_default"),
    "a collection": changed(
        source={"collection": "C", "start": "2017-04-01", "end": "2017-05-01"}, region={"bbox": [0, 0, 1, 1]}
    ),
    "a region of four numbers": changed(region=[0, 0, 1, 1]),
    "a region of GeoJSON": changed(region={"type": "Point", "coordinates": [0, 0]}),
    "picks": changed(
        source={
            "collection": "C",
            "start": "2017-04-01",
            "end": "2017-05-01",
            "mask": "clouds",
            "pick": {"clearest": 2, "per": "16d"},
        },
        region=[0, 0, 1, 1],
    ),
    "nodata by band": changed(mosaic={"path": "m", "nodata": {"B1": 0}}),
    "points": changed(region={"points": {"file": "p.csv", "chip": 64}}),
    "tiles": changed(request={"tiles": 4}),
}

WRONG = {
    "nothing": {},
    "no mosaic": {"source": {"asset": "A"}},
    "unknown section": changed(limit={}),
    "unknown key": changed(limits={"concurency": 4}),
    "a choice that is none": changed(mosaic={"path": "m", "compressor": "gzip"}),
    "a text for a number": changed(limits={"concurrency": "many"}),
    "too small a number": changed(limits={"concurrency": 0}),
    "a truth value for a number": changed(limits={"retries": True}),
    "no size": changed(limits={"memory": "much"}),
    "no duration": changed(limits={"max_time": "2 fortnights"}),
    "two sources": changed(source={"asset": "A", "images": ["B"]}),
    "no source": changed(source={"bands": ["B1"]}),
    "bands as text": changed(source={"asset": "A", "bands": "B1"}),
    "a band twice": changed(source={"asset": "A", "bands": ["B1", "B1"]}),
    "a collection with one date": changed(
        source={"collection": "C", "end": "2017-05-01"}, region={"bbox": [0, 0, 1, 1]}
    ),
    "dates without a collection": changed(source={"asset": "A", "start": "2017-04-01"}),
    "a collection without a region": changed(
        source={"collection": "C", "start": "2017-04-01", "end": "2017-05-01"}
    ),
    "three numbers for a box": changed(region={"bbox": [0, 0, 1]}),
    "three numbers for a region": changed(region=[0, 0, 1]),
    "a pick without a number": changed(
        source={
            "collection": "C",
            "start": "2017-04-01",
            "end": "2017-05-01",
            "mask": "clouds",
            "pick": {"per": "month"},
        },
        region=[0, 0, 1, 1],
    ),
    "two regions": changed(region={"bbox": [0, 0, 1, 1], "file": "a.geojson"}),
    "two grids": changed(grid={"resolution": 10, "like": "B1"}),
    "a word that is no grid": changed(grid="foreign"),
    "two ways to sign in": changed(auth={"key_file": "a", "access_token_env": "B"}),
    "an empty path": changed(mosaic={"path": ""}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_jobs_pass_both(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"N": "4", "WHERE": "out", "PROFILE": "plain"}.items():
        monkeypatch.setenv(variable, value)
    CHECK.validate(RIGHT[name])
    assert Job.from_dict(RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_wrong_jobs_pass_neither(name: str) -> None:
    assert list(CHECK.iter_errors(WRONG[name]))
    with pytest.raises(JobError):
        Job.from_dict(WRONG[name])
