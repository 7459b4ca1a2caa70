"""Commands that make something of a mosaic that is there: `overviews`, `export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from downloader.cli.output import say
from downloader.cli.progress import counting

if TYPE_CHECKING:
    from downloader.exports.cog import Compress

__all__ = ["export_command", "overviews_command"]

_OVERVIEWS = """\b
Examples:
  downloader overviews out/scene.zarr
  downloader overviews out/scene.zarr --policy SCL=mode

Run it again after the mosaic grew or was mended: only what is missing or out of date is made.
"""

_EXPORT = """\b
Examples:
  downloader export out/scene.zarr -o scene.tif
  downloader export out/scene.zarr -o 'out/{band}.tif' --compress zstd
  downloader export out/scene.zarr -o bay.tif --bands B4,B3,B2 --bbox -122.6,37.6,-122.2,37.9
  downloader export out/series.zarr -o april.tif --bands B8 --time 2017-04-20
"""


class _Numbers(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    """Four numbers with commas between them."""

    def __init__(self, kind: type[int | float], form: str) -> None:
        self.name = form
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  # click's signature
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(self._kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 4:
            self.fail(f"{value!r}: write {self.name}", param, ctx)
        return numbers


@click.command("overviews", epilog=_OVERVIEWS)
@click.argument("mosaic", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="BAND=POLICY",
    help="mean, sample, min, max, mode or median in place of the band's own pyramiding policy; kept for the next time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def overviews_command(mosaic: Path, policies: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Make the overviews of MOSAIC, so that a viewer opens all of it at once; no other run may be under way."""
    from downloader.mosaic.overviews.overviews import overviews

    asked = {}
    for text in policies:
        band, sign, policy = text.rpartition("=")
        if not sign:
            raise click.UsageError(f"--policy {text}: write BAND=POLICY, such as SCL=mode")
        asked[band] = policy
    with counting("overviews", quiet=quiet or as_json) as watch:
        made = overviews(mosaic, policies=asked, watch=watch)
    if as_json:
        say(json.dumps(made.to_json(), indent=2))
    elif not quiet:
        say(f"{made.path}: {made}")


@click.command("export", epilog=_EXPORT)
@click.argument("mosaic", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.tif",
    help="File to write; {band} in its name makes a file for each band, {group} stands for the group.",
)
@click.option("--bands", metavar="A,B,C", help="Bands in the file's order; by default all but masks.")
@click.option("--group", help="Group of a mosaic with several; by default the one that has the bands.")
@click.option(
    "--time",
    default="latest",
    metavar="INDEX|TIME|latest",
    show_default=True,
    help="Of a time series: a number in the order of time, or the beginning of a time, such as 2017-04-20.",
)
@click.option("--slice", "number", type=int, metavar="N", help="In place of --time: the mosaic's own order; of samples, which chip.")  # fmt: skip
@click.option(
    "--window",
    type=_Numbers(int, "COLUMN,ROW,WIDTH,HEIGHT"),
    help="Pixels of the group, clipped at its edge.",
)
@click.option(
    "--bbox",
    type=_Numbers(float, "WEST,SOUTH,EAST,NORTH"),
    help="In place of --window: every pixel that this box overlaps.",
)
@click.option("--crs", default="EPSG:4326", show_default=True, help="Of --bbox.")
@click.option("--level", type=click.IntRange(min=1), default=1, metavar="N", help="2, 4, 8, …: an overview in place of the pixels.")  # fmt: skip
@click.option(
    "--compress",
    type=click.Choice(["deflate", "zstd", "lzw", "none"]),
    default="deflate",
    show_default=True,
    help="zstd is quicker and smaller; every reader knows deflate.",
)
@click.option(
    "--missing",
    type=click.Choice(["raise", "mask", "ignore"]),
    default="raise",
    show_default=True,
    help="Tiles that are not stored: refuse, mask them, or show the fill value.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def export_command(
    mosaic: Path,
    output: str,
    bands: str | None,
    group: str | None,
    time: str,
    number: int | None,
    window: tuple[int, ...] | None,
    bbox: tuple[float, ...] | None,
    crs: str,
    level: int,
    compress: Compress,
    missing: Literal["raise", "mask", "ignore"],
    as_json: bool,
    quiet: bool,
) -> None:
    """Write MOSAIC, or a window of it, as Cloud-Optimised GeoTIFF; pixels, CRS, transform and nodata stay exact."""
    from downloader.exports.export import export

    names = tuple(name.strip() for name in bands.split(",")) if bands else None
    with counting("export", quiet=quiet or as_json) as watch:
        files = export(
            mosaic,
            output,
            bands=names,
            group=group,
            time=time,
            slice=number,
            window=window,
            bbox=bbox,
            crs=crs,
            level=level,
            compress=compress,
            missing=missing,
            watch=watch,
        )
    if as_json:
        say(json.dumps([file.to_json() for file in files], indent=2))
    elif not quiet:
        for file in files:
            say(str(file))
