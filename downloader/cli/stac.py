"""`downloader stac`: the STAC document of a mosaic."""

from __future__ import annotations

from pathlib import Path

import click

from downloader.cli.options import command, mosaic_argument
from downloader.cli.output import refuse_inside, say, say_json


@command("stac")
@mosaic_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; by default MOSAIC.stac.json beside the mosaic.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the document and write nothing.")
def stac_command(mosaic: Path, output: Path | None, as_json: bool) -> None:
    """Describe MOSAIC as a STAC Item, a time series as a Collection, with the images that its pixels come from.

    Examples:
      downloader stac out/series.zarr
      downloader stac s3://bucket/series.zarr -o series.json
      downloader stac out/series.zarr --json | jq .links
    """
    from downloader.exports.stac import beside, stac

    if as_json:
        say_json(stac(mosaic))
        return
    file = beside(mosaic) if output is None else output
    refuse_inside("-o", file, mosaic)
    document = stac(mosaic, file)
    say(f"{file}: {'Item' if document['type'] == 'Feature' else 'Collection'} {document['id']}")
