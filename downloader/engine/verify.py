"""`verify` from end to end: read everything, make it honest, fetch what was damaged, compare with the service."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from downloader.errors import DownloadError, IncompleteError, JobError
from downloader.mosaic.stored_job import freeze, thaw
from downloader.text import counted

if TYPE_CHECKING:
    from downloader.engine.connect import Credentials
    from downloader.engine.stop import Stop
    from downloader.job import Job
    from downloader.mosaic.subset import Chosen
    from downloader.mosaic.verify.result import Verification
    from downloader.mosaic.verify.verify import Watch
    from downloader.protocols import Progress
    from downloader.report.comparison import ServiceComparison
    from downloader.report.report import Report

__all__ = ["Checkup", "Request", "check"]


@dataclass(frozen=True, slots=True, repr=False)
class Checkup:
    """What was found, and what was done about it."""

    found: Verification
    """As the mosaic was at the start."""
    after: Verification | None = None
    """As it was after a repair; None where none was asked for."""
    report: Report | None = None
    """Of the run that fetched what was damaged; None where nothing had to be fetched."""
    resampling: ServiceComparison | None = None
    """What a comparison with the service found; None where none was asked for."""

    @property
    def is_clean(self) -> bool:
        """Whether the mosaic is now whole and told rightly, and the service says the same."""
        same = self.resampling is None or self.resampling.is_same
        return (self.after or self.found).is_clean and same

    def __repr__(self) -> str:
        return f"<Checkup of {self.found.path}: {'clean' if self.is_clean else 'not clean'}>"

    def __str__(self) -> str:
        return "\n".join([str(self.found), *self.actions()])

    def actions(self) -> list[str]:
        """Return as text what was done after the first look: downloads, the state after a repair, the comparison."""
        lines = []
        if self.report is not None:
            lines.append(f"\ndownloaded again in {counted(self.report.requests, 'request')}")
        if self.after is not None and self.after is not self.found:
            lines += ["after the repair:", str(self.after)]
        if self.resampling is not None:
            lines.append(str(self.resampling))
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return what was found and done as plain values."""
        document = self.found.to_json() | {"clean": self.is_clean}
        if self.after is not None:
            document["repair"] = {
                "after": self.after.to_json(),
                "report": None if self.report is None else self.report.to_json(),
            }
        if self.resampling is not None:
            document["resample"] = self.resampling.to_json()
        return document


@dataclass(frozen=True, slots=True)
class Request:
    """What to do with which mosaic."""

    path: Path | str
    """A folder, or the URL of one in a bucket."""
    repair: bool = False
    resample: int = 0
    """Tiles to fetch again and compare."""
    seed: int | None = None
    """Of the draw; None draws anew each time."""
    tolerance: float = 0.0
    """Absolute difference that a comparison lets pass; 0 compares bit by bit."""
    job: Job | None = None
    """The mosaic's job; None takes the one that it keeps."""
    overrides: Sequence[str] = ()
    """`key=value` texts that change the kept job: service, project, credentials."""


async def check(
    request: Request,
    *,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None = None,
    watch: Watch | None = None,
    shown: Callable[[Verification], None] = lambda _: None,
) -> Checkup:
    """Do it.

    Args:
        request: what to do.
        progress: told of each event of what is fetched.
        stop: who may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.
        watch: told how far the reading is.
        shown: told what was found, before anything is done about it.

    Raises:
        RefusedError: there is no mosaic, it cannot be written, or another run writes it.
        JobError: there is something to fetch, and the mosaic's job is not known.
        DownloadError: as a run raises it; what was damaged counts as missing then, so that any run fetches it.
    """
    from downloader.mosaic.verify.repair import repair_mosaic
    from downloader.mosaic.verify.verify import examine, verify

    def watching(done: int, total: int) -> None:
        if stop.drain.is_set():
            raise stop.error("the mosaic was not read to its end")
        if watch is not None:
            watch(done, total)

    path = request.path
    report: Report | None = None
    if not request.repair:
        examined = await anyio.to_thread.run_sync(lambda: examine(path, watch=watching))
        found, after = examined.verification, None
        shown(found)
    else:
        job, why = _known_job(request)
        text = "" if job is None else freeze(job)
        honest = await anyio.to_thread.run_sync(lambda: repair_mosaic(path, text, watch=watching))
        found = honest.verification
        shown(found)
        if honest.chosen:
            if job is None:
                raise JobError(
                    f"{why}; what is damaged counts as missing now, and a run of the job fetches it"
                )
            report = await _fetch(job, honest.chosen, progress, stop, credentials)
        after = await anyio.to_thread.run_sync(verify, path) if not found.is_clean else found
    resampling = None
    if request.resample:
        resampling = await _compare(request, progress, stop, credentials)
    return Checkup(found, after, report, resampling)


async def _fetch(
    job: Job,
    chosen: Chosen,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None,  # Chosen
) -> Report:
    from downloader.engine.run import run

    try:
        return await run(job, progress=progress, stop=stop, credentials=credentials, only=chosen)
    except IncompleteError as error:
        if error.report is None:
            raise
        report: Report = error.report
        return report


async def _compare(
    request: Request, progress: Progress, stop: Stop, credentials: Credentials | None
) -> ServiceComparison:
    from downloader.engine.compare import resample
    from downloader.mosaic.record.ownership import read_identity
    from downloader.mosaic.record.scan import scan
    from downloader.mosaic.storage.location import locate, no_mosaic

    identity = read_identity(request.path)
    if identity is None:
        raise no_mosaic(request.path)
    job, why = _known_job(request)
    if job is None:
        raise JobError(why)
    found = await anyio.to_thread.run_sync(lambda: scan(locate(request.path).store(), identity.layouts))
    seed = random.SystemRandom().randrange(2**32) if request.seed is None else request.seed
    return await resample(
        job,
        identity,
        found.states,
        request.resample,
        seed=seed,
        tolerance=request.tolerance,
        progress=progress,
        stop=stop,
        credentials=credentials,
    )


def _known_job(request: Request) -> tuple[Job | None, str]:
    """The mosaic's job, or why it is not known."""
    from downloader.mosaic.record.ownership import read_identity

    if request.job is not None:
        return request.job, ""
    identity = read_identity(request.path)
    try:
        stated, service = (identity.job, identity.service) if identity else ("", "")
        return thaw(request.path, stated, service, request.overrides), ""
    except DownloadError as error:
        return None, str(error)
