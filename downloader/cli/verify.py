"""`downloader verify`: check that everything is stored and intact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from downloader.cli.options import command, job_options, json_option, set_up_logging, verbosity
from downloader.cli.output import say, say_json


@command("verify")
@click.argument("target", metavar="MOSAIC|JOB", type=click.Path(path_type=Path))
@click.option(
    "--repair", is_flag=True, help="Rebuild lost metadata, and download only the damaged tiles again."
)
@click.option(
    "--resample",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Fetch N random stored tiles again and compare them bit by bit.",
)
@click.option("--seed", type=int, help="Random seed for --resample; omit for a new sample each time.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="X",
    help="Absolute difference that --resample accepts, for computed pixels.",
)
@job_options
@json_option
@verbosity
def verify_command(
    target: Path,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **options: Any,  # passed on as they are
) -> int:
    """Read a whole mosaic: every object, checksum and chunk, `coverage` and metadata.

    Asks no service and takes no lock, except for --repair and --resample, so it can run beside `downloader run`. These
    two need the job, which the mosaic keeps; if that is lost, name the job file instead of the mosaic.

    Examples:
      downloader verify out/mosaic.zarr
      downloader verify out/mosaic.zarr --repair
      downloader verify out/mosaic.zarr --resample 100 --seed 1

    Exit status: 0 everything is stored and intact (or was repaired), 3 tiles are damaged, missing or failed, something else
    is lost, or the service returns other pixels than are stored; else as `downloader run`.
    """
    from downloader import api
    from downloader.cli.progress import display
    from downloader.progress.terminal import is_piped

    set_up_logging(verbose)
    silent = quiet or as_json
    shows = not silent and (options["repair"] or options["resample"] or not is_piped())
    checkups = {}
    for name in _sources(target, options["overrides"]):
        if name and not silent:
            say(f"{name}:")
        checkups[name] = checkup = api.verify(
            target,
            source=name,
            progress=False,
            on_event=display(quiet=not shows, verbose=0),
            shown=None if silent else lambda found: say(str(found)),
            **options,
        )
        if not silent and (actions := checkup.actions()):
            say("\n".join(actions))
    if as_json:
        each = {name: checkup.to_json() for name, checkup in checkups.items()}
        say_json(each.get("", {"sources": each}))
    return 0 if all(checkup.is_clean for checkup in checkups.values()) else 3


def _sources(target: Path, overrides: list[str]) -> list[str]:
    """Return the names of the sources of a job or a mosaic; an empty one where it has not several."""
    from downloader.job.load import load
    from downloader.job.sources import Sources
    from downloader.mosaic.storage.location import locate, source_names

    if not target.is_file():
        return list(source_names(locate(target))) or [""]
    loaded = load(target, overrides)
    return list(loaded.jobs) if isinstance(loaded, Sources) else [""]
