"""`downloader run`: download what is missing of a job."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from downloader.cli.options import command, job_argument, job_options, set_up_logging, verbosity
from downloader.cli.output import complain, logs_json, refuse_inside, say, show

if TYPE_CHECKING:
    from downloader.job import Job
    from downloader.job.sources import Sources
    from downloader.protocols import Progress
    from downloader.report.report import Report


_ENDED = (
    "state", "mosaic", "tiles", "tiles_stored", "tiles_failed", "tiles_missing", "requests", "retries", "splits",
    "wire_bytes", "disk_bytes", "seconds",
)  # fmt: skip
"""Members of the report's document that the log's last line has."""


@command("run")
@job_argument
@job_options
@click.option(
    "--report",
    "report_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html|.json|.txt",
    help="Write a report: a page, a JSON document or text, by the file's ending. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.option("--allow-failed", is_flag=True, help="Exit with 0 even if some tiles failed.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Delete the mosaic first, if this program made it.",
)
@click.option(
    "--accept",
    multiple=True,
    type=click.Choice(["updates", "new-images"]),
    help="Continue although the catalogue changed: updates keeps stored pixels of images that were updated; new-images "
    "adds images that arrived late in the period.",
)
@click.option(
    "--yes",
    is_flag=True,
    help="Do not ask before --overwrite deletes a mosaic, nor before a run of more than 50 GB or 100,000 requests.",
)
@verbosity
def run_command(
    job: Path,
    overrides: list[str],
    report_files: tuple[Path, ...],
    as_json: bool,
    allow_failed: bool,
    overwrite: bool,
    accept: tuple[str, ...],
    yes: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Download what is missing of JOB; run again to resume after a crash, a kill or a stop.

    Examples:
      downloader run job.yaml
      downloader run job.yaml --report report.html --report report.json
      downloader run job.yaml --set mosaic.path=/data/m.zarr --set limits.concurrency=20

    Exit status: 0 complete, 1 internal error, 2 wrong job, 3 finished with failed tiles, 4 stopped (run it again),
    5 refused, 6 authentication or permission, 130 and 143 interrupted.
    """
    from downloader.cli.progress import display
    from downloader.errors import DownloadError, IncompleteError
    from downloader.job.load import load, located

    set_up_logging(verbose)
    _check_reports(report_files)
    loaded = load(job, overrides)
    for file in report_files:
        refuse_inside("--report", file, loaded.mosaic_path)
    if overwrite and not yes and sys.stdin is not None and sys.stdin.isatty():
        click.confirm(f"Delete {loaded.mosaic_path} and start again?", abort=True, err=True)
    progress = display(quiet=quiet, verbose=verbose)
    try:
        with located(loaded):
            report = asyncio.run(_run(loaded, progress, overwrite, accept, asks=not yes))
    except DownloadError as error:
        if error.report is not None:
            _show(error.report, report_files, quiet, as_json=as_json)
        else:
            complain(str(error), status=error.exit_status)
        if allow_failed and isinstance(error, IncompleteError):
            return 0
        return error.exit_status
    _show(report, report_files, quiet, as_json=as_json)
    return 0


async def _run(
    job: Job | Sources, progress: Progress, overwrite: bool, accept: tuple[str, ...], *, asks: bool
) -> Report:
    from downloader.cli.confirm import approval
    from downloader.engine.context import RunOptions
    from downloader.engine.run import run
    from downloader.engine.run_sources import run_sources
    from downloader.engine.stop import Stop, stop_on_signals
    from downloader.job import Job

    def options(one: Job) -> RunOptions:
        approve = approval(one, progress, overwrite=overwrite) if asks else None
        return RunOptions(overwrite=overwrite, accept=accept, approve=approve)

    stop = Stop()
    with stop_on_signals(stop):
        if isinstance(job, Job):
            return await run(job, progress, stop, options(job))
        return await run_sources(job, progress, stop, options)


def _check_reports(files: tuple[Path, ...]) -> None:
    from downloader.report.report import KINDS

    for file in files:
        if file.suffix not in KINDS:
            raise click.UsageError(f"--report {file}: name a file that ends in {', '.join(KINDS)}")
        if not file.absolute().parent.is_dir():
            raise click.UsageError(
                f"--report {file}: the folder {file.absolute().parent} does not exist; make it first"
            )


def _show(report: Report, files: tuple[Path, ...], quiet: bool, *, as_json: bool) -> None:
    """Print and write the report. An error there changes nothing of what the run did, nor its exit status."""
    if logs_json() and not (quiet and report.state == "complete"):
        _log_end(report)
    if as_json or not quiet:
        with contextlib.suppress(OSError):
            show(report, as_json=as_json)
    for file in files:
        try:
            report.save(file)
        except OSError as error:
            complain(f"--report {file}: cannot be written ({error.strerror or error})")


def _log_end(report: Report) -> None:
    """Log the end of the run as an event."""
    from downloader.progress.jsonlines import json_line

    level = "info" if report.state == "complete" else "error"
    text = report.message or f"{report.state}: {report.tiles_stored:,} of {report.tiles:,} tiles"
    document = report.to_json()
    say(json_line(level, "ended", text, **{name: document[name] for name in _ENDED}), err=True)
