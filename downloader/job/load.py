"""A job from a file, a mapping or the arguments of a call, and the place of a mistake in its file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from downloader.errors import JobError
from downloader.job.files import read_text
from downloader.job.job import Job
from downloader.job.location import parse_place
from downloader.job.sections.source import Source
from downloader.job.yaml import override, parse
from downloader.model.expression import Serializable

JobLike = Job | Mapping[str, Any] | str | os.PathLike[str] | Serializable
"""A job: the model, a mapping of the job file's shape, or the path of a YAML file. With the path of a mosaic: an asset id,
or an object that serialises itself, such as an `ee.Image`."""

_SOURCE_KEYS: Final = tuple(
    key for key in Source.model_fields if key not in {"asset", "images", "collection", "expression"}
)
"""Keys of `source` that a call takes as keywords, beside the sections."""

_MAX_FILE: Final = 4 * 2**20
"""Bytes of the largest job file."""


def load_job(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Job:
    """Return the job of a YAML file.

    Args:
        path: the file; its relative paths start from its folder.
        overrides: `key.path=value` texts, as `--set` takes them.

    Raises:
        JobError: the file cannot be read, or does not hold a valid job.
    """
    file = Path(path)
    text = read_text(file, _MAX_FILE, "name a job file")
    return Job.parse(text, file=str(path), base=file.absolute().parent, overrides=overrides)


def as_job(job: JobLike, path: str | os.PathLike[str] | None = None, **sections: Any) -> Job:
    """Return a `Job` from any of its forms; with `path`, `job` is what is fetched and `sections` are the job file's.

    Raises:
        JobError: naming key, value and fix.
    """
    if path is not None:
        if not isinstance(job, str | Serializable):
            raise JobError(
                f"with a path, the first argument is an asset id or an ee.Image, got {type(job).__name__}",
                key="source",
            )
        # A scale in words is the catalogue's; a number is the grid's, and not a key of source.
        names = [
            key
            for key in _SOURCE_KEYS
            if key in sections and not (key == "scale" and sections[key] != "catalog")
        ]
        of_source = {key: sections.pop(key) for key in names}
        kind = "collection" if "start" in of_source else "asset" if isinstance(job, str) else "expression"
        values: dict[str, Any] = {"source": {kind: job, **of_source}, "mosaic": {"path": os.fspath(path)}}
        if "mosaic" in sections:
            values["mosaic"].update(sections.pop("mosaic"))
        return Job.from_dict(values | sections)
    if sections:
        raise JobError(
            f"{' and '.join(sections)} can be given only together with path=; else put them in the job"
        )
    if isinstance(job, Job):
        return job
    if isinstance(job, Serializable):
        raise JobError(
            f"an {type(job).__name__} needs the path of the mosaic that it becomes", key="mosaic.path"
        )
    return Job.from_dict(job) if isinstance(job, Mapping) else load_job(job)


def mosaic_place(target: str | os.PathLike[str]) -> Path | str:
    """Return the mosaic that a job file or a path names: a folder's path, or a bucket's URL as text.

    Raises:
        JobError: the job file cannot be read, or does not hold a valid job.
    """
    place = load_job(target).mosaic_path if os.path.isfile(target) else target  # noqa: PTH113 - False, never an error
    try:
        url = parse_place(os.fspath(place))
    except ValueError:
        return os.fspath(place)  # refused where it is used, with what to write
    return Path(place) if url is None else str(url)


@contextmanager
def located(file: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Add file and line, or the `--set`, to a `JobError` with a key that is raised in the block."""
    try:
        yield
    except JobError as error:
        if error.key is not None and not error.where:
            try:
                document = parse(file.read_bytes(), str(file))
                for text in overrides:
                    override(document, text)
            except (OSError, JobError):
                raise error from None  # the file changed meanwhile
            error.where = document.where(tuple(error.key.split(".")))
        raise
