"""One run, from a job to its report: connect, plan, settle by canaries, open the mosaic, work, report."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from downloader.describe import source_text
from downloader.drift import look_again, look_again_at_all
from downloader.errors import (
    DownloadError,
    IncompleteError,
    InterruptedRunError,
    JobError,
    StoppedError,
)
from downloader.frozen import freeze, meaning
from downloader.gather import gather
from downloader.job import Job
from downloader.nodata import nodata_values
from downloader.planning import Existing, Plan
from downloader.progress import Fanout, Recorder, Tally
from downloader.report import FailedTile, Report
from downloader.seams import Clock, Mosaic, Progress
from downloader.selection import Chosen, Selection
from downloader.stop import Stop
from downloader.versions import versions

if TYPE_CHECKING:
    from downloader.earthengine.catalogue import EarthEngineCatalogue
    from downloader.earthengine.client import EarthEngine
    from downloader.mosaic.updates import OnUpdate
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.worker import Parts, Share

__all__ = [
    "Connection",
    "Credentials",
    "connect",
    "engine",
    "mosaic_settings",
    "pixel_memory",
    "prepare",
    "run",
    "settle",
]

Credentials = Any
"""A google-auth credentials object."""

_HEADROOM = 48 * 2**20
"""Bytes kept free for what no budget counts: Python's own objects, the sockets' buffers, encoded copies."""


_START_PATIENCE_S = 120.0
"""Seconds in which the catalogue must answer, unless `limits.give_up_after` is less: nothing is lost by giving up."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A service that answers, and who asks it."""

    client: EarthEngine
    catalogue: EarthEngineCatalogue


@asynccontextmanager
async def connect(job: Job, credentials: Credentials | None = None) -> AsyncIterator[Connection]:
    """The job's service; an embedded emulator is started for the block, and ended with it.

    Raises:
        AuthenticationError: no credentials, or unusable ones.
    """
    from downloader.earthengine.catalogue import EarthEngineCatalogue
    from downloader.earthengine.client import EarthEngine
    from downloader.flow.clock import MonotonicClock

    async with _endpoint(job) as (standard, high_volume, key_file):
        client = EarthEngine(
            standard=standard,
            high_volume=high_volume,
            auth=_auth(job, credentials, key_file),
            project=job.service.project,
            clock=MonotonicClock(),
            first_byte_s=job.request.timeout,
            concurrency=job.limits.concurrency,
            workload_tag=job.service.workload_tag,
            patience_s=min(_START_PATIENCE_S, job.limits.give_up_after),
        )
        async with client:
            yield Connection(client, EarthEngineCatalogue(client))


async def settle(job: Job, stop: Stop, credentials: Credentials | None = None) -> Plan:
    """The plan of a job by metadata alone; no pixel is fetched."""
    async with connect(job, credentials) as connection:
        with stop.cancels():
            there = await _there(job)
            gathered = await gather(job, connection.catalogue, there)
        return gathered.plan(job, there.sides if there else None)


async def run(
    job: Job,
    *,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None = None,
    overwrite: bool = False,
    accept: Collection[str] = (),
    only: Chosen | None = None,
) -> Report:
    """Fetch what the job misses.

    Args:
        job: what to fetch, and where to.
        progress: who watches.
        stop: who may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.
        overwrite: delete the mosaic that is there, if this package made it.
        accept: what may differ from the mosaic that is there: `updates` of images, whose stored pixels stay;
            `new-images` that arrived late, which are added.
        only: fetch no more than these tiles, as far as they are missing.

    Returns:
        The report of a complete run; with `only`, of one that stored all of these.

    Raises:
        DownloadError: every other end; once tiles could be fetched, with the report on it.
    """
    from downloader.mosaic.opening import open_for_writing

    async with connect(job, credentials) as connection:
        tally, recorder = Tally(), Recorder()
        watchers = Fanout(tally, recorder, progress)
        with stop.cancels():
            there = None if overwrite else await _there(job)
            plan, notices = await prepare(job, connection, there, accept)
        memory = pixel_memory(job, plan)
        on_update = "keep" if "updates" in accept else job.source.on_update
        async with AsyncExitStack() as stack:
            with stop.cancels():
                mosaic = await stack.enter_async_context(
                    open_for_writing(
                        job.mosaic_path,
                        plan,
                        mosaic_settings(job, plan),
                        service=connection.client.service_identity,
                        job_text=freeze(job),
                        job=meaning(job),
                        overwrite=overwrite,
                        on_update=on_update,
                    )
                )
            chosen = None if only is None else Selection(mosaic, only)
            with watchers:
                if credentials is None and job.auth.kind == "chain" and job.service.endpoint != "emulator":
                    # Found, not given: whoever runs the job should see whose they are.
                    watchers.notice(f"credentials: {connection.client.credentials_in_use}")
                for notice in (*connection.client.warnings, *notices, *mosaic.notices):
                    watchers.notice(notice)
                error = await _work(job, plan, memory, mosaic, chosen, connection, watchers, stop)
                for notice in mosaic.blank_notices():
                    watchers.notice(notice)
                if tally.requests and (error is None or isinstance(error, IncompleteError)):
                    changed = await _look_again(job, plan, mosaic, connection, on_update, watchers)
                    error = changed or error
            report = _report(job, plan, mosaic, tally, recorder, connection, error)
    if error is not None:
        error.report = report
        raise error
    return report


async def _there(job: Job) -> Existing | None:
    """What the mosaic has settled; a bucket may take its time to answer."""
    from downloader.mosaic.opening import existing

    return await anyio.to_thread.run_sync(existing, job.mosaic_path, abandon_on_cancel=True)


async def _work(
    job: Job,
    plan: Plan,
    memory: int,
    mosaic: ZarrMosaic,
    chosen: Selection | None,
    connection: Connection,
    watchers: Fanout,
    stop: Stop,
) -> DownloadError | None:
    from downloader.executors.local import order
    from downloader.mosaic.faults import check_room
    from downloader.worker import work

    share, parts = engine(job, plan, memory, chosen or mosaic, connection, watchers, stop)
    shards = order(plan, mosaic) if chosen is None else chosen.shards(plan)
    watchers.start(plan.estimate(), sum(counts.stored for counts in mosaic.counts().values()))
    error: DownloadError | None = None
    try:
        if warning := check_room(
            mosaic.store, _bytes_to_come(plan, mosaic), compressed=job.mosaic.compressor != "none"
        ):
            watchers.notice(warning)
        await work(share, parts, shards)
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


async def _look_again(
    job: Job,
    plan: Plan,
    mosaic: ZarrMosaic,
    connection: Connection,
    on_update: OnUpdate,
    watchers: Fanout,
) -> DownloadError | None:
    """Whether an image changed while it was fetched; what the service computes says nothing of that."""
    if plan.listed is not None:
        return await look_again_at_all(job, connection.catalogue, plan.listed, mosaic, on_update, watchers)
    if plan.slices:
        return None
    return await look_again(connection.catalogue, plan.image, mosaic, on_update, watchers)


async def prepare(
    job: Job, connection: Connection, there: Existing | None, accept: Collection[str] = ()
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a job, settled by canaries, and what there is to say; `there` and `accept` as `gather` takes them."""
    from downloader.earthengine import RestPixelSource
    from downloader.earthengine import settle as ask_canaries

    gathered = await gather(job, connection.catalogue, there, accept)
    sides = there.sides if there else None
    plan = gathered.plan(job, sides)
    settled = await ask_canaries(RestPixelSource(connection.client), plan)
    if settled.image is not plan.image:
        plan = gathered.as_answered(settled.image).plan(job, sides)
    return plan, (*gathered.notices, *settled.notices)


def engine(
    job: Job,
    plan: Plan,
    memory: int,
    sink: Mosaic,
    connection: Connection,
    watchers: Fanout,
    stop: Stop,
) -> tuple[Share, Parts]:
    """What a worker needs to fetch tiles of `plan` into `sink`, within the job's limits."""
    from downloader.earthengine import RestPixelSource
    from downloader.flow.clock import MonotonicClock
    from downloader.flow.limiter import AdaptiveLimiter
    from downloader.flow.retry import RetryBudget, RetryPolicy
    from downloader.worker import Parts, Share

    clock: Clock = MonotonicClock()
    rng = random.Random()  # noqa: S311  # jitter, not a secret
    limits = job.limits
    limiter = AdaptiveLimiter(
        concurrency=limits.concurrency,
        requests_per_second=limits.requests_per_second,
        clock=clock,
        rng=rng,
        give_up_after_s=limits.give_up_after,
        notice=watchers.notice,
    )
    connection.client.on_restricted = limiter.restrict
    if connection.client.restricted:
        limiter.restrict()
    share = Share(
        plan=plan,
        concurrency=limits.concurrency,
        memory=memory,
        policy=RetryPolicy(retries=limits.retries, total_s=max(3600.0, 2 * limits.give_up_after)),
        checkpoint_s=job.mosaic.checkpoint,
        max_requests=limits.max_requests,
        max_bytes=limits.max_bytes,
        max_time_s=limits.max_time,
    )
    source = RestPixelSource(connection.client)
    return share, Parts(source, sink, limiter, clock, rng, watchers, RetryBudget(), stop)


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
    tally: Tally,
    recorder: Recorder,
    connection: Connection,
    error: DownloadError | None,
) -> Report:
    states = {IncompleteError: "incomplete", InterruptedRunError: "interrupted", StoppedError: "stopped"}
    counts = mosaic.counts().values()
    ended = "complete" if sum(c.stored for c in counts) == plan.count_tiles() else "incomplete"
    return Report(
        mosaic=str(job.mosaic_path),
        state=ended if error is None else states.get(type(error), "failed"),  # type: ignore[arg-type]
        message="" if error is None else str(error),
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
        peak_memory_bytes=peak_memory(),
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
        began=recorder.began.isoformat(timespec="seconds").replace("+00:00", "Z"),
        versions=versions(),
        record=recorder.record(),
    )


@asynccontextmanager
async def _endpoint(job: Job) -> AsyncIterator[tuple[str, str, str | None]]:
    """(standard URL, high-volume URL, key file of an emulator started here)."""
    from downloader.earthengine.names import HIGH_VOLUME, STANDARD

    endpoint = job.service.endpoint
    if endpoint == "emulator":
        from downloader.emulator.launch import EmulatorProcess, LaunchError, arguments

        settings = job.service.emulator
        switches = arguments(
            rasters={asset: job.resolve(file) for asset, file in settings.rasters.items()},
            latency_ms=settings.latency * 1000 or None,
            latency_ms_per_mb=settings.latency_per_mb * 1000 or None,
        )
        try:
            process = await anyio.to_thread.run_sync(lambda: EmulatorProcess(switches, control=False))
        except LaunchError as error:
            raise JobError(f"service.emulator: {error}") from error
        try:
            yield process.url, process.high_volume_url, str(process.key_file)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(process.close)
    elif endpoint in {"standard", "high-volume", "auto"}:
        pixels = STANDARD if endpoint == "standard" else HIGH_VOLUME
        yield STANDARD, pixels, None
    else:
        yield endpoint.rstrip("/"), endpoint.rstrip("/"), None


def _auth(job: Job, credentials: Credentials | None, key_file: str | None) -> Any:  # noqa: ANN401  # AuthSettings
    from downloader.earthengine.auth import AuthSettings

    if credentials is not None:
        return AuthSettings("credentials", credentials)
    auth = job.auth
    if auth.kind == "chain" and key_file is not None:
        return AuthSettings("key_file", key_file)
    if auth.kind == "key_file" and auth.key_file is not None:
        _keep_out(job, job.resolve(auth.key_file))
        return AuthSettings("key_file", str(job.resolve(auth.key_file)))
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if auth.kind in {"chain", "application_default"} and named:
        _keep_out(job, Path(named).expanduser())
    return AuthSettings(auth.kind, auth.access_token_env or auth.access_token_command)


def _keep_out(job: Job, key: Path) -> None:
    """Raise JobError where a key file lies inside the mosaic: it would be given away with it."""
    place = job.mosaic_path
    if isinstance(place, Path) and key.absolute().resolve().is_relative_to(place.resolve()):
        raise JobError(
            f"{key}: this key file lies inside the mosaic {place}, and whoever gets the one gets the other; move it out"
        )


def mosaic_settings(job: Job, plan: Plan) -> Any:  # noqa: ANN401  # MosaicSettings
    """How the job wants its pixels stored: a `MosaicSettings`."""
    from downloader.mosaic.settings import MosaicSettings

    return MosaicSettings(
        profile=job.mosaic.profile,
        compressor=job.mosaic.compressor,
        durability=job.mosaic.durability,
        nodata=nodata_values(job.mosaic.nodata, (band for group in plan.groups for band in group.bands)),
    )


def pixel_memory(job: Job, plan: Plan) -> int:
    """Bytes of the memory limit left for pixels. Raises JobError where a shard and a request do not fit."""
    have = job.limits.memory - current_memory() - _HEADROOM
    need = 0
    for group in plan.groups:
        side = group.tiling.shard_side
        shard = side * side * group.itemsize * group.tiling.shard_slices
        answer = group.shape[0] * group.shape[1] * group.tiling.tile**2 * group.itemsize
        need = max(need, 2 * max(shard, answer))
    if have < need:
        total = (job.limits.memory - have + need) // 2**20 + 1
        raise JobError(
            f"limits.memory: {job.limits.memory // 2**20} MiB is too little for one shard; at least {total} MiB are needed"
        )
    return have


def current_memory() -> int:
    """Resident bytes of this process."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # no path object for a pseudo file
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return peak_memory()


def peak_memory() -> int:
    """Largest resident size this process had, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123  # as above
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Not on Linux: there a process inherits this figure from the one that started it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
