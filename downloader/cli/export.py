"""`downloader export`: a mosaic as Cloud-Optimised GeoTIFF or NetCDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from downloader.cli.options import command, json_option, mosaic_argument, quiet_option, time_help
from downloader.cli.output import say, say_json
from downloader.cli.parameters import BOX, WORDS, Numbers
from downloader.cli.progress import unwatched


@command("export")
@mosaic_argument
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.tif|.nc",
    help="File to write, also in a bucket. {time}, {sample} and {slice} in its name make a file for each slice, {band} one for "
    "each band, {group} one for each group; run again, it leaves out those that are there.",
)
@click.option("--bands", type=WORDS, help="Bands in the file's order; by default all but masks.")
@click.option("--group", help="Group of a mosaic with several; by default the one that has the bands.")
@click.option(
    "--time",
    metavar="INDEX|TIME|latest",
    help=f"{time_help} Without it the latest in GeoTIFF, all in NetCDF.",
)
@click.option(
    "--slice",
    type=int,
    metavar="N",
    help="Instead of --time, the N-th slice as stored; of samples, the N-th chip.",
)
@click.option(
    "--window",
    type=Numbers("COLUMN,ROW,WIDTH,HEIGHT", "0,0,512,512", 4, int),
    help="Pixels of the group, clipped at its edge.",
)
@click.option("--bbox", type=BOX, help="Instead of --window: every pixel that this box overlaps.")
@click.option("--crs", default="EPSG:4326", help="CRS of --bbox.")
@click.option(
    "--level",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="2, 4, 8, …: an overview instead of the pixels.",
)
@click.option(
    "--compress",
    type=click.Choice(["deflate", "zstd", "lzw", "none"]),
    default="deflate",
    help="zstd is faster and smaller; every reader knows deflate.",
)
@click.option(
    "--missing",
    type=click.Choice(["raise", "mask", "ignore"]),
    default="raise",
    help="Tiles that are not stored: refuse, mask them, or show the fill value.",
)
@json_option
@quiet_option
def export_command(
    mosaic: Path, output: str, as_json: bool, quiet: bool, **options: Any
) -> None:  # passed on as they are
    """Write MOSAIC, or a window of it, as Cloud-Optimised GeoTIFF or NetCDF with exact pixels, CRS, transform and nodata.

    Examples:
      downloader export out/scene.zarr -o scene.tif
      downloader export out/scene.zarr -o 'out/{band}.tif' --compress zstd
      downloader export out/scene.zarr -o bay.tif --bands B4,B3,B2 --bbox -122.6,37.6,-122.2,37.9
      downloader export out/series.zarr -o april.tif --bands B8 --time 2017-04-20
      downloader export out/series.zarr -o 's3://bucket/cogs/{time}_{band}.tif'
      downloader export out/series.zarr -o series.nc
    """
    from downloader.exports.export import export

    files = export(mosaic, output, watch=unwatched if quiet else None, **options)
    if as_json:
        say_json([file.to_json() for file in files])
    elif not quiet:
        for file in files:
            say(str(file))
