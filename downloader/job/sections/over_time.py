"""`source.reduce`, and what is written in place of keys that `every` and `reduce` replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from downloader.expressions.reducers import REDUCERS, parse_reducer


def _reducer(value: Any) -> Any:
    if value is not None:
        parse_reducer(value, "source.reduce")
    return value


Reduce = Annotated[
    str | dict[str, str] | None,
    AfterValidator(_reducer),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(REDUCERS)},
                {"type": "string", "pattern": "^p([0-9]{1,2}|100)$"},
                {
                    "type": "object",
                    "propertyNames": {"enum": ["least", "most"]},
                    "additionalProperties": {"type": "string"},
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    ),
]
"""Value of `source.reduce`."""


def replaced_keys(source: Any) -> dict[str, str]:
    """Return key → what to write in its place, of the keys of `source` that are no more."""
    if not isinstance(source, Mapping):
        return {}
    found = {}
    if "composite" in source:
        found["composite"] = f"is written in source itself: {_flat(source['composite'])}"
    if "group_by" in source:
        by = source["group_by"]
        found["group_by"] = (
            "is what every: image means, the default; leave it out"
            if by == "image"
            else f"is called every now; write every: {by} and reduce: first"
        )
    if "index" in source:
        found["index"] = f"is a band with a formula; write bands: [{_index(source['index'])}]"
    return found


def _flat(composite: Any) -> str:
    given = dict(composite) if isinstance(composite, Mapping) else {}
    reduce = {"mosaic": "last"}.get(str(given.get("reduce")), given.get("reduce", "median"))
    lines = {key: given[key] for key in ("collection", "start", "end", "filter") if key in given}
    lines |= {"every": "all", "reduce": reduce}
    if isinstance(mask := given.get("mask"), Mapping):
        lines["mask"] = "{" + ", ".join(f"{key}: {value}" for key, value in mask.items()) + "}"
    if "index" in given:
        lines["bands"] = f"[…, {_index(given['index'])}]"
    return ", ".join(f"{key}: {value}" for key, value in lines.items())


def _index(pair: Any) -> str:
    a, b = pair if isinstance(pair, list | tuple) and len(pair) == 2 else ("B8", "B4")
    return f"{{nd: ({a} - {b}) / ({a} + {b})}}"
