"""Configs that run as they are, and the page that lists every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from downloader import Job
from downloader.api import load_job
from tests.harness import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
PAGE = (ROOT / "docs" / "job.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_load_dump_load_is_the_identity(path):
    job = load_job(path)
    again = Job.parse(job.dump(), base=path.parent)
    assert again == job
    assert again.dump() == job.dump()
    assert "${" not in job.dump()


def test_the_configs_are_the_ones_that_are_told_of():
    assert {"quickstart", "one_scene", "real_account"} <= {path.stem for path in CONFIGS}
    quickstart, real = (
        load_job(ROOT / "configs" / f"{name}.yaml") for name in ("quickstart", "real_account")
    )
    assert (quickstart.source, quickstart.region) == (real.source, real.region)
    assert real.service.endpoint == "auto"
    changed = set(real.model_fields_set) - set(quickstart.model_fields_set)
    assert changed == {"auth"}, "nothing but project and key"
    assert real.service.model_fields_set == {"project"}


def keys(model: type[BaseModel] = Job, prefix: str = "") -> set[str]:
    """Every key that a job file may hold."""
    found = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        found.add(f"{prefix}{field.alias or name}")
        for kind in nested:
            found |= keys(kind, f"{prefix}{field.alias or name}.")
    return found


def told() -> set[str]:
    """Keys that the page names, in its table or in its text."""
    return set(re.findall(r"`([a-z_.]+)", PAGE))


def test_the_page_names_every_key():
    """A key of a section is told as `section.key`, or as `key` on a line about its section."""
    names = told()
    missing = set()
    for key in keys():
        section, _, last = key.rpartition(".")
        about = [line for line in PAGE.splitlines() if f"`{section}" in line or not section]
        if key not in names and last not in {word for line in about for word in re.findall(r"[a-z_]+", line)}:
            missing.add(key)
    sections = {key for key in missing if any(other.startswith(f"{key}.") for other in keys())}
    assert missing - sections == set()


def test_the_page_names_no_other_key():
    known = keys()
    table = set(re.findall(r"^\| `([a-z_]+\.[a-z_.]+)`", PAGE, re.MULTILINE))
    assert table
    assert table <= known, table - known


@pytest.mark.parametrize("number", range(len(re.findall(r"^```yaml", PAGE, re.MULTILINE))))
def test_examples_of_the_page_load(number, tmp_path):
    block = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[number]
    path = Path(tmp_path / "job.yaml")
    path.write_text(block)
    assert load_job(path).mosaic.path
