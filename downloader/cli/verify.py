"""`downloader verify`: is everything there, and as it was stored?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from downloader.cli.options import job_options, service_overrides, set_up_logging, verbosity
from downloader.cli.output import say

if TYPE_CHECKING:
    from downloader.engine.verify import Checkup

__all__ = ["verify_command"]

_EPILOG = """\b
Examples:
  downloader verify out/mosaic.zarr
  downloader verify out/mosaic.zarr --repair
  downloader verify out/mosaic.zarr --resample 100 --seed 1

Exit status: 0 everything is there and intact (after --repair: again), 3 tiles are damaged, missing or failed, something
else is lost, or a tile came otherwise than it is stored; else as `downloader run`.
"""


@click.command("verify", epilog=_EPILOG)
@click.argument("target", metavar="MOSAIC|JOB", type=click.Path(path_type=Path))
@click.option(
    "--repair", is_flag=True, help="Write lost metadata anew, and fetch what is damaged and nothing else."
)
@click.option(
    "--resample",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Fetch N random stored tiles again and compare them bit by bit.",
)
@click.option("--seed", type=int, help="Of the draw of --resample; without it, another one each time.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="X",
    help="Absolute difference that --resample lets pass; for pixels that are computed.",
)
@job_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@verbosity
def verify_command(
    target: Path,
    repair: bool,
    resample: int,
    seed: int | None,
    tolerance: float,
    overrides: tuple[str, ...],
    endpoint: str | None,
    project: str | None,
    key_file: str | None,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Read a mosaic through and through: every object, checksum and chunk, `coverage` and metadata.

    Asks no service and takes no lock but for --repair and --resample, so it may watch a run. These two need the
    mosaic's job, which it keeps; after a loss, name the job file in place of the mosaic.
    """
    from downloader import api
    from downloader.cli.progress import display
    from downloader.report.text import verification_text

    set_up_logging(verbose)
    silent = quiet or as_json
    progress = display(quiet=silent or not (repair or resample), verbose=0)
    checkup = api.verify(
        target,
        repair=repair,
        resample=resample,
        seed=seed,
        tolerance=tolerance,
        overrides=[*overrides, *service_overrides(endpoint, project, key_file)],
        on_event=progress,
        shown=None if silent else lambda found: say(verification_text(found)),
    )
    if as_json:
        say(json.dumps(checkup.to_json(), indent=2))
    elif not quiet:
        _show(checkup)
    return 0 if checkup.is_clean else 3


def _show(checkup: Checkup) -> None:
    """What was done after the first look, which is shown already."""
    from downloader.report.text import resampling_text, verification_text

    if checkup.report is not None:
        say(f"\nfetched again: {checkup.report.requests:,} requests")
    if checkup.after is not None and checkup.after is not checkup.found:
        say("after the repair:")
        say(verification_text(checkup.after))
    if checkup.resampling is not None:
        say(resampling_text(checkup.resampling))
