"""YAML text to plain values and back, with the line of each key kept for messages.

YAML 1.2 by ruamel.yaml, so that a band `NO` is a name; only plain mappings, sequences and scalars are made.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from downloader.errors import JobError

__all__ = ["Document", "dump", "expand", "parse", "parse_value"]

_MAX_NODES: Final = 100_000
"""A job file is small; more nodes than this come from aliases that multiply."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """A parsed job file."""

    values: dict[str, Any]
    """As written: `${VAR}` not replaced."""
    file: str
    """The name that messages use."""
    lines: dict[Path, int] = field(default_factory=dict)
    """Path of a key or item → its line, from 1."""

    def where(self, path: Path) -> str:
        """`file, line n` of the nearest key on the way to `path`."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}, line {self.lines[path]}" if path in self.lines else self.file


def parse(text: str | bytes, file: str) -> Document:
    """Parse a job file. Raises JobError naming file, line and what is wrong."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise JobError(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    try:
        root = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        found = re.search(r'duplicate key "([^"]*)"', str(error.problem))
        key = repr(found[1]) if found else "a key"
        raise JobError(f"{file}, line {line}: {key} stands there twice; keep one") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}, line {mark.line + 1}" if mark else file
        raise JobError(f"{where}: not readable as YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError) as error:
        raise JobError(f"{file}: not readable as YAML: {' '.join(str(error).split())[:200]}") from None
    if root is None:
        raise JobError(f"{file}: is empty; the smallest job names source, region and mosaic")
    if not isinstance(root, Mapping):
        raise JobError(
            f"{file}, line 1: a job is a mapping of keys such as source and mosaic, not {'a list' if isinstance(root, list) else 'one value'}"
        )
    document = Document({}, file)
    document.values = _plain(root, (), document, [_MAX_NODES])
    return document


def _plain(node: Any, path: Path, document: Document, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise JobError(
            f"{document.file}: aliases multiply to more than {_MAX_NODES:,} values; write the job out"
        )
    if isinstance(node, Mapping):
        values = {}
        for key, value in node.items():
            if not isinstance(key, str):
                key = str(key)  # noqa: PLW2901  # a band named 1 is still a name
            line = getattr(node, "lc", None)
            if line is not None and line.data and key in line.data:
                document.lines[(*path, key)] = line.data[key][0] + 1
            values[key] = _plain(value, (*path, key), document, budget)
        return values
    if isinstance(node, (list, tuple)):
        for index in range(len(node)):
            line = getattr(node, "lc", None)
            if line is not None and line.data and index in line.data:
                document.lines[(*path, index)] = line.data[index][0] + 1
        return [_plain(value, (*path, index), document, budget) for index, value in enumerate(node)]
    return _scalar(node, document.where(path))


def _scalar(node: Any, where: str) -> Any:
    if node is None or isinstance(node, bool):
        return node
    for kind in (str, int, float):
        if isinstance(node, kind):
            return kind(node)
    if hasattr(node, "isoformat"):
        return node.isoformat()
    raise JobError(f"{where}: {type(node).__name__} has no place in a job; use text, numbers, true or false")


def parse_value(text: str, what: str) -> Any:
    """One value of `--set KEY=VALUE`, read as YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="rt", pure=True).load(text)
    except YAMLError as error:
        raise JobError(f"{what}: not readable as YAML: {' '.join(str(error).split())[:200]}") from None
    return _plain(value, (), Document({}, what), [_MAX_NODES])


def expand(value: Any, path: Path, document: Document) -> Any:
    """`value` with every `${VAR}` replaced from the environment. Raises JobError where a variable is not set."""
    if isinstance(value, dict):
        return {key: expand(item, (*path, key), document) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, (*path, index), document) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            key = ".".join(map(str, path))
            raise JobError(
                f"{document.where(path)}: {key}: the environment has no variable {match[1]}; set it, or write the value"
            )
        return os.environ[match[1]]

    return _VARIABLE.sub(replacement, value)


def dump(values: Mapping[str, Any]) -> str:
    """YAML text that `parse` reads back as equal values."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keys keep the order they have
    yaml.width = 120
    out = io.StringIO()
    yaml.dump(dict(values), out)
    return out.getvalue()
