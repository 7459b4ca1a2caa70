"""`downloader preview`: a picture of a mosaic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from downloader.cli.options import command, mosaic_argument, png_option, time_help
from downloader.cli.output import refuse_inside, say
from downloader.cli.parameters import LIMIT, WORDS, Numbers


@command("preview")
@mosaic_argument
@png_option
@click.option(
    "--bands",
    type=WORDS,
    help="One or three bands; by default red, green and blue, else the first three, else the first.",
)
@click.option("--group", help="Group of a mosaic with several; by default the finest that has the bands.")
@click.option(
    "--size",
    default=1024,
    type=click.IntRange(16, 8192),
    help="Maximum number of pixels along the longer side.",
)
@click.option("--time", default="latest", metavar="INDEX|TIME|latest", help=time_help)
@click.option(
    "--slice", type=int, metavar="N", help="Instead of --time, the N-th slice or sample as stored, from 0."
)
@click.option(
    "--stretch",
    "percentiles",
    type=Numbers("LOW,HIGH", "2,98", 2),
    default="2,98",
    help="Percentiles of what is shown that become dark and bright, band by band.",
)
@click.option("--min", type=LIMIT, help="Value shown darkest, of all bands or of each.")
@click.option("--max", type=LIMIT, help="Value shown brightest, of all bands or of each.")
@click.option(
    "--palette",
    metavar="NAME|A,B,…",
    help="Colours of one band: viridis, magma, inferno, cividis, greens, red-blue or grey (with -r: reversed), or a "
    "list such as white,1a9850.",
)
def preview_command(mosaic: Path, output: Path, **options: Any) -> None:  # passed on as they are
    """Write a stretched PNG of MOSAIC; what is missing or has no data is transparent.

    Examples:
      downloader preview m.zarr -o look.png
      downloader preview m.zarr -o look.png --bands B8,B4,B3 --min 0 --max 3000
      downloader preview m.zarr -o nir.png --bands B8 --palette viridis
      downloader preview series.zarr -o april.png --time 2017-04-20 --stretch 1,99
    """
    from downloader.previews import preview

    refuse_inside("-o", output, mosaic)
    picture = preview(mosaic, output, **options)
    say(f"{output}: {picture}")
