"""YAML text to plain values and back, with the line of each key kept for messages.

YAML 1.2 by ruamel.yaml, so that a band `NO` is a name; only plain mappings, sequences and scalars are made.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from downloader.errors import JobError
from downloader.job.regions import region_of
from downloader.model.expression import MAX_DEPTH, Serializable, load_expression
from downloader.text import cut

_MAX_NODES: Final = 100_000
"""A job file is small; more nodes than this come from aliases that multiply."""

_TEXT_OF_A_NODE: Final = 64
"""Characters that count as one more node: long texts multiply too."""

_MAX_DEPTH: Final = 24
"""Sections inside sections; what is deeper holds itself."""

_MAX_BRACKETS: Final = 400
"""Brackets inside brackets; the parser takes quadratic time over them."""

_EXPRESSION: Final = ("source", "expression")
"""The one key that may hold a graph: an object that serialises itself, a mapping, or its JSON text. It becomes that
text, canonical, in which nothing nests deeply."""

_MAX_GRAPH: Final = _MAX_DEPTH + 3 * MAX_DEPTH
"""Mappings inside mappings in a graph: a call has three for each argument."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """A parsed job file."""

    values: dict[str, Any]
    """As written: `${VAR}` not replaced."""
    file: str
    """Name for messages."""
    lines: dict[Path, int] = field(default_factory=dict)
    """Path of a key or item → its line, from 1."""
    overridden: list[Path] = field(default_factory=list)
    """Paths whose values came from `--set`, not from the file."""
    budget: int = _MAX_NODES
    """Nodes that may still be made."""
    origin: Mapping[Path, Path] = field(default_factory=dict)
    """Path in these values → its path in the file, where the values are a part of what the file holds."""

    def own(self, path: Path) -> Path:
        """Return a path as the file has it."""
        for made, written in self.origin.items():
            if path[: len(made)] == made:
                return written + path[len(made) :]
        return path

    def where(self, path: Path) -> str:
        """Return `file, line n` of the nearest key on the way to `path`, or the `--set` that it came from."""
        path = self.own(path)
        for own in self.overridden:
            if path[: len(own)] == own:
                return f"--set {dotted(own)}"
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}, line {self.lines[path]}" if path in self.lines else self.file

    def error(self, path: Path, message: str) -> JobError:
        """Return the error of the value at `path`, which says its file, line and key; of the whole job for ()."""
        error = JobError(message, key=dotted(self.own(path)) or None)
        error.where = self.where(path)
        return error


def dotted(path: Path) -> str:
    """Return a path as messages name it: `section.key[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{cut(part)}" for part in path)
    return text.removeprefix(".")


def parse(text: str, file: str, overrides: Iterable[str] = ()) -> Document:
    """Parse a job file, and put `key.path=value` texts in place. Raises JobError naming file, line and what is wrong."""
    root = _load(text.removeprefix("\ufeff"), file)
    if root is None:
        raise JobError(f"{file}: is empty; the smallest job names source and mosaic")
    if not isinstance(root, Mapping):
        kind = "a list" if isinstance(root, list) else "one value"
        raise JobError(
            f"{file}, line 1: a job is keys such as source and mosaic with their values, not {kind}"
        )
    document = Document({}, file)
    document.values = plain(root, (), document)
    for one in overrides:
        _override(document, one)
    return document


def plain(node: Any, path: Path, document: Document) -> Any:
    """Return `node` as dicts, lists and scalars that YAML can write; lines go to `document`.

    Raises:
        JobError: something that cannot be a value of a job, or more of it than anyone writes.
    """
    document.budget -= 1
    if document.budget < 0:
        raise document.error(path, f"aliases multiply to more than {_MAX_NODES:,} values; write the job out")
    if len(path) > (_MAX_GRAPH if _is_expression(path[:2]) or _is_expression(path[:3]) else _MAX_DEPTH):
        raise document.error(path[:1], "is nested too deeply, or in itself; write the job out")
    if _is_expression(path) and isinstance(node, Serializable):
        return _expression(node, document)
    if path == ("region",):
        node = region_of(node)
    marks = getattr(getattr(node, "lc", None), "data", None) or {}
    if isinstance(node, Mapping):
        values: dict[str, Any] = {}
        for given, value in node.items():
            key = _key(given, path, document)
            if given in marks:
                document.lines[(*path, key)] = marks[given][0] + 1
            if key in values:
                raise document.error((*path, key), "is given twice; keep one")
            values[key] = plain(value, (*path, key), document)
        return _expression(values, document) if _is_expression(path) else values
    if isinstance(node, (list, tuple)):
        for index in range(len(node)):
            if index in marks:
                document.lines[(*path, index)] = marks[index][0] + 1
        return [plain(value, (*path, index), document) for index, value in enumerate(node)]
    return _scalar(node, path, document)


def _is_expression(path: Path) -> bool:
    """Return whether a graph may stand there: in a source, or in one of several."""
    return path == _EXPRESSION or (len(path) == 3 and (path[0], path[2]) == ("sources", "expression"))


def _override(document: Document, text: str) -> None:
    """Put one `key.path=value` of the command line in place, the value read as YAML."""
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise JobError(f"--set {key}: write KEY=VALUE, such as --set limits.concurrency=20")
    node = document.values
    for depth, part in enumerate(path[:-1], 1):
        child = node.get(part)
        if isinstance(child, list):
            raise JobError(
                f"--set {key}: {'.'.join(path[:depth])} is a list; set it as a whole, such as [a, b]"
            )
        if not isinstance(child, dict):
            child = node[part] = {}
        node = child
    where = tuple(path)
    document.overridden.append(where)
    node[path[-1]] = plain(_load(value, f"--set {key}"), where, document)


def expand(value: Any, path: Path, document: Document) -> Any:
    """Return `value` with every `${VAR}` replaced from the environment. Raises JobError where a variable is not set."""
    if isinstance(value, dict):
        return {key: expand(item, (*path, key), document) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, (*path, index), document) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise document.error(
                path, f"the environment has no variable {match[1]}; set it, or write the value"
            )
        return os.environ[match[1]]

    text = _VARIABLE.sub(replacement, value)
    _check_text(text, path, document)
    return text


def _check_text(text: str, path: Path, document: Document) -> None:
    # Neither a file's name nor a request can hold half a character.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise document.error(
            path, "holds half of a surrogate pair, which is no text; write the character itself"
        )


def dump(values: Mapping[str, Any]) -> str:
    """Return YAML text that `parse` reads back as equal values."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        def text(self, value: str) -> ScalarNode:
            # The emitter's other styles lose line separators and the like; this one escapes them.
            style = None if value.isprintable() else '"'
            return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Representer.add_representer(str, Representer.text)
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keys keep the order they have
    yaml.width = 2**30  # folding would change texts with runs of spaces
    out = io.StringIO()
    yaml.dump(dict(values), out)
    return out.getvalue()


def _load(text: str, file: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    def where(line: int) -> str:
        return file if file.startswith("--set ") else f"{file}, line {line}"

    brackets = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    if max(accumulate(brackets), default=0) > _MAX_BRACKETS:
        raise JobError(f"{file}: is nested too deeply; write the job out, or name an expression's file")
    try:
        return YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        found = re.search(r'duplicate key "([^"]*)"', str(error.problem))
        key = repr(found[1]) if found else "a key"
        raise JobError(f"{where(line)}: {key} is given twice; keep one") from None
    except MarkedYAMLError as error:
        # Never the mark's own text: it quotes the line, which may hold a secret.
        mark = error.problem_mark or error.context_mark
        place = where(mark.line + 1) if mark else file
        raise JobError(
            f"{place}: not readable as YAML: {_advice(cut(error.problem or error.context or 'it ends too early'))}"
        ) from None
    except RecursionError:
        raise JobError(
            f"{file}: is nested too deeply; write the job out, or name an expression's file"
        ) from None
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        problem = " ".join(str(error).split())[:200] or type(error).__name__
        if "integer string conversion" in problem:
            problem = "a number has thousands of digits"
        raise JobError(f"{file}: not readable as YAML: {problem}") from None


def _advice(problem: str) -> str:
    fixes = {
        "'\\t'": "; indent with spaces, not tabs",
        "mapping values are not allowed": "; quote texts that contain ': '",
        "another document": "; a job file holds one document, so keep one part of those around ---",
        "but got '{'": "; quote texts that contain { or [, such as '${VAR}', inside brackets",
        "undefined alias": "; define it with & before using it with *",
        "could not find expected ':'": "; write KEY: VALUE",
        "expected <block end>": "; indent keys of one section alike",
        "cannot start any token": "; quote the value",
    }
    return problem + next((fix for part, fix in fixes.items() if part in problem), "")


def _key(key: Any, path: Path, document: Document) -> str:
    if isinstance(key, (str, int, float)):
        _check_text(str(key), path, document)
        return str(key)  # a band named 1 is still a name
    raise document.error(path, "a key must be text; quote it")


def _scalar(node: Any, path: Path, document: Document) -> Any:
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, os.PathLike):
        node = os.fspath(node)
    if isinstance(node, str):
        document.budget -= len(node) // _TEXT_OF_A_NODE
        _check_text(node, path, document)
        is_graph = _is_expression(path) and node.lstrip().startswith("{")
        return _expression(str(node), document) if is_graph else str(node)
    for kind in (int, float):
        if isinstance(node, kind):
            return kind(node)
    if hasattr(node, "isoformat"):
        return node.isoformat()
    if hasattr(node, "item") and getattr(node, "shape", None) == ():
        return node.item()  # a numpy scalar, from the library
    tag = getattr(getattr(node, "tag", None), "value", None)
    what = f"the tag {tag}" if tag else f"a {type(node).__name__.removeprefix('Commented')}"
    instead = (
        "write it to a file with to_csv, and name that"
        if hasattr(node, "to_csv")
        else "use text, numbers, true or false"
    )
    raise document.error(path, f"{what} cannot be a value of a job; {instead}")


def _expression(node: object, document: Document) -> str:
    try:
        return load_expression(node, dotted(_EXPRESSION))
    except JobError as error:
        error.where = document.where(_EXPRESSION)
        raise
