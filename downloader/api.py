"""The library's calls: download, plan, status, verify, doctor. The commands are made of them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from downloader.arguments import check_number, path_text
from downloader.diagnosis import Diagnosis, examine
from downloader.engine.call import RunCall, RunKeywords
from downloader.engine.compare import Draw
from downloader.engine.explore import JobSection
from downloader.engine.preflight import survey
from downloader.engine.stop import Stop
from downloader.engine.sync import in_thread
from downloader.engine.verify import Checkup, check, kept_job
from downloader.errors import JobError
from downloader.job import Job
from downloader.job.environment import with_environment
from downloader.job.keywords import JobKeywords
from downloader.job.load import JobLike, as_job, as_jobs, load, mosaic_place, one_job
from downloader.job.service_settings import ServiceSettings
from downloader.mosaic.sources import part, run_of
from downloader.mosaic.status import Status
from downloader.mosaic.status import status as status_of
from downloader.progress.heartbeat import RunStatus
from downloader.progress.late import late
from downloader.progress.terminal import is_piped, listener
from downloader.report.plan_preview import PlanPreview
from downloader.report.report import Report

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from downloader.events import Event
    from downloader.mosaic.verify.result import Verification


def download(
    job: JobLike,
    path: str | os.PathLike[str] | None = None,
    **keywords: Unpack[RunKeywords],
) -> Report:
    """Fetch what a job misses; works in scripts, notebooks and inside a running event loop.

    Args:
        job: a job; with `path` the id of an image, with `start` or `every` that of a collection, images that
            `downloader.images` found, or an `ee.Image` or `ee.ImageCollection`.
        path: folder of the mosaic.
        **keywords: how it runs, all optional:
            `credentials`, any google-auth credentials object, in place of the job's `auth`;
            `progress`, True by default: whether standard error shows a bar, or plain lines where it is no terminal;
            `on_event`, called with each event (`Phase`, `Started`, `Stored`, `Split`, `Failed`, `Retried`, `Notice`, `Flow`,
            `Ended`) on the event loop of the run, so it must be quick; what it raises ends the run, with everything saved;
            `overwrite`, False by default: delete the mosaic that is there, if this package made it;
            `accept`: what may differ from the mosaic that is there: `updates` of images, whose stored pixels stay, and
            `new-images` that arrived late, which are added.
            With `path` also keys of the job file, such as `bands`, `start`, `mask`, `every`, `scale`, `crs`, `concurrency`,
            and its sections; `region` takes four numbers, GeoJSON, a shape, a GeoDataFrame.

    Returns:
        The report of a complete run.

    Raises:
        IncompleteError, StoppedError, RefusedError, AuthenticationError, InterruptedRunError, JobError: wherever
            the command line would not exit 0; a run that had begun is on `.report`.

    Interrupting the call (Ctrl-C, or the notebook's stop button) drains and saves; a second time stops at once.
    """
    call = RunCall.of(job, path, None, {"progress": True, **keywords})
    return in_thread(call.run(), call.stop)


async def adownload(
    job: JobLike,
    path: str | os.PathLike[str] | None = None,
    *,
    stop: Stop | None = None,
    **keywords: Unpack[RunKeywords],
) -> Report:
    """`download` for coroutines, on the running event loop, by default without a bar; cancelling it saves what is there.

    `stop.ask("why")` drains it. Other arguments, result and errors are those of `download`.
    """
    return await RunCall.of(job, path, stop, keywords).run()


def plan(
    job: JobLike,
    path: str | os.PathLike[str] | None = None,
    *,
    probe: int = 0,
    seed: int | None = None,
    credentials: Credentials | None = None,
    progress: bool = True,
    **keywords: Unpack[JobKeywords],
) -> PlanPreview:
    """Return what a run of a job would do: its plan, and what its mosaic has of it already; nothing is stored.

    Args:
        job: as in `download`, with `path` and `keywords`.
        path: as in `download`.
        probe: random tiles to fetch, time and throw away, for a better estimate; with 0 only metadata is asked for.
        seed: of the draw of these tiles; None draws anew each time.
        credentials: any google-auth credentials object, in place of the job's `auth`.
        progress: whether a terminal or a notebook shows that the service is asked.
        **keywords: as in `download`.

    Raises:
        JobError: the job is wrong, or an asset cannot be used.
        AuthenticationError: these credentials may not read it.
        StoppedError: the service did not answer for too long.
    """
    check_number(probe, "probe")
    settled = as_job(job, path, **keywords)
    stop = Stop()
    return in_thread(
        survey(
            settled,
            listener(progress and not is_piped(), None),
            stop,
            credentials,
            tiles=probe,
            seed=seed,
        ),
        stop,
    )


@late("checking")
def doctor(
    job: JobLike | None = None,
    *,
    overrides: Sequence[str] = (),
    service: JobSection = None,
    auth: JobSection = None,
    credentials: Credentials | None = None,
) -> Diagnosis:
    """Check that everything is as a run needs it: versions, disk, locks, network, clock, credentials, project, quota.

    Args:
        job: the job whose service, credentials and mosaic are checked; None checks the defaults and the current folder.
        overrides: changes to a job file or the defaults, as `--set` takes them.
        service: without a job, `service` of the job file.
        auth: without a job, `auth` of the job file.
        credentials: any google-auth credentials object, in place of `auth`.

    Returns:
        What was found. A check that failed is in it, and raises nothing.

    Raises:
        JobError: the job or a section is wrong.
    """
    if job is None:
        settings = with_environment(ServiceSettings.of(service, auth, overrides))
        where = Path("mosaic.zarr")
        return in_thread(examine(settings, where, credentials), Stop())
    if service is not None or auth is not None:
        raise JobError("service and auth: a job has these in itself; change them there")
    loaded = load(job, overrides) if isinstance(job, str | os.PathLike) else as_jobs(job)
    # Sources share service, credentials and disk.
    settled = loaded if isinstance(loaded, Job) else next(iter(loaded.jobs.values()))
    return in_thread(examine(settled, settled.mosaic_path, credentials), Stop())


@late("reading the mosaic")
def status(target: str | os.PathLike[str]) -> Status:
    """Return how far a mosaic is, of a job file or of the mosaic's folder. Reads only; a run may be under way.

    Raises:
        RefusedError: there is no mosaic of this package.
    """
    return status_of(mosaic_place(target))


def run_status(target: str | os.PathLike[str]) -> RunStatus | None:
    """Return the state of the run that writes a mosaic, of a job file or of the mosaic's folder.

    Reads one small file. None where no run is known: one that ended by itself removes the file, and a mosaic in a bucket
    has none. A run that was killed leaves it, and its state is not `is_alive`.
    """
    return run_of(mosaic_place(target))


def verify(
    target: str | os.PathLike[str],
    *,
    source: str = "",
    repair: bool = False,
    resample: int = 0,
    seed: int | None = None,
    tolerance: float = 0.0,
    overrides: Sequence[str] = (),
    credentials: Credentials | None = None,
    progress: bool = True,
    on_event: Callable[[Event], object] | None = None,
    shown: Callable[[Verification], None] | None = None,
) -> Checkup:
    """Read a whole mosaic and check it; on request fetch what is damaged, or compare it with the service.

    Args:
        target: the mosaic's folder, which keeps its job, or a job file.
        source: of several sources the one whose mosaic is read.
        repair: count what is damaged as missing, write lost metadata anew, and fetch just the damaged tiles.
        resample: so many random stored tiles are fetched again and compared.
        seed: of that draw; None draws anew each time.
        tolerance: absolute difference that the comparison lets pass; 0 compares bit by bit.
        overrides: changes to the job, as `--set` takes them.
        credentials: any google-auth credentials object, in place of the job's `auth`.
        progress: whether a terminal or a notebook shows how far it is.
        on_event: as in `download`.
        shown: told what was found, before anything is done about it.

    Returns:
        What was found and done; `is_clean` says whether all is well now.

    Raises:
        RefusedError: there is no mosaic of this package, or, to repair it, another run writes it.
        JobError, StoppedError, AuthenticationError, InterruptedRunError: as `download`.
    """
    for name, value in (("resample", resample), ("tolerance", tolerance)):
        check_number(value, name)
    path = Path(path_text(target, "target", "write the path of a mosaic or of a job file"))
    where: Path | str = path
    job_of: Callable[[], Job]
    if path.is_file():
        job = one_job(load(path, overrides), source)
        where, job_of = job.mosaic_path, lambda: job
    else:
        where = path = Path(part(path, source)) if source else path
        job_of = partial(kept_job, path, overrides)
    draw = None
    if resample:
        draw = Draw(resample, random.SystemRandom().randrange(2**32) if seed is None else seed, tolerance)
    stop = Stop()
    work = check(
        where,
        job_of,
        listener(progress and not is_piped(), on_event),
        stop,
        repair=repair,
        draw=draw,
        credentials=credentials,
        shown=shown or (lambda _: None),
    )
    return in_thread(work, stop)
