"""Find what is opened: from a job in any form, or a mosaic, to the mosaic and its filler."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Final

from downloader.arguments import check_listener, check_number, path_text
from downloader.errors import JobError, RefusedError
from downloader.job import Job
from downloader.job.keywords import JobKeywords
from downloader.job.load import JobLike, as_job
from downloader.lazy.filler import Filler, filler_of
from downloader.mosaic.reader import Missing, check_missing
from downloader.mosaic.status import means
from downloader.mosaic.storage.location import MosaicPath, no_mosaic

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


_IN_MEMORY: Final = "memory://lazy-"
"""How the URLs of `store=None` begin."""

Store = str | os.PathLike[str] | EllipsisType | None
"""Where pixels are kept: a folder or a bucket; None for memory; `...` for what the job says."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which mosaic is read, and how: what travels to another process."""

    path: str
    job: Job | None
    """Its job where the caller named one; None for the one that it keeps."""
    missing: Missing
    """What a read does about tiles that cannot be had."""
    wait_s: float
    """Seconds to wait for another process that writes it."""
    progress: bool
    """Whether a terminal or a notebook shows reads that take longer than a moment."""

    def __post_init__(self) -> None:
        check_missing(self.missing)
        check_number(self.wait_s, "wait")
        check_listener(self.progress, None)

    @property
    def is_in_memory(self) -> bool:
        """Whether it ends with the process."""
        return self.path.startswith("memory:")

    def filler(self) -> Filler:
        """Return what fetches for it in this process."""
        return filler_of(self.path, self.job)


@dataclass(frozen=True, slots=True)
class Target:
    """A mosaic that is read."""

    path: MosaicPath
    job: Job | None
    """None where the mosaic itself was named, which keeps its job."""

    @classmethod
    def of(cls, job: JobLike, store: Store, keywords: JobKeywords) -> Target:
        """Return what is opened. Raises JobError for a wrong job."""
        is_path = isinstance(job, str | os.PathLike) and not os.path.isfile(job)  # noqa: PTH113 - False, never an error
        if isinstance(job, str | os.PathLike) and str(job).endswith((".yaml", ".yml")):
            is_path = os.path.isdir(job)  # noqa: PTH112  # else the file of a job, there or not
        if is_path and store is ...:
            return cls(_stored(os.fspath(job), keywords), None)  # type: ignore[arg-type]  # as asked above
        if store is ...:
            settled = as_job(job, **keywords)
            place = os.fspath(settled.mosaic_path)
            if not os.path.isabs(place) and "://" not in place:  # noqa: PTH117
                settled = as_job(settled, place)
        else:
            place = f"{_IN_MEMORY}{secrets.token_hex(8)}" if store is None else path_text(store, "store")
            settled = as_job(job, place, **keywords)
        return cls(settled.mosaic_path, settled)

    def filler(self, credentials: Credentials | None, wait_s: float, *, progress: bool) -> Filler:
        """Return what fetches for it, once the mosaic is there: its coordinates, and what was fetched before.

        Nothing is asked of the service where a mosaic of the same job is there already.

        Raises:
            DownloadError: as a run, before its first tile.
        """
        is_ours = str(self.path).startswith(_IN_MEMORY)
        bound = self.job.limits.memory // 2 if self.job is not None and is_ours else None
        filler = filler_of(self.path, self.job, credentials, bound)
        if self.job is not None and not means(self.path, self.job):
            filler.make(wait_s, progress=progress)
        return filler


def _stored(path: str, keywords: JobKeywords) -> str:
    """Return the path of a mosaic. Raises RefusedError where there is none, and JobError for keywords: it keeps its job."""
    if "://" not in path and not os.path.isdir(path):  # noqa: PTH112  # False, never an error
        raise RefusedError(
            f"{no_mosaic(path)} To open an asset or a collection, say where its pixels go and which ones: store= (a folder, a"
            " bucket's URL, or None for memory), region=, bands= and, of a collection, start= and end=."
        )
    if keywords:
        raise JobError(
            f"{', '.join(keywords)}: {path} is a mosaic, whose job is settled; choose from the dataset that open returns, or"
            " make another mosaic with store="
        )
    return path
