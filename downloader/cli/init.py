"""`downloader init`: a job file to start from; and `downloader schema`, by which editors check one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from downloader.cli.confirm import somebody_is_there
from downloader.cli.options import service_options
from downloader.cli.output import say

if TYPE_CHECKING:
    from downloader.job.template import Wishes

__all__ = ["init_command", "schema_command"]

_FIRST_PIXELS = "first 1024 × 1024 pixels"

_INIT_EPILOG = """\b
Examples:
  downloader init                                 a small job on the embedded emulator: job.yaml
  downloader init s2.yaml --asset COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG \\
      --bands B4,B3,B2 --bbox -122.12,37.38,-122.04,37.44 --endpoint emulator
  downloader init delta.yaml --collection COPERNICUS/S2_SR_HARMONIZED --start 2017-04-01 \\
      --end 2017-05-01 --point -121.85,37.92 --km 4 --project my-project
"""

_SCHEMA_EPILOG = """\b
Examples:
  downloader schema > job.schema.json
\b
An editor uses it by the job file's first line:
  # yaml-language-server: $schema=job.schema.json
"""


@click.command("init", epilog=_INIT_EPILOG)
@click.argument("file", default="job.yaml", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--asset", metavar="ID", help="One image.")
@click.option("--collection", metavar="ID", help="A collection, with --start, --end and a place.")
@click.option("--start", metavar="DATE", help="First moment of the period, UTC, such as 2017-04-01.")
@click.option("--end", metavar="DATE", help="First moment not taken any more.")
@click.option("--bands", metavar="A,B,…", help="Bands, in the order wanted; else all.")
@click.option("--bbox", metavar="W,S,E,N", help="West, south, east and north, in degrees.")
@click.option("--point", metavar="LON,LAT", help="The middle of a square, in degrees; see --km.")
@click.option(
    "--km", type=float, default=5.0, show_default=True, metavar="N", help="Side of the square around --point."
)
@click.option("--file", "vector", metavar="FILE", help="Vector file with the region, such as GeoJSON.")
@click.option("-o", "--out", metavar="PATH|URL", help="Where the mosaic goes; by default out/NAME.zarr.")
@service_options
@click.option(
    "--schema/--no-schema", default=True, help="Write job.schema.json beside it, for editors; the default."
)
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given gets its default.")
def init_command(
    file: Path,
    asset: str | None,
    collection: str | None,
    start: str | None,
    end: str | None,
    bands: str | None,
    bbox: str | None,
    point: str | None,
    km: float,
    vector: str | None,
    out: str | None,
    endpoint: str | None,
    project: str | None,
    key_file: str | None,
    schema: bool,
    yes: bool,
) -> None:
    """Write a commented job FILE that runs; asks what to fetch, if a person sits there and no option says it.

    What exists is not overwritten.
    """
    from downloader.errors import RefusedError
    from downloader.job.template import SCHEMA_FILE, Wishes, init

    if file.exists():
        raise RefusedError(f"{file}: exists, and is never overwritten; name another file")
    wishes = Wishes(
        asset,
        collection,
        start,
        end,
        _words(bands),
        _numbers(bbox, 4, "--bbox", "-122.12,37.38,-122.04,37.44"),
        _numbers(point, 2, "--point", "-122.085,37.422"),
        km,
        _from(file, vector),
        out,
        endpoint,
        project,
        _from(file, key_file),
    )
    if wishes == Wishes(km=km) and not yes and somebody_is_there():
        wishes = _asked(wishes, file)
    written = init(file, wishes, schema=schema)
    say(f"{written}: written{f', and {SCHEMA_FILE} for editors' if schema else ''}. Next:", err=True)
    say(f"  downloader plan {written}", err=True)
    say(f"  downloader run {written}", err=True)


@click.command("schema", epilog=_SCHEMA_EPILOG)
def schema_command() -> None:
    """Print the JSON Schema of the job file, by which editors complete and check one."""
    from downloader.job.template import schema_text

    say(schema_text().rstrip("\n"))


def _asked(wishes: Wishes, file: Path) -> Wishes:
    """Questions on the terminal; Enter takes what stands in brackets."""
    from downloader.job.template import SCENE

    say(f"A few questions for {file}; Enter takes what stands in brackets.", err=True)
    where = _ask("Made-up pixels or real ones?", "emulator", ("emulator", "earthengine"))
    many = _ask("One image, or many?", "image", ("image", "collection"))
    if many == "collection":
        wishes = replace(
            wishes,
            collection=_ask("Collection", "COPERNICUS/S2_SR_HARMONIZED"),
            start=_ask("From (UTC)", "2017-04-01"),
            end=_ask("To, not included", "2017-05-01"),
            bands=_words(_ask("Bands, or all", "B4,B3,B2")),
        )
        wishes = _placed(wishes, file, "-121.90,37.87,-121.80,37.96")
    else:
        asset = _ask("Image", SCENE)
        wishes = replace(
            wishes,
            asset=asset,
            bands=_words(_ask("Bands, or all", "B2,B3,B4,B8" if asset == SCENE else "all")),
        )
        wishes = _placed(wishes, file, _FIRST_PIXELS)
    wishes = replace(wishes, out=_ask("Mosaic", f"out/{file.stem}.zarr"))
    if where == "emulator":
        return replace(wishes, endpoint="emulator")
    project = _ask("Cloud project; - for that of your credentials", "-")
    key = _ask("Key file; - if you signed in otherwise", "-")
    return replace(
        wishes,
        endpoint="auto",
        project=None if project == "-" else project,
        key_file=None if key == "-" else key,
    )


def _ask(question: str, default: str, choices: tuple[str, ...] = ()) -> str:
    kind = click.Choice(choices) if choices else str
    answer: str = click.prompt(question, default=default, type=kind, err=True)
    return answer.strip()


def _placed(wishes: Wishes, file: Path, default: str) -> Wishes:
    """Where: a box, a point or a file, told by its look; asked again until it is one."""
    while True:
        text = _ask("Where: w,s,e,n or lon,lat or a file", default)
        if text == _FIRST_PIXELS:
            return wishes
        if Path(text).is_file():
            return replace(wishes, file=_from(file, text))
        try:
            numbers = tuple(float(word) for word in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) == 4:
            return replace(wishes, bbox=numbers)
        if len(numbers) == 2:
            return replace(wishes, point=numbers)
        say("write four numbers, or two, with commas between them, or the path of a file", err=True)


def _from(file: Path, path: str | None) -> str | None:
    """A path of the command line, which starts from the current folder, as the job file writes it."""
    if path is None or Path(path).is_absolute() or path.startswith("~"):
        return path
    return os.path.relpath(path, file.parent)


def _words(text: str | None) -> tuple[str, ...] | None:
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    return None if words in {(), ("all",)} else words


def _numbers(text: str | None, count: int, option: str, example: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise click.UsageError(f"{option} {text}: wants {count} numbers in degrees, such as {example}")
    return numbers
