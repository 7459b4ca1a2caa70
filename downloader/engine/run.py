"""One run, from a job to its report: connect, plan, settle by canaries, open the mosaic, work, report."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader._version import versions
from downloader.engine.connect import Connection, Credentials, connect, prepare
from downloader.engine.executors import executor_of, memory_for, refuse_what_cannot_travel
from downloader.engine.memory import peak_memory
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, IncompleteError, InterruptedRunError, StoppedError
from downloader.events import Ended, Notice, Outcome, RunState, Started
from downloader.job import Job
from downloader.model.time import rfc3339
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.stored_job import freeze, meaning
from downloader.mosaic.subset import Chosen, Selection
from downloader.planning import Existing, Plan
from downloader.progress import HEARTBEAT, Heartbeat, Highlights, Recorder, Tally, fanout
from downloader.protocols import Executor, Progress
from downloader.report.plan_text import source_text
from downloader.report.report import FailedTile, Report
from downloader.resolve.recheck import recheck
from downloader.resolve.resolve import resolve

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

    from downloader.engine.shared_budget import Allowance
    from downloader.engine.stop import Stop
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.protocols import Progress

__all__ = ["add_overviews", "run", "settle"]


async def settle(job: Job, stop: Stop, credentials: Credentials | None = None) -> Plan:
    """The plan of a job by metadata alone; no pixel is fetched."""
    async with connect(job, credentials) as connection:
        with stop.cancels():
            there = await _there(job)
            resolved = await resolve(job, connection.catalogue, there)
        return resolved.plan(job, there.sides if there else None)


async def run(
    job: Job,
    *,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None = None,
    overwrite: bool = False,
    accept: Collection[str] = (),
    only: Chosen | None = None,
    approve: Callable[[Plan, str], Awaitable[None]] | None = None,
    allowance: Allowance | None = None,
    outcomes: MemoryObjectSendStream[Outcome] | None = None,
) -> Report:
    """Fetch what the job misses.

    Args:
        job: what to fetch, and where to.
        progress: told of each event.
        stop: who may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.
        overwrite: delete the mosaic that is there, if this package made it.
        accept: what may differ from the mosaic that is there: `updates` of images, whose stored pixels stay;
            `new-images` that arrived late, which are added.
        only: fetch no more than these tiles, as far as they are missing.
        approve: given the plan and whose pixels they are, before anything is written; what it raises ends the run.
        allowance: what the job shares with others of this process; None for a job alone.
        outcomes: takes what becomes of each request; as long as it is full, no further request starts.

    Returns:
        The report of a complete run; with `only`, of one that stored all of these.

    Raises:
        DownloadError: every other end; once tiles could be fetched, with the report on it.
    """
    from downloader.mosaic.open import open_for_writing

    refuse_what_cannot_travel(job, credentials=credentials is not None)
    async with connect(job, credentials) as connection:
        with stop.cancels():
            there = None if overwrite else await _there(job)
            source = None if allowance is None else allowance.canaries(job, connection.client)
            plan, notices = await prepare(job, connection, there, accept, source)
            if approve is not None:
                await approve(plan, connection.client.service_identity)
        memory = memory_for(job, plan, allowance)
        on_update = "keep" if "updates" in accept else job.source.on_update
        async with AsyncExitStack() as stack:
            with stop.cancels():
                mosaic = await stack.enter_async_context(
                    open_for_writing(
                        job.mosaic_path,
                        plan,
                        MosaicSettings.of(job, plan),
                        service=connection.client.service_identity,
                        job_text=freeze(job),
                        job=meaning(job),
                        overwrite=overwrite,
                        on_update=on_update,
                    )
                )
            chosen = None if only is None else Selection(mosaic, only)
            tally, recorder = Tally(), Recorder()
            tell = fanout(tally, recorder, *_heartbeat(job), progress)
            tell = fanout(tell, Highlights(tell))
            ended = Ended("failed", "the run was interrupted by an error or cancelled")
            try:
                if credentials is None and job.auth.kind == "chain" and job.service.endpoint != "emulator":
                    # Found, not given: whoever runs the job should see whose they are.
                    tell(Notice(f"credentials: {connection.client.credentials_in_use}", "credentials"))
                for notice in (*connection.client.warnings, *notices, *mosaic.notices):
                    tell(Notice(notice))
                with stop.cancels():
                    executor = await stack.enter_async_context(
                        executor_of(
                            job, plan, memory, mosaic, chosen, connection, tell, stop, allowance, outcomes
                        )
                    )
                error = await _work(job, plan, mosaic, chosen, executor, tell, stop)
                for notice in mosaic.blank_notices():
                    tell(Notice(notice))
                if tally.requests and (error is None or isinstance(error, IncompleteError)):
                    changed = await recheck(job, plan, connection.catalogue, mosaic, on_update, tell)
                    error = changed or error
                if job.mosaic.overviews and chosen is None:
                    error = await add_overviews(mosaic, tell, stop, error)
                ended = Ended(_state(plan, mosaic, error), "" if error is None else str(error))
            finally:
                tell(ended)
            report = _report(job, plan, mosaic, executor, tally, recorder, connection, ended)
    if error is not None:
        error.report = report
        raise error
    return report


def _heartbeat(job: Job) -> tuple[Progress, ...]:
    """A listener that writes the state of the run into its mosaic, where that is on a disk."""
    return (Heartbeat(job.mosaic_path / HEARTBEAT),) if isinstance(job.mosaic_path, Path) else ()


def _state(plan: Plan, mosaic: ZarrMosaic, error: DownloadError | None) -> RunState:
    """How the run ended."""
    if error is None:
        is_whole = sum(counts.stored for counts in mosaic.counts().values()) == plan.count_tiles()
        return "complete" if is_whole else "incomplete"
    states: dict[type[DownloadError], RunState] = {
        IncompleteError: "incomplete",
        InterruptedRunError: "interrupted",
        StoppedError: "stopped",
    }
    return states.get(type(error), "failed")


async def _there(job: Job) -> Existing | None:
    """What the mosaic has settled; a bucket may take its time to answer."""
    from downloader.mosaic.open import existing

    return await anyio.to_thread.run_sync(existing, job.mosaic_path, abandon_on_cancel=True)


async def _work(
    job: Job,
    plan: Plan,
    mosaic: ZarrMosaic,
    chosen: Selection | None,
    executor: Executor,
    progress: Progress,
    stop: Stop,
) -> DownloadError | None:
    from downloader.engine.local import order
    from downloader.mosaic.storage.disk_errors import check_room

    shards = order(plan, mosaic) if chosen is None else chosen.shards(plan)
    progress(Started(plan.estimate(), sum(counts.stored for counts in mosaic.counts().values())))
    error: DownloadError | None = None
    try:
        if warning := check_room(
            mosaic.store, _bytes_to_come(plan, mosaic), compressed=job.mosaic.compressor != "none"
        ):
            progress(Notice(warning))
        await executor.run(shards)
    except DownloadError as ended:
        error = ended
    finally:
        with anyio.CancelScope(shield=True):
            error = await _finish(mosaic, error)
    return error or (None if chosen and chosen.is_done() else _ending(plan, mosaic, stop))


async def _finish(mosaic: ZarrMosaic, error: DownloadError | None) -> DownloadError | None:
    """Finish the mosaic; the error that ends the run, of which the first tells the reason."""
    try:
        await mosaic.finish()
    except DownloadError as failed:
        return error or failed
    return error


def _bytes_to_come(plan: Plan, mosaic: ZarrMosaic) -> int:
    """Bytes of pixels, before compression, that the mosaic misses."""
    stored = sum(counts.stored for counts in mosaic.counts().values())
    tiles = max(1, plan.count_tiles())
    return plan.estimate().disk_bytes * max(0, tiles - stored) // tiles


def _ending(plan: Plan, mosaic: ZarrMosaic, stop: Stop) -> DownloadError | None:
    """How a run that met no error ended."""
    counts = mosaic.counts().values()
    stored, failed = sum(c.stored for c in counts), sum(c.failed for c in counts)
    tiles = plan.count_tiles()
    if stored == tiles:
        return None
    if stop.drain.is_set():
        return stop.error(f"{stored:,} of {tiles:,} tiles are saved")
    return IncompleteError(
        f"{failed:,} of {tiles:,} tiles failed; run the same command again to try just those"
    )


def _report(
    job: Job,
    plan: Plan,
    mosaic: ZarrMosaic,
    executor: Executor,
    tally: Tally,
    recorder: Recorder,
    connection: Connection,
    ended: Ended,
) -> Report:
    counts = mosaic.counts().values()
    return Report(
        mosaic=str(job.mosaic_path),
        state=ended.state,
        message=ended.message,
        groups=tuple(group.name for group in plan.groups),
        tiles=plan.count_tiles(),
        tiles_before=tally.tiles_before,
        tiles_stored=sum(c.stored for c in counts),
        tiles_failed=sum(c.failed for c in counts),
        requests=tally.requests,
        splits=tally.splits,
        retries=dict(tally.retries),
        wire_bytes=tally.wire_bytes,
        disk_bytes=mosaic.disk_bytes(),
        seconds=time.monotonic() - tally.started,
        peak_memory_bytes=max(peak_memory(), executor.peak_memory),
        credentials=connection.client.credentials_in_use,
        service=connection.client.service_identity,
        failed=tuple(
            FailedTile(
                key.group,
                key.slice,
                key.row,
                key.column,
                bands,
                cause,
                message,
                plan.slices[key.slice].id if plan.axis else "",
            )
            for key, bands, cause, message in mosaic.failures()
        ),
        notices=tuple(tally.notices),
        source=source_text(plan),
        job=freeze(job),
        began=rfc3339(recorder.began, "seconds"),
        versions=versions(),
        history=recorder.history(),
    )


async def add_overviews(
    mosaic: ZarrMosaic, progress: Progress, stop: Stop, error: DownloadError | None
) -> DownloadError | None:
    """Make what is missing or out of date of the mosaic's overviews; the error that the run ends with.

    A run that was stopped, or ended by an error, leaves them to the next one.

    Args:
        mosaic: whose pixels are committed.
        progress: told what was made.
        stop: who may ask to stop; what is made until then is kept.
        error: what the run ends with so far.
    """
    from downloader.mosaic.overviews.overviews import build_overviews

    if stop.drain.is_set() or not (error is None or isinstance(error, IncompleteError)):
        return error

    def watch(_done: int, _total: int) -> None:
        if stop.drain.is_set():
            raise stop.error("all that was fetched is saved, the overviews are not finished")

    work = partial(
        build_overviews, mosaic.store, mosaic.identity, mosaic.found.states, mosaic.lock, watch=watch
    )
    try:
        # The thread writes: it is told to stop, never left behind.
        with anyio.CancelScope(shield=True):
            made = await anyio.to_thread.run_sync(work)
    except DownloadError as failed:
        return error or failed
    if made.made:
        progress(Notice(str(made)))
    return error
