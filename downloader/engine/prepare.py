"""Planning of a job with the band types of real answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import anyio.to_thread

from downloader.earthengine.band_types import answered_types
from downloader.earthengine.client import EarthEngine
from downloader.earthengine.pixels import RestPixelSource
from downloader.engine.canary import compare_roads, stacks_if_equal
from downloader.engine.connect import Connection
from downloader.errors import FetchProblem
from downloader.events import Phase
from downloader.job import Job
from downloader.mosaic.open import existing
from downloader.planning import Existing, Plan
from downloader.progress.phases import doing
from downloader.protocols import Progress
from downloader.resolve.resolve import resolve


@contextmanager
def asking(progress: Progress, client: EarthEngine, about: str) -> Iterator[None]:
    """Tell `progress` that the catalogue is being asked while the block runs, and of calls that are repeated."""
    where = "Earth Engine" if client.service_identity == "earthengine" else urlsplit(client.standard).netloc
    text = f"asking {where} about {about}"

    def again(problem: FetchProblem) -> None:
        progress(Phase(f"{text}: {problem.message}; trying again"))

    with doing(progress, text):
        client.on_retry, before = again, client.on_retry
        try:
            yield
        finally:
            client.on_retry = before


async def existing_mosaic(job: Job) -> Existing | None:
    """Return the decisions that the job's mosaic records, read in a thread; None if there is no mosaic.

    Raises:
        RefusedError: the mosaic was made by a newer version, or its marker is damaged.
    """
    return await anyio.to_thread.run_sync(existing, job.mosaic_path, abandon_on_cancel=True)


async def prepare(
    job: Job, connection: Connection, there: Existing | None, accept: Collection[str] = ()
) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan of a job, and notices for the user.

    Args:
        job: what is fetched.
        connection: the service.
        there: what the mosaic that is there has settled.
        accept: what may differ from it, as `resolve` takes it.

    Raises:
        JobError, AuthenticationError, StoppedError: as `resolve` and `answered_types`.
    """
    resolved = await resolve(job, connection.catalogue, there, accept)
    source = RestPixelSource(connection.client)
    types = await answered_types(source, resolved.type_questions(job))
    resolved = resolved.with_types(types)
    plan = resolved.plan(job, there)
    if (likely := stacks_if_equal(resolved, job, there, plan)) is None:
        return plan, resolved.notices
    trusted, notices = await compare_roads(likely, source)
    # What is likely is the plan where no group was found to differ.
    return resolved.plan(job, there, trusted) if notices else likely, (*resolved.notices, *notices)
