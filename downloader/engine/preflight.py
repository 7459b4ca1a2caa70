"""Preview a run: its plan, the state of its mosaic, and on request the cost of a few real tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

from downloader.engine.canary import stacks_if_equal
from downloader.engine.connect import connect
from downloader.engine.prepare import asking, existing_mosaic
from downloader.engine.probe import probe
from downloader.errors import DriftError, RefusedError
from downloader.mosaic.target import TargetState, read_target
from downloader.report.plan_preview import PlanPreview
from downloader.resolve.resolve import resolve

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from downloader.engine.stop import Stop
    from downloader.job import Job
    from downloader.planning import Plan
    from downloader.protocols import Progress


async def survey(
    job: Job,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None = None,
    *,
    tiles: int = 0,
    seed: int | None = None,
) -> PlanPreview:
    """Return what a run of the job would do; stores nothing.

    Args:
        job: what is to be fetched.
        progress: told what goes on.
        stop: may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.
        tiles: how many random tiles to fetch and time; with 0 only metadata is asked for.
        seed: of that draw; None draws anew each time.

    Raises:
        JobError, AuthenticationError, StoppedError: as a run, before its first tile.
    """
    async with connect(job, credentials) as connection:
        with stop.cancels(), asking(progress, connection.client, job.source.name):
            try:
                there = await existing_mosaic(job)
            except RefusedError:
                there = None  # `read_target` says so
            resolved = await resolve(job, connection.catalogue, there)
            if there is not None:
                # The catalogue's types are an expectation; what is stored has those that were answered.
                resolved = resolved.with_types(there.types)
            plan = resolved.plan(job, there)
            likely = stacks_if_equal(resolved, job, there, plan)
            try:
                target = await target_state(job, plan, connection.client.service_identity)
            except DriftError as error:
                target = TargetState(str(job.mosaic_path), "refused", str(error))
            found = await probe(job, plan, connection, tiles, seed) if tiles else None
    return PlanPreview(job, plan, target, found, likely)


async def target_state(job: Job, plan: Plan, service: str) -> TargetState:
    """Return what is at the path of the job's mosaic, read in a thread.

    Raises:
        DriftError: the mosaic that is there means something else.
    """
    return await anyio.to_thread.run_sync(read_target, job, plan, service, abandon_on_cancel=True)
