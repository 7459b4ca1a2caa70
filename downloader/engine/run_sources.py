"""Runs of several sources, one after the other: each fills a mosaic of its own, and a group holds them all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader.engine.context import RunOptions
from downloader.engine.resources import Spending
from downloader.engine.run import run
from downloader.engine.stop import Stop
from downloader.errors import DownloadError, IncompleteError
from downloader.events import RunState
from downloader.job import Job
from downloader.job.sources import Sources
from downloader.mosaic.sources import join_parts
from downloader.protocols import Progress
from downloader.report.of_sources import SourcePlans, joined
from downloader.report.report import Report

if TYPE_CHECKING:
    from downloader.report.plan_preview import PlanPreview


async def run_sources(
    sources: Sources,
    progress: Progress,
    stop: Stop,
    options: Callable[[Job], RunOptions],
) -> Report:
    """Fetch what the mosaics of several sources miss, in their order.

    A source of which tiles failed does not end the others; all else does, and the next run continues there.

    Args:
        sources: the jobs.
        progress: told of each event, source after source.
        stop: may ask the run to stop.
        options: gives those of one source's run.

    Returns:
        The report of all.

    Raises:
        DownloadError: as `run`; once tiles of some source could be fetched, with the report of all that ran.
    """
    path, names = str(sources.mosaic_path), tuple(sources.jobs)
    await anyio.to_thread.run_sync(join_parts, path, names)
    reports: dict[str, Report] = {}
    spending = Spending()
    error: DownloadError | None = None
    for name, job in sources.jobs.items():
        try:
            max_time = job.limits.max_time
            left_s = max_time and max(0.0, max_time - sum(one.seconds for one in reports.values()))
            limited = job.model_copy(update={"limits": job.limits.model_copy(update={"max_time": left_s})})
            own = replace(options(limited), spending=spending)
            reports[name] = await run(limited, progress, stop, own)
        except DownloadError as ended:
            sources.renamed(name, ended)
            if isinstance(ended.report, Report):
                reports[name] = ended.report
            error = error or ended
            if not isinstance(ended, IncompleteError):
                error = ended
                break
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(join_parts, path, names)
    report = joined(path, reports) if reports else None
    if error is None and report is not None:
        return report
    assert error is not None  # noqa: S101  # a source without a report ended with one
    waiting = [name for name in names if name not in reports]
    if report is not None and waiting:
        # What ended the first of them, unless the one before told it.
        told = [report.message, f"nothing of {', '.join(waiting)} yet"]
        if not any(str(error) in one.message for one in reports.values()):
            told.insert(1, str(error))
        state: RunState = "stopped" if report.state in ("complete", "incomplete") else report.state
        report = replace(report, state=state, message="\n".join(filter(None, told)))
    error.report = report
    raise error


async def survey_sources(sources: Sources, survey: Callable[[Job], Awaitable[PlanPreview]]) -> SourcePlans:
    """Return previews of the runs of several sources, each as `survey` makes it of a job; raises its errors."""
    plans = {}
    for name, job in sources.jobs.items():
        try:
            plans[name] = await survey(job)
        except DownloadError as error:
            sources.renamed(name, error)
            raise
    return SourcePlans(plans)
