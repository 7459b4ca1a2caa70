"""`sources` of the job file: several sources in one mosaic, each a group of it, and a job of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from downloader.errors import DownloadError, JobError
from downloader.job.job import Job
from downloader.job.sections.executor import ExecutorSection
from downloader.job.yaml import Document, dotted

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")

_TAKEN: Final = frozenset(("coverage", "overviews"))


@dataclass(frozen=True, slots=True)
class Sources:
    """Jobs of one region, by the names of their sources; each has its own mosaic in a folder of that name."""

    jobs: Mapping[str, Job]
    """Name → job, in the order of the file."""
    document: Document
    """The whole file."""

    @classmethod
    def of(cls, document: Document, base: Path | None) -> Sources:
        """Return the jobs of a document with `sources`.

        Args:
            document: the job file.
            base: folder that relative paths start from.

        Raises:
            JobError: naming file, line, key, value and fix.
        """
        entries = document.values["sources"]
        if not isinstance(entries, dict) or not entries:
            raise document.error(
                ("sources",), "needs names with a source under each, such as  dem: {asset: USGS/SRTMGL1_003}"
            )
        if "source" in document.values:
            raise document.error(("source",), "and sources exclude each other; keep one of them")
        jobs = {}
        for name, entry in entries.items():
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise document.error(
                    ("sources", name),
                    "names a group: letters, digits, _ and -, a letter first, and not "
                    + " or ".join(sorted(_TAKEN)),
                )
            if not isinstance(entry, dict):
                raise document.error(("sources", name), "needs keys under it, as source has them")
            jobs[name] = Job.of_document(_part(document, name, entry), base)
        return cls(jobs, document)

    @property
    def executor(self) -> ExecutorSection:
        """Executor of all jobs."""
        return next(iter(self.jobs.values())).executor

    @property
    def mosaic_path(self) -> Path | str:
        """Path of the mosaic that holds those of the jobs; as text where it lies in a bucket."""
        path = next(iter(self.jobs.values())).mosaic_path
        return path.parent if isinstance(path, Path) else path.rpartition("/")[0]

    def placed(self, path: str) -> Self:
        """Return the same jobs with another `mosaic.path`, as `Job.placed`."""
        jobs = {name: job.placed(f"{path.rstrip('/')}/{name}") for name, job in self.jobs.items()}
        return replace(self, jobs=jobs)

    def renamed(self, name: str, error: DownloadError) -> None:
        """Let an error of a source's job name the key as the file has it."""
        document = self.jobs[name].document
        if isinstance(error, JobError) and error.key is not None and document is not None:
            error.key = dotted(document.own(tuple(error.key.split("."))))


def _part(document: Document, name: str, entry: Mapping[str, Any]) -> Document:
    """Return the job of one source as values, whose keys `grid`, `chip` and `nodata` are those of sections."""
    values = {key: value for key, value in document.values.items() if key != "sources"}
    source, origin = dict(entry), dict[tuple[str | int, ...], tuple[str | int, ...]]()
    if "grid" in source:
        values["grid"] = source.pop("grid")
        origin["grid",] = ("sources", name, "grid")
    mosaic = values.get("mosaic")
    if isinstance(mosaic, dict):
        if isinstance(mosaic.get("path"), str):
            mosaic = mosaic | {"path": f"{mosaic['path'].rstrip('/')}/{name}"}
        if "nodata" in source:
            mosaic = mosaic | {"nodata": source.pop("nodata")}
            origin["mosaic", "nodata"] = ("sources", name, "nodata")
        values["mosaic"] = mosaic
    region = values.get("region")
    if "chip" in source:
        kind = "points" if isinstance(region, dict) and "points" in region else "fields"
        spec = region.get(kind) if isinstance(region, dict) else None
        if not isinstance(region, dict) or spec is None:
            raise document.error(
                ("sources", name, "chip"), "goes with region.points or region.fields; leave it out"
            )
        whole = spec if isinstance(spec, dict) else {"file": spec}
        if whole.get("type") == "FeatureCollection":
            whole = {"features": whole}
        values["region"] = region | {kind: whole | {"chip": source.pop("chip")}}
        origin["region", kind, "chip"] = ("sources", name, "chip")
    values["source"] = source
    origin["source",] = ("sources", name)
    return Document(values, document.file, document.lines, document.overridden, origin=origin)
