"""Configs that run as they are, and the page that lists every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from downloader import Job
from downloader.job.load import load
from tests.harness import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
PAGE = (ROOT / "docs" / "job.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_load_dump_load_is_the_identity(path):
    job = load(path)
    again = Job.parse(job.dump(), base=path.parent)
    assert again == job
    assert again.dump() == job.dump()
    assert "${" not in job.dump()


def test_the_configs_are_the_ones_that_are_told_of():
    assert {"quickstart", "one_scene", "real_account"} <= {path.stem for path in CONFIGS}
    quickstart, real = (load(ROOT / "configs" / f"{name}.yaml") for name in ("quickstart", "real_account"))
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


def passages() -> list[str]:
    """Paragraphs, and rows of tables, of the page and of the one it leads to for sources."""
    pages = [PAGE, (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")]
    return [part for page in pages for part in re.split(r"\n\n|\n(?=\|)", page)]


def test_the_page_names_every_key():
    """As `section.key`, or as `key` in a passage about its section."""
    missing = set()
    for key in keys():
        *sections, last = key.split(".")
        section = sections[0] if sections else ""
        about = [part for part in passages() if f"`{section}" in part or f"{section}:" in part]
        if not any(last in re.findall(r"[a-z_]+", part) for part in about):
            missing.add(key)
    assert missing == set()


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
    assert load(path).mosaic.path
