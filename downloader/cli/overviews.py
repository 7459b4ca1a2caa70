"""`downloader overviews`: coarser levels of a mosaic."""

from __future__ import annotations

from pathlib import Path

import click

from downloader.cli.options import command, json_option, mosaic_argument, quiet_option
from downloader.cli.output import say, say_json
from downloader.cli.progress import unwatched


@command("overviews")
@mosaic_argument
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="BAND=POLICY",
    help="mean, sample, min, max, mode or median instead of the band's own pyramiding policy; kept for the next time.",
)
@json_option
@quiet_option
def overviews_command(mosaic: Path, policies: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Make the overviews of MOSAIC, so that a viewer opens it at once. No run may be writing it.

    Examples:
      downloader overviews out/scene.zarr
      downloader overviews out/scene.zarr --policy SCL=mode

    Run it again after the mosaic grew or was repaired: only what is missing or out of date is made.
    """
    from downloader.mosaic.overviews.overviews import overviews

    by_band = {}
    for text in policies:
        band, sign, policy = text.rpartition("=")
        if not sign:
            raise click.UsageError(f"--policy {text}: write BAND=POLICY, such as SCL=mode")
        by_band[band] = policy
    made = overviews(mosaic, policies=by_band, watch=unwatched if quiet else None)
    if as_json:
        say_json(made.to_json())
    elif not quiet:
        say(f"{made.path}: {made}")
