"""`downloader thumbnail`: a picture of an image, made by the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from downloader.cli.options import command, png_option, service_options
from downloader.cli.output import say
from downloader.cli.parameters import LIMIT, WORDS
from downloader.text import size as size_text


@command("thumbnail")
@click.argument("image")
@click.option("--bands", type=WORDS, help="One or three bands; by default the first three, or the first.")
@click.option("--min", type=LIMIT, default="0", help="Value shown black, of all bands or of each.")
@click.option("--max", type=LIMIT, required=True, help="Value shown white, of all bands or of each.")
@click.option("--size", default=256, type=click.IntRange(1, 4096), help="Pixels along each side.")
@click.option("--gamma", type=float, help="Above 1 brightens.")
@click.option("--palette", type=WORDS, help="Colours of one band from low to high: RRGGBB or CSS names.")
@click.option(
    "--region",
    metavar="FILE.geojson",
    type=click.Path(path_type=Path),
    help="Area to show instead of the whole footprint.",
)
@png_option
@service_options
def thumbnail_command(
    image: str, output: Path, size: int, bands: tuple[str, ...] | None, **options: Any
) -> None:  # passed on as they are
    r"""Write a stretched PNG of IMAGE's footprint, made by the service.

    Examples:
      downloader thumbnail COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG \
          --bands B4,B3,B2 --max 3000 -o look.png
      downloader thumbnail COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG \
          --bands B8 --max 5000 --palette white,1a9850 -o green.png
    """
    from downloader.engine import explore

    if output.suffix.lower() != ".png":
        raise click.UsageError(f"-o {output}: the service makes a PNG; name a file that ends in .png")
    options["palette"] = options["palette"] or ()
    png = explore.thumbnail(image, output, bands=bands or None, size=size, **options)
    say(f"{output}: {size} × {size} pixels, {size_text(len(png))}")
