"""`downloader plan`: what a job will cost."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from downloader.cli.options import command, job_argument, job_options, json_option
from downloader.cli.output import refuse_inside, say, show

if TYPE_CHECKING:
    from downloader.report.of_sources import SourcePlans
    from downloader.report.plan_preview import PlanPreview


@command("plan")
@job_argument
@job_options
@click.option(
    "--probe",
    "tiles",
    type=click.IntRange(min=1, max=1000),
    metavar="N",
    help="Fetch N random tiles, store nothing, and extrapolate time and bytes on disk.",
)
@click.option("--seed", type=int, help="Random seed for --probe; omit for a new sample each time.")
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html|.geojson",
    help="Draw the images' footprints, the region, and the tiles to fetch and stored: a page, or GeoJSON for a GIS.",
)
@json_option
def plan_command(
    job: Path,
    overrides: list[str],
    tiles: int | None,
    seed: int | None,
    map_file: Path | None,
    as_json: bool,
) -> None:
    """Show what JOB will cost: images, tiles, requests, bytes and time, and what is stored already.

    Asks for metadata only, with --probe also for a few tiles. Stores nothing.

    Examples:
      downloader plan job.yaml
      downloader plan job.yaml --probe 20
      downloader plan job.yaml --map plan.html
      downloader plan job.yaml --set limits.concurrency=100 --json
    """
    from downloader.cli.progress import display
    from downloader.engine.preflight import survey
    from downloader.engine.stop import Stop
    from downloader.engine.sync import in_thread
    from downloader.job import Job
    from downloader.job.load import load, located
    from downloader.progress.terminal import is_piped

    loaded = load(job, overrides)
    if map_file is not None:
        refuse_inside("--map", map_file, loaded.mosaic_path)
    stop = Stop()
    told = display(quiet=is_piped(), verbose=0)
    found: PlanPreview | SourcePlans
    with located(loaded):
        look = partial(survey, progress=told, stop=stop, tiles=tiles or 0, seed=seed)
        if isinstance(loaded, Job):
            found = in_thread(look(loaded), stop)
        else:
            from downloader.engine.run_sources import survey_sources  # with all that a run is made of

            found = in_thread(survey_sources(loaded, look), stop)
    if map_file is not None:
        say(found.map(map_file), err=True)
    show(found, as_json=as_json)
