"""Load a job from any of its forms, and find the line of a mistake that only the catalogue could show."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from downloader.errors import JobError
from downloader.job.job import Job
from downloader.job.yaml import override, parse
from downloader.model.expression import Serializable

__all__ = ["JobLike", "as_job", "load_job", "located"]

JobLike = Job | Mapping[str, Any] | str | os.PathLike[str] | Serializable
"""A job: the model, a mapping of the job file's shape, or the path of a YAML file. With the path of a mosaic: an asset id,
or an object that serialises itself, such as an `ee.Image`."""

_MAX_FILE = 4 * 2**20


def load_job(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Job:
    """The job of a YAML file.

    Args:
        path: the file; its relative paths start from its folder.
        overrides: `key.path=value` texts, as `--set` takes them.

    Raises:
        JobError: the file cannot be read, or does not hold a valid job.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise JobError(f"{file}: is a folder; name a job file")
        if file.stat().st_size > _MAX_FILE:
            raise JobError(f"{file}: is larger than {_MAX_FILE // 2**20} MiB, which no job file is")
        text = file.read_bytes()
    except OSError as error:
        raise JobError(f"{file}: cannot be read: {error.strerror or error}; name a job file") from error
    return Job.parse(text, file=str(path), base=file.absolute().parent, overrides=overrides)


def as_job(job: JobLike, path: str | os.PathLike[str] | None = None, **sections: Any) -> Job:
    """A `Job` from any of its forms; with `path`, `job` is what is fetched and `sections` are the job file's.

    Raises:
        JobError: naming key, value and fix.
    """
    if path is not None:
        if not isinstance(job, str | Serializable):
            raise JobError(
                f"source: with a path, the first argument is an asset id or an ee.Image, got {type(job).__name__}"
            )
        kind = "asset" if isinstance(job, str) else "expression"
        values: dict[str, Any] = {"source": {kind: job}, "mosaic": {"path": os.fspath(path)}}
        if "bands" in sections:
            values["source"]["bands"] = sections.pop("bands")
        if "mosaic" in sections:
            values["mosaic"].update(sections.pop("mosaic"))
        return Job.from_dict(values | sections)
    if sections:
        raise JobError(f"{', '.join(sections)}: keywords go with an asset id and a path; put them in the job")
    if isinstance(job, Job):
        return job
    if isinstance(job, Serializable):
        raise JobError(f"mosaic.path: an {type(job).__name__} needs the path of the mosaic that it becomes")
    return Job.from_dict(job) if isinstance(job, Mapping) else load_job(job)


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
