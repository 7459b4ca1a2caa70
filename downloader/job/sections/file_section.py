"""A model that is read from a file of its own, with line numbers, variables and overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError

from downloader.errors import JobError
from downloader.job.messages import explain
from downloader.job.sections.base import Section
from downloader.job.yaml import Document, dump, expand, parse, plain


def document_of(values: Mapping[str, Any]) -> Document:
    """Return a mapping of a file's shape as if it had been read. Raises JobError for what cannot be a value."""
    document = Document({}, "job")
    document.values = plain(values, (), document)
    return document


class FileSection(Section):
    """A section that can stand alone in a file; its relative paths start from the file's folder."""

    _document: Document | None = PrivateAttr(default=None)
    _base: Path = PrivateAttr(default_factory=Path)

    @classmethod
    def parse(
        cls, text: str, file: str = "job", base: Path | None = None, overrides: Sequence[str] = ()
    ) -> Self:
        """Return the model of YAML text.

        Args:
            text: the job file's content.
            file: its name, for messages.
            base: folder that relative paths start from; the current one by default.
            overrides: `key.path=value` texts, the value read as YAML.

        Raises:
            JobError: naming file, line, key, value and fix.
        """
        return cls.of_document(parse(text, file, overrides), base)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the model of a mapping of the file's shape. Raises JobError naming key, value and fix."""
        return cls.of_document(document_of(values), None)

    @classmethod
    def of_document(cls, document: Document, base: Path | None) -> Self:
        """Return the model of a document; `base` as of `parse`. Raises JobError naming file, line, key, value and fix."""
        values = expand(document.values, (), document)
        try:
            job = cls.model_validate(values)
        except ValidationError as error:
            raise explain(cls, error.errors(include_url=False), document) from None
        job._document = document  # noqa: SLF001  # its own class
        job._base = base or Path()  # noqa: SLF001  # its own class
        return job

    @property
    def document(self) -> Document | None:
        """The file as it was read; None for a model that was made otherwise."""
        return self._document

    def dump(self) -> str:
        """Return an equivalent YAML text, `${VAR}` as written."""
        written = self._document and self._document.values
        return dump(written or self.model_dump(mode="json", exclude_unset=True))

    def resolve(self, path: str) -> Path:
        """Return a path of the file, from the file's folder; `~` is the home folder. Raises JobError."""
        if "\0" in path:
            raise JobError(f"{path!r}: holds a NUL character, which no path has")
        try:
            return self._base / Path(path).expanduser()
        except RuntimeError as error:
            raise JobError(f"{path}: {error}; write the folder's whole path") from None
