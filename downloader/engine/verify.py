"""Verify a mosaic from end to end: read everything, repair it, fetch what was damaged, compare with the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from downloader.cards import card, folded, rows
from downloader.engine.compare import Draw, compare
from downloader.engine.context import RunOptions
from downloader.engine.run import run
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, IncompleteError, JobError
from downloader.job import Job
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.record.scan import scan
from downloader.mosaic.storage.location import locate, no_mosaic
from downloader.mosaic.stored_job import freeze, thaw
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.result import Verification
from downloader.mosaic.verify.verify import verify
from downloader.progress.phases import doing, steps
from downloader.protocols import Progress
from downloader.report.comparison import ServiceComparison
from downloader.report.report import Report
from downloader.text import counted

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


@dataclass(frozen=True, slots=True, repr=False)
class Checkup:
    """Result of `verify`: the findings, the repair and the comparison."""

    found: Verification
    """As the mosaic was at the start."""
    after: Verification | None = None
    """As it was after a repair; None where none was asked for."""
    report: Report | None = None
    """Of the run that fetched what was damaged; None where nothing had to be fetched."""
    comparison: ServiceComparison | None = None
    """What a comparison with the service found; None where none was asked for."""

    @property
    def is_clean(self) -> bool:
        """Whether the mosaic is now whole and intact, and equal to the service where that was compared."""
        same = self.comparison is None or self.comparison.is_same
        return (self.after or self.found).is_clean and same

    @property
    def _verdict(self) -> str:
        return f"{self.found.path}: {'clean' if self.is_clean else 'not clean'}"

    def __repr__(self) -> str:
        return f"<Checkup of {self._verdict}>"

    def __str__(self) -> str:
        return "\n".join([str(self.found), *self.actions()])

    def _repr_html_(self) -> str:
        counts = (self.after or self.found).groups
        cells = [
            [name or "/", *(f"{n:,}" for n in (c.tiles, c.stored, c.failed, c.missing))]
            for name, c in counts.items()
        ]
        return card(
            "Checkup",
            self._verdict,
            rows(cells, ("group", "tiles", "intact", "failed", "missing")),
            folded("what was found and done", str(self)),
        )

    def actions(self) -> list[str]:
        """Return as text what was done after the first look: downloads, the state after a repair, the comparison."""
        lines = []
        if self.report is not None:
            lines.append(f"\ndownloaded again in {counted(self.report.requests, 'request')}")
        if self.after is not None and self.after is not self.found:
            lines += ["after the repair:", str(self.after)]
        if self.comparison is not None:
            lines.append(str(self.comparison))
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return what was found and done as plain values."""
        document = self.found.to_json() | {"clean": self.is_clean}
        if self.after is not None:
            document["repair"] = {
                "after": self.after.to_json(),
                "report": None if self.report is None else self.report.to_json(),
            }
        if self.comparison is not None:
            document["resample"] = self.comparison.to_json()
        return document


async def check(
    path: Path | str,
    job_of: Callable[[], Job],
    progress: Progress,
    stop: Stop,
    *,
    repair: bool = False,
    draw: Draw | None = None,
    credentials: Credentials | None = None,
    shown: Callable[[Verification], None] = lambda _: None,
) -> Checkup:
    """Verify the mosaic, then repair, re-fetch or compare as requested.

    Args:
        path: a folder, or the URL of one in a bucket.
        job_of: returns the mosaic's job; called where something is to be fetched or repaired.
        progress: told how far the reading is, and of each event of what is fetched.
        stop: may ask to stop.
        repair: mark damaged tiles as missing, rebuild lost metadata, and fetch the damaged tiles.
        draw: tiles to fetch again and compare; None for no comparison.
        credentials: a google-auth object in place of the job's `auth`.
        shown: told what was found, before anything is done about it.

    Raises:
        RefusedError: there is no mosaic, it cannot be written, or another run writes it.
        JobError: there is something to fetch, and the mosaic's job is not known.
        DownloadError: as a run raises it; what was damaged counts as missing then, so that any run fetches it.
    """
    tell = steps(progress, f"reading {path}")

    def watching(done: int, total: int) -> None:
        if stop.drain.is_set():
            raise stop.error("the mosaic was not read to its end")
        tell(done, total)

    report = after = comparison = None
    if not repair:
        with doing(progress, f"reading {path}"):
            found = await anyio.to_thread.run_sync(lambda: verify(path, watch=watching))
        shown(found)
    else:
        job, why = _known(job_of)
        text = "" if job is None else freeze(job)
        with doing(progress, f"reading {path}"):
            repaired = await anyio.to_thread.run_sync(lambda: repair_mosaic(path, text, watch=watching))
        after = found = repaired.verification
        shown(found)
        if repaired.chosen:
            if job is None:
                raise JobError(
                    f"{why}; what is damaged counts as missing now, and a run of the job fetches it"
                )
            try:
                options = RunOptions(credentials=credentials, only=repaired.chosen)
                report = await run(job, progress, stop, options)
            except IncompleteError as error:
                if error.report is None:
                    raise
                report = error.report
        if not found.is_clean:
            with doing(progress, f"reading {path} again"):
                after = await anyio.to_thread.run_sync(verify, path)
    if draw is not None:
        identity = await anyio.to_thread.run_sync(read_identity, path)
        if identity is None:
            raise no_mosaic(path)
        job = job_of()
        stored = await anyio.to_thread.run_sync(lambda: scan(locate(path).store(), identity.layouts))
        comparison = await compare(job, identity, stored.states, draw, progress, stop, credentials)
    return Checkup(found, after, report, comparison)


def kept_job(path: Path | str, overrides: Sequence[str] = ()) -> Job:
    """Return the job that a mosaic keeps.

    Args:
        path: a folder, or the URL of one in a bucket.
        overrides: `key=value` texts that change it: service, project, credentials.

    Raises:
        RefusedError: the mosaic was made by a newer version, or its marker is damaged.
        JobError: the job is lost, or asks for what a mosaic of unknown origin may not.
    """
    identity = read_identity(path)
    stated, service = (identity.job, identity.service) if identity else ("", "")
    return thaw(path, stated, service, overrides)


def _known(job_of: Callable[[], Job]) -> tuple[Job | None, str]:
    """Return the mosaic's job, or None and why it is not known."""
    try:
        return job_of(), ""
    except DownloadError as error:
        return None, str(error)
