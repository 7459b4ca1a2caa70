"""Where in the job file a mistake stands that only the catalogue could show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from downloader.errors import JobError

__all__ = ["located"]

_KEY = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): ")


@contextmanager
def located(file: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Put file and line, or the `--set`, before the key that a `JobError` raised in the block begins with."""
    try:
        yield
    except JobError as error:
        if type(error) is not JobError:
            raise
        text = _located(str(error), file, overrides)
        if text == str(error):
            raise
        raise JobError(text) from error


def _located(message: str, file: Path, overrides: Sequence[str]) -> str:
    from downloader.job import Job
    from downloader.job.yaml import override, parse

    found = _KEY.match(message)
    if found is None or found[1].split(".")[0] not in Job.model_fields:
        return message
    try:
        document = parse(file.read_bytes(), str(file))
        for text in overrides:
            override(document, text)
    except (OSError, JobError):
        return message  # the file changed meanwhile
    return document.name(tuple(found[1].split("."))) + message[len(found[1]) :]
