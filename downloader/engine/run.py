"""One run, from a job to its report: connect, resolve, plan, open the mosaic, fetch, report."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from downloader._version import versions
from downloader.engine.connect import Connection, connect
from downloader.engine.context import RunContext, RunOptions
from downloader.engine.executors import executor_of, refuse_what_cannot_travel
from downloader.engine.memory import current_memory, peak_memory, pixel_memory
from downloader.engine.order import order
from downloader.engine.prepare import asking, existing_mosaic, prepare
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, IncompleteError, InterruptionError, StoppedError, asset_is_gone
from downloader.events import Ended, Notice, RunState, Started
from downloader.job import Job
from downloader.model.time import rfc3339
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.overviews.overviews import build_overviews
from downloader.mosaic.storage.disk_errors import check_room
from downloader.mosaic.stored_job import freeze
from downloader.mosaic.subset import Selection
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Plan, ShardKey
from downloader.planning.compute_cost import cost_of
from downloader.planning.strip import strip
from downloader.progress.heartbeat import HEARTBEAT, Heartbeat
from downloader.progress.highlights import Highlights
from downloader.progress.phases import doing, steps
from downloader.progress.recorder import Recorder
from downloader.progress.tally import Tally, fanout
from downloader.protocols import Executor, Progress
from downloader.report.plan_text import source_text
from downloader.report.report import Report
from downloader.report.run_result import FailedTile
from downloader.resolve.recheck import recheck

_NO_OPTIONS = RunOptions()


async def run(job: Job, progress: Progress, stop: Stop, options: RunOptions = _NO_OPTIONS) -> Report:
    """Fetch what the job's mosaic misses.

    Args:
        job: what to fetch, and where to.
        progress: told of each event.
        stop: may ask the run to stop.
        options: what else the caller says of this run.

    Returns:
        The report of a complete run; with `options.only`, of one that stored all of these tiles.

    Raises:
        DownloadError: every other end; once tiles could be fetched, with the report on it.
    """
    refuse_what_cannot_travel(job, credentials=options.credentials is not None)
    before = current_memory()
    async with connect(job, options.credentials, options.budget) as connection:
        with stop.cancels():
            plan, notices = await _plan(job, connection, progress, options)
        if options.budget is not None:
            memory = options.budget.memory_of(job, plan)
        else:
            workers = 1 if job.executor.dask is None else job.executor.dask.workers or 1
            memory = pixel_memory(job.limits.memory, plan, before, workers)
        async with opened(job, plan, connection, progress, stop, options, memory) as context:
            report, error = await fetch_missing(context, [*_of_credentials(context), *notices])
    if error is not None:
        error.report = report
        raise error
    return report


async def _plan(
    job: Job, connection: Connection, progress: Progress, options: RunOptions
) -> tuple[Plan, tuple[str, ...]]:
    """Return the approved plan, and notices for the user."""
    with asking(progress, connection.client, job.source.name):
        there = None if options.overwrite else await existing_mosaic(job)
        plan, notices = await prepare(job, connection, there, options.accept)
    if options.approve is not None:
        await options.approve(plan, connection.client.service_identity)
    return plan, notices


@asynccontextmanager
async def opened(
    job: Job,
    plan: Plan,
    connection: Connection,
    progress: Progress,
    stop: Stop,
    options: RunOptions,
    memory: int,
) -> AsyncIterator[RunContext]:
    """Open the mosaic, and yield the context of the run."""
    opening = open_for_writing(
        job.mosaic_path,
        plan,
        MosaicSettings.of(job, plan),
        service=connection.client.service_identity,
        job_text=freeze(job),
        purpose="read" if options.feed is not None else "overwrite" if options.overwrite else "run",
        on_update=options.on_update(job),
    )
    async with AsyncExitStack() as stack:
        with stop.cancels():
            mosaic = await stack.enter_async_context(opening)
        tally, recorder = Tally(), Recorder()
        path = job.mosaic_path
        on_disk = [Heartbeat(path / HEARTBEAT)] if isinstance(path, Path) else []
        tell = fanout(tally, recorder, *on_disk, progress)
        yield RunContext(
            job=job,
            plan=plan,
            connection=connection,
            memory=memory,
            progress=fanout(tell, Highlights(tell)),
            stop=stop,
            options=options,
            mosaic=mosaic,
            chosen=None if options.only is None else Selection(mosaic, options.only),
            tally=tally,
            recorder=recorder,
        )


def _of_credentials(context: RunContext) -> list[Notice | str]:
    """Return a notice of the credentials that were found, unless they were given, and the client's warnings."""
    job, client = context.job, context.connection.client
    is_found = (
        context.options.credentials is None
        and job.auth.kind == "chain"
        and job.service.endpoint != "emulator"
    )
    found = [Notice(f"credentials: {client.credentials_in_use}", "credentials")] if is_found else []
    return [*found, *client.warnings]


async def fetch_missing(
    context: RunContext, notices: Iterable[Notice | str] = ()
) -> tuple[Report, DownloadError | None]:
    """Fetch what is missing, recheck images, build overviews, and report.

    Args:
        context: what the run works with.
        notices: told before anything is fetched.

    Returns:
        The report, and the error to end with.
    """
    mosaic, tell = context.mosaic, context.progress
    ended = Ended("failed", "the run was interrupted by an error or cancelled")
    try:
        for notice in (*notices, *mosaic.notices):
            tell(notice if isinstance(notice, Notice) else Notice(notice))
        async with AsyncExitStack() as stack:
            stack.enter_context(context.connection.limiter.listen(tell))
            stack.enter_context(context.stop.tells(tell))
            with context.stop.cancels():
                executor = await stack.enter_async_context(executor_of(context))
            error = await _fetch(context, executor)
        for notice in mosaic.blank_notices():
            tell(Notice(notice))
        if context.tally.requests and _may_be_drift(context.plan, error):
            catalogue = context.connection.catalogue
            with doing(tell, "checking that no image changed meanwhile", is_brief=True):
                changed = await recheck(context.job, context.plan, catalogue, mosaic, context.on_update, tell)
            error = changed or error
        if context.job.mosaic.overviews and context.chosen is None:
            error = await _add_overviews(context, error)
        disk_bytes = 0
        if context.options.feed is None:
            with doing(tell, "measuring the mosaic", is_brief=True):  # its whole store is listed
                disk_bytes = await anyio.to_thread.run_sync(mosaic.disk_bytes, abandon_on_cancel=True)
        ended = Ended(_state(context, error), "" if error is None else str(error))
    finally:
        tell(ended)
    return _report(context, ended, disk_bytes, executor.peak_memory), error


def _may_be_drift(plan: Plan, error: DownloadError | None) -> bool:
    """Return whether changed images may be the reason of this end, or be hidden by it."""
    if error is None or isinstance(error, IncompleteError):
        return True
    # Inputs of what is computed are pinned: one that changed is not found any more at the version that was planned.
    return asset_is_gone(error) and any(part.expression for part in plan.parts)


def _state(context: RunContext, error: DownloadError | None) -> RunState:
    """Return how the run ended."""
    if error is None:
        is_whole = context.mosaic.count_stored() == context.plan.count_tiles()
        return "complete" if is_whole else "incomplete"
    states: dict[type[DownloadError], RunState] = {
        IncompleteError: "incomplete",
        InterruptionError: "interrupted",
        StoppedError: "stopped",
    }
    return states.get(type(error), "failed")


async def _fetch(context: RunContext, executor: Executor) -> DownloadError | None:
    """Fetch what the mosaic misses and finish it; return the error to end with."""
    plan, mosaic, chosen = context.plan, context.mosaic, context.chosen
    places = strip(plan.groups) if chosen is None else None
    if places is not None:
        places = places.holding([(key, _stored(mosaic, key)) for key in plan.shards()])
    context.progress(Started(plan.estimate(), mosaic.count_stored(), places))
    error: DownloadError | None = None
    try:
        packs = context.job.mosaic.compressor != "none"
        if warning := check_room(mosaic.store, _bytes_to_come(context), compressed=packs):
            context.progress(Notice(warning))
        if chosen is None:
            shards = await anyio.to_thread.run_sync(order, plan, mosaic, abandon_on_cancel=True)
        else:
            shards = chosen.shards(plan)
        with context.stop.asks_after(context.job.limits.max_time, "limits.max_time"):
            await executor.run(shards)
    except DownloadError as ended:
        error = ended
    finally:
        with anyio.CancelScope(shield=True):
            error = await _finish(context, error)
    return error or (None if chosen and chosen.is_done() else _incomplete(context))


def _stored(mosaic: ZarrMosaic, key: ShardKey) -> int:
    """Return how many tiles of a shard are stored."""
    state = mosaic.found.states[key.group]
    return state.complete(state.index(key)).bit_count()


async def _finish(context: RunContext, error: DownloadError | None) -> DownloadError | None:
    """Finish the mosaic; return the first of two errors, which is the reason."""
    try:
        await context.mosaic.finish()
    except DownloadError as failed:
        return error or failed
    return error


def _bytes_to_come(context: RunContext) -> int:
    """Return the bytes of pixels, before compression, that the mosaic misses."""
    tiles = max(1, context.plan.count_tiles())
    missing = max(0, tiles - context.mosaic.count_stored())
    return context.plan.estimate().disk_bytes * missing // tiles


def _incomplete(context: RunContext) -> DownloadError | None:
    """Return the error of a run without one whose mosaic misses tiles; None where it misses none."""
    counts = context.mosaic.counts().values()
    stored, failed = sum(c.stored for c in counts), sum(c.failed for c in counts)
    tiles = context.plan.count_tiles()
    if stored == tiles:
        return None
    if context.stop.drain.is_set():
        return context.stop.error(f"{stored:,} of {tiles:,} tiles are saved")
    told = [f"{failed:,} of {tiles:,} tiles failed"] if failed else []
    if lost := tiles - stored - failed:
        told.append(f"{lost:,} of {tiles:,} tiles were stored and are damaged or gone")
    return IncompleteError(f"{', '.join(told)}; run the job again to try just those")


def _report(context: RunContext, ended: Ended, disk_bytes: int, workers_peak: int) -> Report:
    plan, tally, client = context.plan, context.tally, context.connection.client
    counts = context.mosaic.counts().values()
    return Report(
        mosaic=str(context.job.mosaic_path),
        state=ended.state,
        message=ended.message,
        groups=tuple(group.name for group in plan.groups),
        tiles=plan.count_tiles(),
        tiles_before=tally.tiles_before,
        tiles_stored=sum(c.stored for c in counts),
        tiles_failed=sum(c.failed for c in counts),
        requests=tally.requests,
        metadata_calls=client.metadata_calls,
        token_calls=client.token_calls,
        splits=tally.splits,
        retries=dict(tally.retries),
        wire_bytes=tally.wire_bytes,
        disk_bytes=disk_bytes,
        seconds=time.monotonic() - tally.started,
        peak_memory_bytes=max(peak_memory(), workers_peak),
        credentials=client.credentials_in_use,
        service=client.service_identity,
        compute=cost_of(tally.computed, tally.eecu_s, tally.wasted_eecu_s)
        if tally.eecu_s or tally.wasted_eecu_s
        else None,
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
            for key, bands, cause, message in context.mosaic.failures()
        ),
        notices=tuple(tally.notices),
        source=source_text(plan),
        job=freeze(context.job),
        began=rfc3339(context.recorder.began, "seconds"),
        versions=versions(),
        history=context.recorder.history(),
    )


async def _add_overviews(context: RunContext, error: DownloadError | None) -> DownloadError | None:
    """Build the overviews that are missing or out of date; return the error to end with.

    A run that was stopped, or ended by an error, leaves them to the next one. What is built until a stop is kept.
    """
    mosaic, stop = context.mosaic, context.stop
    if stop.drain.is_set() or not (error is None or isinstance(error, IncompleteError)):
        return error

    tell = steps(context.progress, "building overviews")

    def watch(done: int, total: int) -> None:
        if stop.drain.is_set():
            raise stop.error("all that was fetched is saved, the overviews are not finished")
        tell(done, total)

    work = partial(
        build_overviews, mosaic.store, mosaic.identity, mosaic.found.states, mosaic.lock, watch=watch
    )
    try:
        # The thread writes: it is told to stop, never left behind.
        with anyio.CancelScope(shield=True), doing(context.progress, "looking at overviews", is_brief=True):
            made = await anyio.to_thread.run_sync(work)
    except DownloadError as failed:
        return error or failed
    if made.made:
        context.progress(Notice(str(made)))
    return error
