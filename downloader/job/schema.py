"""JSON Schema of the job file, by which editors complete and check it.

It says what the models say, in the form that editors understand best: one document without references, defaults as
people write them, `${VAR}` wherever a value may stand. Only the loader checks what a catalogue or a library knows, such
as whether a band or a CRS exists.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib import resources
from itertools import combinations, pairwise
from typing import Any, Final

from pydantic import TypeAdapter

from downloader.job.job import Job
from downloader.job.sections.base import Section
from downloader.job.sections.grid import KINDS as GRID_KINDS
from downloader.job.sections.region import KINDS as REGION_KINDS
from downloader.job.sections.source import KINDS as SOURCE_KINDS
from downloader.job.sections.source import OF_LISTING
from downloader.job.units import Duration, Size

SCHEMA_ID: Final = "urn:earthengine-downloader:job"
"""Name of the schema; no address, as every copy of one version is the same."""

_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
"""The draft that all editors know."""

_VARIABLE: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
"""A value that the environment brings in."""

_UNITS: Final[Mapping[str, TypeAdapter[Any]]] = {"size": TypeAdapter(Size), "duration": TypeAdapter(Duration)}
"""Format → how its values are shown."""

_HEADING: Final = ("title", "description", "default", "examples")
_PLAIN: Final = ("integer", "number", "boolean")

_SHORT: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "grid": [{"enum": ["native"]}],
    "auth": [{"enum": ["application_default", "earthengine", "none"]}],
    "executor": [{"enum": ["local"]}],
    "source.bands": [{"enum": ["all"]}],
    "source.mask": [{"enum": ["none"]}, {"type": "object", "required": ["band"]}],
    "source.pick": [{"enum": ["all"]}],
    "region.fields": [{"type": "string"}],
    "region": [
        {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        {"type": "object", "required": ["type", "coordinates"]},
    ],
}
"""Section → schemas of the short forms that may stand in its place."""

_OF_IMAGES: Final = ("collection", "expression")
"""Sources that hold a list of images."""
_METHODS: Final = ("key_file", "access_token_env", "access_token_command")


def _one_of(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"required": [name]} for name in names]


def _not_together(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"not": {"required": list(pair)}} for pair in combinations(names, 2)]


_RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "": {
        "if": {"properties": {"source": {"required": ["asset"]}}, "required": ["source"]},
        "else": {"required": ["region"]},
    },
    "source": {
        "oneOf": _one_of(SOURCE_KINDS),
        "dependencies": {
            "start": {"required": ["end"], "anyOf": _one_of(_OF_IMAGES)},
            "end": {"required": ["start"], "anyOf": _one_of(_OF_IMAGES)},
            "filter": ["collection"],
            **{name: {"anyOf": _one_of(_OF_IMAGES)} for name in OF_LISTING},
        },
    },
    "region": {"allOf": _not_together(REGION_KINDS)},
    "grid": {"allOf": _not_together(GRID_KINDS)},
    "auth": {"allOf": _not_together(_METHODS)},
    "executor.dask": {"oneOf": _one_of(("scheduler", "workers"))},
}
"""Section → rules between its keys."""


@cache
def _built() -> dict[str, Any]:
    models = Job.model_json_schema()
    document: dict[str, Any] = _shown(models, "", models.get("$defs", {}))
    _add_sources(document)
    return {
        "$schema": _DRAFT,
        "$id": SCHEMA_ID,
        **document,
        "title": "Job of earthengine-downloader",
        "description": "What to fetch from Earth Engine, and the Zarr mosaic that it becomes.",
    }


@cache
def _examples() -> dict[str, list[Any]]:
    """Return key → values that an editor may offer; a test loads each."""
    found: dict[str, list[Any]] = json.loads(
        resources.files(__package__).joinpath("examples.json").read_text("utf-8")
    )
    return found


def _add_sources(document: dict[str, Any]) -> None:
    """Add `sources` beside `source`: each has the keys of one, and some of other sections."""
    sections = document["properties"]
    region = sections["region"]["anyOf"][-1]["properties"]
    own = {
        "grid": sections["grid"],
        "chip": region["points"]["properties"]["chip"],
        "nodata": sections["mosaic"]["properties"]["nodata"],
    }
    entry = {name: value for name, value in sections["source"].items() if name not in _HEADING}
    entry["properties"] = {**entry["properties"], **own}
    document["properties"] = {
        "source": sections["source"],
        "sources": {
            "title": "sources",
            "description": "Several sources in place of one: name → keys as of `source`, and `grid`, `chip`, `nodata` of its own.",
            "type": "object",
            "additionalProperties": entry,
        },
        **sections,
    }
    document["required"] = [name for name in document["required"] if name != "source"]
    document["oneOf"] = _one_of(("source", "sources"))


def job_schema() -> dict[str, Any]:
    """Return the schema of a job file, draft 7: titles, descriptions, defaults, choices and examples of every key."""
    return deepcopy(_built())


@cache
def _docstrings(model: str) -> dict[str, str]:
    """Return key → the text below it, of a section. Pydantic would look for these whenever the sections are imported."""
    sections: list[type[Section]] = [Section]
    for section in sections:
        sections += section.__subclasses__()
    found = {}
    for section in sections:
        if section.__name__ == model:
            (written,) = ast.parse(inspect.getsource(section)).body
            for pair in pairwise(written.body if isinstance(written, ast.ClassDef) else ()):
                match pair:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str() as text)):
                        found[name] = inspect.cleandoc(text)
    return found


def _shown(node: Mapping[str, Any], key: str, models: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node of pydantic's schema as editors want it; `key` is its place in a job file."""
    told = dict(node)
    if reference := told.pop("$ref", None):
        told = {**models[str(reference).rpartition("/")[2]], **told}
    default = told.pop("default", None)
    heading: dict[str, Any] = {"title": key} if key else {}
    if "description" in told:
        summary = told.pop("description").partition("\n\n")[0]  # what follows is for readers of the code
        heading["description"] = re.sub(r"\s*\n\s*", " ", summary)
    # `null` is accepted for optional keys at run time, but an empty key is usually a forgotten value.
    bare = [_bare(branch, key, models) for branch in _branches(told)]
    bare = [*map(dict, _SHORT.get(key, ())), *bare]
    if default is not None and not isinstance(default, (dict, list)):
        units = [_UNITS[one["format"]] for one in bare if one.get("format") in _UNITS]
        heading["default"] = units[0].dump_python(default, mode="json") if units else default
    if key in _examples():
        heading["examples"] = _examples()[key]
    return {**heading, **_choice(bare)}


def _branches(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the alternatives of a node, without null."""
    parts = node.get("anyOf", node.get("oneOf"))
    if parts is None:
        return [] if node.get("type") == "null" else [node]
    return [branch for part in parts for branch in _branches(part)]


def _bare(node: Mapping[str, Any], key: str, models: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constraints of a node without its heading; its parts keep theirs."""
    told = dict(node)
    if reference := told.pop("$ref", None):
        told = dict(models[str(reference).rpartition("/")[2]])
    texts = _docstrings(told.get("title", ""))
    for gone in (*_HEADING, "$defs", "gt", "ge", "lt", "le"):
        told.pop(gone, None)

    def inside(child: Mapping[str, Any]) -> dict[str, Any]:
        shown = _shown(child, f"{key}[]", models)
        return {name: value for name, value in shown.items() if name not in _HEADING}

    if "properties" in told:
        told["properties"] = {
            name: _shown(
                {"description": texts[name], **child} if name in texts else child,
                f"{key}.{name}".lstrip("."),
                models,
            )
            for name, child in told["properties"].items()
        }
        told |= _RULES.get(key, {})
    if "const" in told:
        told["enum"] = [told.pop("const")]
    if "prefixItems" in told:  # as it was called before draft 2020-12
        told["items"] = [inside(item) for item in told.pop("prefixItems")]
    for name in ("items", "additionalProperties"):
        if isinstance(told.get(name), Mapping):
            told[name] = inside(told[name])
    return told


def _choice(branches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return any of the branches; instead of a number, a truth value or a choice also a variable of the environment."""
    texts = any(branch.get("type") == "string" and "enum" not in branch for branch in branches)
    plain = any("enum" in branch or branch.get("type") in _PLAIN for branch in branches)
    if plain and not texts:
        branches = [*branches, dict(_VARIABLE)]
    return branches[0] if len(branches) == 1 else {"anyOf": branches}
