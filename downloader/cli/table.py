"""`downloader table`: statistics of places in a mosaic, as Parquet or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from downloader.cli.options import command, json_option, mosaic_argument, quiet_option
from downloader.cli.output import show
from downloader.cli.parameters import WORDS
from downloader.cli.progress import unwatched


@command("table")
@mosaic_argument
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="File to write: .parquet, .geoparquet (which keeps the shapes) or .csv.",
)
@click.option(
    "--by",
    metavar="FILE",
    help="Polygons or points: a vector file, GeoParquet, or CSV with lon and lat. Without it all of the mosaic is one "
    "place, of samples each sample.",
)
@click.option(
    "--stats",
    type=WORDS,
    default="mean",
    help="mean, median, p0 to p100, min, max, sum, std, var, count, majority, minority, variety; with --layout long "
    "also fractions. The valid share of each place is always told.",
)
@click.option("--bands", type=WORDS, help="Bands, or group/band; by default all but masks.")
@click.option(
    "--layout",
    type=click.Choice(["wide", "long"]),
    default="wide",
    help="A column for each band and statistic, or a row.",
)
@click.option(
    "--missing",
    type=click.Choice(["raise", "mask"]),
    default="raise",
    help="Tiles that are not stored: refuse, or count their pixels as not valid.",
)
@json_option
@quiet_option
def table_command(
    mosaic: Path, output: str, as_json: bool, quiet: bool, **options: Any
) -> None:  # passed on as they are
    """Write statistics of places in MOSAIC, a row for each place and time; run again to continue one that was stopped.

    Examples:
      downloader table out/series.zarr --by fields.gpkg --stats mean,p10,p90 -o fields.parquet
      downloader table out/series.zarr --by stations.csv -o stations.csv
      downloader table out/plots.zarr --stats mean,std -o plots.parquet
      downloader table out/cover.zarr --by parcels.geojson --stats fractions --layout long -o cover.csv
    """
    from downloader.tables.request import TableRequest
    from downloader.tables.table import make_table

    made = make_table(TableRequest(mosaic, output, **options), unwatched if quiet else None)
    show(made, as_json=as_json, quiet=quiet)
