"""A job from a file, a mapping or the arguments of a call, and the place of a mistake in its file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from downloader.arguments import path_text, shown
from downloader.errors import JobError
from downloader.job.environment import with_environment
from downloader.job.files import read_text
from downloader.job.job import Job
from downloader.job.keywords import sections_of
from downloader.job.location import parse_place
from downloader.job.sections.file_section import document_of
from downloader.job.sources import Sources
from downloader.job.yaml import Document, parse
from downloader.model.expression import Serializable
from downloader.model.image import Image

JobLike = (
    Job
    | Mapping[str, Any]
    | str
    | os.PathLike[str]
    | Serializable
    | Image
    | list[str]
    | list[Image]
    | tuple[str, ...]
)
"""A job: the model, a mapping of the job file's shape, or the path of a YAML file. With the path of a mosaic: the id of an
image or a collection, images as `downloader.images` lists them, or what serialises itself, such as an `ee.ImageCollection`."""

_MAX_FILE: Final = 4 * 2**20
"""Bytes of the largest job file."""


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Job | Sources:
    """Return the job of a YAML file, or the jobs of one with `sources`.

    Args:
        path: the file; its relative paths start from its folder.
        overrides: `key.path=value` texts, as `--set` takes them.

    Raises:
        JobError: the file cannot be read, or does not hold a valid job.
    """
    file = Path(path)
    text = read_text(file, _MAX_FILE, "name a job file")
    return _of(parse(text, str(path), overrides), file.absolute().parent)


def _of(document: Document, base: Path | None) -> Job | Sources:
    if "sources" in document.values:
        return Sources.of(document, base)
    return Job.of_document(document, base)


def one_job(job: Job | Sources, source: str = "") -> Job:
    """Return the job, of several sources that of the one named. Raises JobError where none is."""
    if isinstance(job, Job):
        return job
    if source not in job.jobs:
        first = next(iter(job.jobs))
        raise JobError(
            f"{', '.join(job.jobs)}: this takes one source; name the mosaic of one, such as {job.mosaic_path}/{first}",
            key="sources",
        )
    return job.jobs[source]


def as_jobs(job: JobLike, path: str | os.PathLike[str] | None = None, **keywords: Any) -> Job | Sources:
    """Return a job, or the jobs of several sources, from any of their forms.

    Where a job leaves open how the service is reached, the environment says it.

    Args:
        job: the job; with `path` what is fetched, or a job whose mosaic is to lie there.
        path: of the mosaic.
        **keywords: with `path`: those of `JobKeywords`.

    Raises:
        JobError: naming key, value and fix.
    """
    found = _as_jobs(job, None if path is None else path_text(path, "path"), keywords)
    if isinstance(found, Job):
        return with_environment(found)
    return replace(found, jobs={name: with_environment(one) for name, one in found.jobs.items()})


def as_job(job: JobLike, path: str | os.PathLike[str] | None = None, **keywords: Any) -> Job:
    """Return a job of one source from any of its forms; arguments and errors as of `as_jobs`."""
    return one_job(as_jobs(job, path, **keywords))


def _as_jobs(job: JobLike, path: str | None, keywords: Mapping[str, Any]) -> Job | Sources:
    if path is None and keywords:
        raise JobError(
            f"{', '.join(keywords)}: can be given only together with the path of a mosaic; else put them in the job"
        )
    if not isinstance(job, Job | Mapping) and not _is_file(job):
        if path is not None:
            values = sections_of(keywords)
            for name, told in (("source", _named(job, keywords)), ("mosaic", {"path": path})):
                section = values.get(name, {})
                values[name] = {**told, **section} if isinstance(section, Mapping) else section
            return Job.from_dict(values)
        if isinstance(job, Serializable | Image | list | tuple):
            raise JobError(
                f"{shown(job)}: give the path of the mosaic that it becomes, too", key="mosaic.path"
            )
    elif keywords:
        raise JobError(f"{' and '.join(keywords)}: a whole job has these in itself; change them there")
    found: Job | Sources
    if isinstance(job, Mapping):
        mosaic = job.get("mosaic", {})
        if path is not None and isinstance(mosaic, Mapping):
            job = {**job, "mosaic": {**mosaic, "path": path}}
        found = _of(document_of(job), None)
    else:
        found = job if isinstance(job, Job) else load(_file_named(job))
    return found if path is None else found.placed(path)


def _file_named(job: object) -> str:
    """Return the path of a job file. Raises JobError for what is none, and where there is none."""
    text = path_text(job, "job", "give a job file's path, a job as a mapping, or what to fetch and path=")
    if not text.endswith((".yaml", ".yml")) and not os.path.exists(text):  # noqa: PTH110  # False, never an error
        raise JobError(
            f"{text}: there is no job file of this name; for an asset or a collection give the path of its mosaic, too"
        )
    return text


def _is_file(job: object) -> bool:
    return isinstance(job, str | os.PathLike) and os.path.isfile(job)  # noqa: PTH113 - False, never an error


def _named(job: JobLike, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key of `source`, with its value, that the first argument of a call means."""
    if isinstance(job, Image):
        return {"asset": job.id}
    is_collection = not keywords.keys().isdisjoint(("start", "every", "reduce"))
    if isinstance(job, list | tuple):
        ids = [one.id if isinstance(one, Image) else one for one in job]
        return {"collection" if is_collection and ids and isinstance(job[0], str) else "images": ids}
    if isinstance(job, str):
        return {"collection" if is_collection else "asset": job}
    if isinstance(job, Serializable):
        return {"expression": job}
    raise JobError(
        f"with a path, the first argument is an asset id, images, a collection id or an ee.Image, got {type(job).__name__}",
        key="source",
    )


def mosaic_place(target: str | os.PathLike[str]) -> Path | str:
    """Return the mosaic that a job file or a path names: a folder's path, or a bucket's URL as text.

    Raises:
        JobError: the job file cannot be read, or does not hold a valid job.
    """
    path_text(target, "target", "write the path of a job file or of a mosaic")
    place: str | os.PathLike[str] = target
    if os.path.isfile(target):  # noqa: PTH113 - False, never an error
        place = load(target).mosaic_path
    try:
        url = parse_place(os.fspath(place))
    except ValueError:
        return os.fspath(place)  # refused where it is used, with what to write
    return Path(place) if url is None else str(url)


@contextmanager
def located(job: Job | Sources) -> Iterator[None]:
    """Add file and line, or the `--set`, to a `JobError` with a key that is raised in the block."""
    try:
        yield
    except JobError as error:
        if error.key is not None and not error.where and job.document is not None:
            error.where = job.document.where(tuple(error.key.split(".")))
        raise
