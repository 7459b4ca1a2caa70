"""The job: what the user asks for, validated and frozen. It knows nothing of machines or of secrets' contents."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from downloader.errors import JobError
from downloader.job.document import Document, dump, expand, parse, parse_value
from downloader.job.model import Auth, Grid, Limits, Mosaic, Region, RequestSettings, Section, Service, Source

__all__ = ["Job"]


class Job(Section):
    """A download job: one image asset, a region of it, and the mosaic they become.

    Build one from YAML (`Job.parse`), from a mapping of the same shape (`Job.from_dict`), or from the section
    models. Equal jobs compare equal, however they were written.
    """

    source: Source
    region: Region = Region()
    grid: Grid = Grid()
    mosaic: Mosaic
    service: Service = Service()
    auth: Auth = Auth()
    request: RequestSettings = RequestSettings()
    limits: Limits = Limits()

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)
    _base: Path = PrivateAttr(default_factory=Path)

    @classmethod
    def parse(
        cls, text: str | bytes, file: str = "job", base: Path | None = None, overrides: Sequence[str] = ()
    ) -> Self:
        """A job from YAML text.

        Args:
            text: the job file's content.
            file: its name, for messages.
            base: folder that relative paths start from; the current one by default.
            overrides: `key.path=value` texts, the value read as YAML.

        Raises:
            JobError: naming file, line, key, value and fix.
        """
        document = parse(text, file)
        for override in overrides:
            _override(document, override)
        return cls._validated(document, base)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], base: Path | None = None) -> Self:
        """A job from a mapping of the job file's shape. Raises JobError naming key, value and fix."""
        return cls._validated(Document(copy.deepcopy(dict(values)), "job"), base)

    @classmethod
    def _validated(cls, document: Document, base: Path | None) -> Self:
        values = expand(document.values, (), document)
        try:
            job = cls.model_validate(values)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
            raise JobError(
                "\n".join(dict.fromkeys(_explain(cls, item, values, document) for item in details))
            ) from None
        job._written = document.values  # noqa: SLF001  # its own class
        job._base = base or Path()  # noqa: SLF001  # its own class
        return job

    def dump(self) -> str:
        """An equivalent YAML text, `${VAR}` as written."""
        return dump(self._written or self.model_dump(mode="json", exclude_unset=True))

    def resolve(self, path: str) -> Path:
        """A path of the job file, from the job file's folder; `~` is the home folder."""
        return self._base / Path(path).expanduser()

    @property
    def mosaic_path(self) -> Path:
        """The mosaic's folder."""
        return self.resolve(self.mosaic.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


def _override(document: Document, text: str) -> None:
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise JobError(f"--set {text}: write KEY=VALUE, such as --set limits.concurrency=20")
    node = document.values
    for part in path[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):
            child = {}
            node[part] = child
        node = child
    node[path[-1]] = parse_value(value, f"--set {key}")


def _explain(model: type[BaseModel], detail: ErrorDetails, values: Any, document: Document) -> str:
    """One line for one thing wrong: where, which key, which value, and the way out."""
    path = tuple(
        part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("function-"))
    )
    known = _model_at(model, path[:-1])
    key = ".".join(map(str, path))
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        fix = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{document.where(path)}: {key}: unknown key; {fix}"
    if detail["type"] == "missing":
        return f"{document.where(path[:-1])}: {key}: is missing; add it"
    path, value = _value_at(values, path)
    key = ".".join(map(str, path)) or "job"
    message = detail["msg"].removeprefix("Value error, ")
    shown = "" if path[:1] == ("auth",) or isinstance(value, (dict, list)) else f" {value!r}"
    return (
        f"{document.where(path)}: {key}:{shown}: {message[:1].lower()}{message[1:]}"
        if shown
        else (f"{document.where(path)}: {key}: {message[:1].lower()}{message[1:]}")
    )


def _value_at(values: Any, path: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Any]:
    """The longest part of `path` that exists in `values` (union branches of the validator do not), and its value."""
    real: tuple[str | int, ...] = ()
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            break
        real = (*real, part)
    return real, values


def _model_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Keys known at `path`."""
    current: type[BaseModel] = model
    for part in path:
        field = current.model_fields.get(str(part))
        if field is None:
            break
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not nested:
            break
        current = nested[0]
    return list(current.model_fields)
