"""Turn pydantic's errors into sentences: one line for each mistake, with file, line, key, value and fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from downloader.errors import JobError
from downloader.job.yaml import Document, dotted
from downloader.text import cut, first_lines

_SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""

_MISTAKES: Final = 10
"""Lines that one message has at most."""

_FIXES: Final = {
    "string_type": "write text",
    "string_too_short": "must not be empty",
    "int": "write a whole number",
    "int_parsing_size": "is too large a number",
    "float": "write a number",
    "finite_number": "write a finite number",
    "bool": "write true or false",
    "too_short": "must not be empty",
    "tuple_type": "write a list, such as [a, b]",
    "dict_type": "write keys and values, such as {{KEY: VALUE}}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "write {expected}",
}
"""Type of pydantic's error, or its first word → what to write."""

_INSTEAD: Final = {
    "source.composite": "is written in source itself: every: all and a reducer, such as reduce: median",
    "source.group_by": "is called every; write it with a reducer, such as every: day and reduce: first",
    "source.index": "is a band with a formula; write bands: [{ndvi: (B8 - B4) / (B8 + B4)}]",
    "region.asset": "a table of features is no region here; export it as GeoJSON, and name the file in region.file",
    "region.point": "a point has no area; write a box around it, region.bbox: [west, south, east, north], or name a file of "
    "points in region.points",
}
"""Keys that users expect → what to write."""


def explain(model: type[BaseModel], errors: list[ErrorDetails], document: Document) -> JobError:
    """Return one error for all mistakes of a job, a line each; of several on one key the first is kept."""
    found: dict[str | None, JobError] = {}
    for error in errors:
        if error["type"] == "too_short" and any(_is_within(other, error) for other in errors):
            continue  # pydantic counts what is right of a list; what is wrong is told by itself
        if _is_number(error) and not all(map(_is_number, errors)):
            continue  # a list without its brackets: YAML takes all but its first number for keys
        told = _explain(model, error, document)
        found.setdefault(told.key, told)
    if len(found) == 1:
        return next(iter(found.values()))
    return JobError("\n".join(first_lines(list(map(str, found.values())), _MISTAKES, "more like these")))


def _is_number(error: ErrorDetails) -> bool:
    """Return whether a key that is unknown is a number."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    return error["type"] == "extra_forbidden" and name.lstrip("-").replace(".", "", 1).isdigit()


def _is_within(error: ErrorDetails, outer: ErrorDetails) -> bool:
    return len(error["loc"]) > len(outer["loc"]) and error["loc"][: len(outer["loc"])] == outer["loc"]


def _explain(model: type[BaseModel], error: ErrorDetails, document: Document) -> JobError:
    path = tuple(
        part
        for part in error["loc"]
        if not (isinstance(part, str) and part.startswith(("function-", "tag-")))
    )
    if error["type"] == "extra_forbidden":
        return document.error(path, _INSTEAD.get(dotted(path)) or f"unknown key; {_known(model, path)}")
    if error["type"] == "missing":
        section = "source: {asset: …} and mosaic: {path: …}" if len(path) == 1 else dotted(path[:-1])
        what = f"every job needs {section}" if len(path) == 1 else f"{section} needs it"
        return document.error(path, f"is missing; {what}")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, JobError) and cause.key is not None:
        path = tuple(int(part) if part.isdigit() else part for part in cause.key.split("."))
        real, value = _value_at(document.values, path)
        return document.error(path, (_shown(path, value) if real == path else "") + cause.message)
    # The value as written: what a variable brought in may be a secret.
    path, value = _value_at(document.values, path)
    fix, shown = _fix(model, error, path, value), _shown(path, value)
    return document.error(
        path, fix if isinstance(value, str) and shown and shown[:-2] in fix else shown + fix
    )


def _fix(model: type[BaseModel], error: ErrorDetails, path: tuple[str | int, ...], value: Any) -> str:
    if error["type"] in {"model_type", "model_attributes_type"}:
        what = "is empty; leave it out, or give it keys" if value is None else "needs keys under it"
        return f"{what}: {', '.join(_section(model, path).model_fields)}"
    if value is None:
        return "is empty; give it a value, or leave it out"
    if error["type"] == "string_type" and isinstance(value, (int, float)):
        return "write text; put it in quotes"
    if found := _FIXES.get(error["type"]) or _FIXES.get(error["type"].partition("_")[0]):
        return found.format_map(error.get("ctx", {}))
    cause = error.get("ctx", {}).get("error")
    message = str(cause or error["msg"])
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _shown(path: tuple[str | int, ...], value: Any) -> str:
    """Return the wrong value, unless it may be a secret or is too much to repeat."""
    if path[:1] == ("auth",) or value is None or isinstance(value, (dict, list)):
        return ""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    # What a URL may carry beside its address: credentials before it, a signature behind it.
    text = re.sub(r"(://[^?\s]*\?)[^'\"\s]+", r"\1…", re.sub(r"//[^/@\s]*@", "//…@", text))
    return f"{cut(text, _SHOWN)}: "


def _known(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    """Return a hint to what may have been meant by an unknown key."""
    name, here = str(path[-1]), list(_section(model, path[:-1]).model_fields)
    meant = [
        *difflib.get_close_matches(name, here, n=1, cutoff=0.7),
        *(dotted(key) for key in _every_key(model, ()) if key[-1] == name),
        *difflib.get_close_matches(name, here, n=1, cutoff=0.5),
    ]
    return f"did you mean {meant[0]}?" if meant else f"known here: {', '.join(here)}"


def _every_key(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*path, name)
        if nested := _nested(field.annotation):
            yield from _every_key(nested, (*path, name))


def _section(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the model of the section at `path`."""
    for part in path:
        field = model.model_fields.get(str(part))
        nested = _nested(field.annotation) if field else None
        if nested is None:
            break
        model = nested
    return model


def _nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    # Unions, and what is annotated; not the members of a list.
    inner = () if get_origin(annotation) is tuple else getattr(annotation, "__args__", ())
    return next(filter(None, map(_nested, inner)), None)


def _value_at(values: Any, path: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Any]:
    """Return the longest part of `path` that exists in `values` (steps inside the validator do not), and its value."""
    for depth, part in enumerate(path):
        known = range(len(values)) if isinstance(values, list) else values if isinstance(values, dict) else ()
        if part not in known:
            return path[:depth], values
        values = values[part]
    return path, values
