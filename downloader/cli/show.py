"""Commands that look and fetch no tile: `plan`, `status`, `preview`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from downloader.cli.locating import located
from downloader.cli.options import job_argument, job_options, service_overrides
from downloader.cli.output import refuse_inside, say

__all__ = ["plan_command", "preview_command", "status_command"]


@click.command("plan")
@job_argument
@job_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan_command(
    job: Path,
    overrides: tuple[str, ...],
    endpoint: str | None,
    project: str | None,
    key_file: str | None,
    as_json: bool,
) -> None:
    """What JOB will cost: groups, tiles, requests, bytes, time at the quota. Fetches metadata only."""
    from downloader import api
    from downloader.describe import plan_document, plan_text

    changes = [*overrides, *service_overrides(endpoint, project, key_file)]
    loaded = api.load_job(job, changes)
    with located(job, changes):
        plan = api.plan(loaded)
    say(json.dumps(plan_document(plan, loaded), indent=2) if as_json else plan_text(plan, loaded))


@click.command("status")
@click.argument("target", metavar="JOB|MOSAIC", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status_command(target: Path, as_json: bool) -> None:
    """How far a mosaic is, of a JOB file or of the folder itself; asks no service, and may watch a run."""
    from downloader import api
    from downloader.describe import status_text

    status = api.status(target)
    say(json.dumps(status.to_json(), indent=2) if as_json else status_text(status))


@click.command("preview")
@click.argument("mosaic", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG file to write.",
)
@click.option(
    "--bands", metavar="A,B,C", help="One or three bands; by default the first three, or the first."
)
@click.option("--group", help="Group of a mosaic with several; by default the finest that has the bands.")
@click.option(
    "--size",
    default=1024,
    show_default=True,
    type=click.IntRange(16, 8192),
    help="Pixels along the longer side, at most.",
)
@click.option(
    "--time",
    default="latest",
    metavar="INDEX|TIME|latest",
    show_default=True,
    help="Of a time series: a number in the order of time, or the beginning of a time, such as 2017-04-20.",
)
@click.option("--min", "low", type=float, help="Value shown black; by default the 2nd percentile.")
@click.option("--max", "high", type=float, help="Value shown white; by default the 98th percentile.")
def preview_command(
    mosaic: Path,
    output: Path,
    bands: str | None,
    group: str | None,
    size: int,
    time: str,
    low: float | None,
    high: float | None,
) -> None:
    """A stretched quick look of MOSAIC as a PNG; tiles that are missing stay transparent."""
    from downloader.quicklook import preview

    refuse_inside("-o", output, mosaic)
    names = tuple(name.strip() for name in bands.split(",")) if bands else None
    shown = preview(mosaic, output, bands=names, group=group, size=size, low=low, high=high, time=time)
    say(f"{output}: {shown}")
