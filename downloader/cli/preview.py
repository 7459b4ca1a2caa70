"""`downloader preview`: a quick look of a mosaic."""

from __future__ import annotations

import math
from pathlib import Path

import click

from downloader.cli.output import refuse_inside, say

__all__ = ["preview_command"]


_EPILOG = """\b
Examples:
  downloader preview m.zarr -o look.png
  downloader preview m.zarr -o look.png --bands B8,B4,B3 --min 0 --max 3000
  downloader preview m.zarr -o nir.png --bands B8 --palette viridis
  downloader preview series.zarr -o april.png --time 2017-04-20 --stretch 1,99
"""


@click.command("preview", epilog=_EPILOG)
@click.argument("mosaic", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG file to write.",
)
@click.option(
    "--bands",
    metavar="A,B,C",
    help="One or three bands; by default red, green and blue, else the first three, else the first.",
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
@click.option(
    "--slice",
    "slice_",
    type=int,
    metavar="N",
    help="Of a time series or of samples: the N-th as the mosaic has them, from 0.",
)
@click.option(
    "--stretch",
    default="2,98",
    show_default=True,
    metavar="LOW,HIGH",
    help="Percentiles of what is shown that become dark and bright, band by band.",
)
@click.option("--min", "low", metavar="X[,X,X]", help="Value shown darkest, of all bands or of each.")
@click.option("--max", "high", metavar="X[,X,X]", help="Value shown brightest.")
@click.option(
    "--palette",
    metavar="NAME|A,B,…",
    help="Colours for one band: viridis, magma, inferno, cividis, greens, red-blue, grey (with -r behind it: the other "
    "way round), or a list such as white,1a9850.",
)
def preview_command(
    mosaic: Path,
    output: Path,
    bands: str | None,
    group: str | None,
    size: int,
    time: str,
    slice_: int | None,
    stretch: str,
    low: str | None,
    high: str | None,
    palette: str | None,
) -> None:
    """A stretched quick look of MOSAIC as a PNG; what is missing or has no data stays transparent."""
    from downloader.previews import preview

    refuse_inside("-o", output, mosaic)
    names = tuple(name.strip() for name in bands.split(",")) if bands else None
    percentiles = _numbers("--stretch", stretch)
    if len(percentiles) != 2:
        raise click.UsageError(f"--stretch {stretch}: takes two percentiles, such as 2,98")
    shown = preview(
        mosaic,
        output,
        bands=names,
        group=group,
        size=size,
        low=None if low is None else _numbers("--min", low),
        high=None if high is None else _numbers("--max", high),
        percentiles=(percentiles[0], percentiles[1]),
        palette=palette,
        time=time,
        slice_=slice_,
    )
    say(f"{output}: {shown}")


def _numbers(option: str, text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(number) for number in found):
        raise click.UsageError(f"{option} {text}: takes numbers, with commas between them")
    return found
