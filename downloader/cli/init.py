"""`downloader init`: a job file to start from."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from downloader.cli.confirm import somebody_is_there
from downloader.cli.options import command, raw_service_options
from downloader.cli.output import say
from downloader.cli.parameters import BOX, POINT, WORDS

if TYPE_CHECKING:
    from downloader.job.template import JobTemplate


_FIRST_PIXELS = "first 1024 × 1024 pixels"


@command("init")
@click.argument(
    "target", metavar="[FILE]", default="job.yaml", type=click.Path(path_type=Path, dir_okay=False)
)
@click.option("--asset", metavar="ID", help="One image.")
@click.option("--collection", metavar="ID", help="A collection, with --start, --end and a region.")
@click.option("--start", metavar="DATE", help="Start of the period, UTC, such as 2017-04-01.")
@click.option("--end", metavar="DATE", help="End of the period, exclusive.")
@click.option("--bands", type=WORDS, help="Bands in the order wanted; by default all.")
@click.option("--bbox", type=BOX, help="West, south, east and north, in degrees.")
@click.option("--point", type=POINT, help="Centre of a square, in degrees; see --km.")
@click.option("--km", type=float, default=5.0, metavar="N", help="Side of the square around --point.")
@click.option("--file", metavar="FILE", help="Vector file of the region, such as GeoJSON.")
@click.option("-o", "--out", metavar="PATH|URL", help="Path of the mosaic; by default out/NAME.zarr.")
@raw_service_options
@click.option(
    "--schema/--no-schema",
    default=True,
    help="Write job.schema.json beside it, for editors.",
)
@click.option("--yes", is_flag=True, help="Ask nothing; what is not given gets its default.")
def init_command(target: Path, schema: bool, yes: bool, **options: Any) -> None:  # fields of `JobTemplate`
    r"""Write a commented job FILE that runs. Prompts when run in a terminal without options. Never overwrites a file.

    Examples:
      downloader init                                 a small job on the emulator: job.yaml
      downloader init s2.yaml --asset COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG \
          --bands B4,B3,B2 --bbox -122.12,37.38,-122.04,37.44 --endpoint emulator
      downloader init delta.yaml --collection COPERNICUS/S2_SR_HARMONIZED --start 2017-04-01 \
          --end 2017-05-01 --point -121.85,37.92 --km 4 --project my-project
    """
    from downloader.errors import RefusedError
    from downloader.job.template import SCHEMA_FILE, JobTemplate, init

    if target.exists():
        raise RefusedError(f"{target}: exists, and is never overwritten; name another file")
    options |= {name: _from(target, options[name]) for name in ("file", "key_file")}
    template = JobTemplate(**options | {"bands": _unless_all(options["bands"])})
    if template == JobTemplate(km=template.km) and not yes and somebody_is_there():
        template = _asked(target)
    written = init(target, template, schema=schema)
    say(f"{written}: written{f', and {SCHEMA_FILE} for editors' if schema else ''}. Next:", err=True)
    say(f"  downloader plan {written}", err=True)
    say(f"  downloader run {written}", err=True)


def _asked(file: Path) -> JobTemplate:
    """Ask on the terminal what to fetch."""
    from downloader.job.template import SCENE, JobTemplate

    say(f"A few questions for {file}; Enter takes the value in brackets.", err=True)
    is_emulated = (
        _ask("Synthetic pixels or real ones?", "emulator", ("emulator", "earthengine")) == "emulator"
    )
    found: dict[str, Any] = {}
    if _ask("One image, or many?", "image", ("image", "collection")) == "collection":
        found["collection"] = _ask("Collection", "COPERNICUS/S2_SR_HARMONIZED")
        found["start"], found["end"] = _ask("From (UTC)", "2017-04-01"), _ask("To (exclusive)", "2017-05-01")
        bands, place = "B4,B3,B2", "-121.90,37.87,-121.80,37.96"
    else:
        found["asset"] = _ask("Image", SCENE)
        bands, place = "B2,B3,B4,B8" if found["asset"] == SCENE else "all", _FIRST_PIXELS
    found["bands"] = _unless_all(WORDS.convert(_ask("Bands, or all", bands), None, None))
    where = "Where: w,s,e,n or lon,lat or a file"
    found |= click.prompt(where, default=place, value_proc=partial(_place, file), err=True)
    found["out"] = _ask("Mosaic", f"out/{file.stem}.zarr")
    found["endpoint"] = "emulator" if is_emulated else "auto"
    if not is_emulated:
        project = _ask("Cloud project; - for the one of your credentials", "-")
        key = _ask("Key file; - if you signed in another way", "-")
        found |= {name: text for name, text in (("project", project), ("key_file", key)) if text != "-"}
    return JobTemplate(**found)


def _ask(question: str, default: str, choices: tuple[str, ...] = ()) -> str:
    kind = click.Choice(choices) if choices else str
    answer: str = click.prompt(question, default=default, type=kind, err=True)
    return answer.strip()


def _place(file: Path, text: str) -> dict[str, Any]:
    """Return the field of `JobTemplate` that an answer means. Raises BadParameter, so that it is asked again."""
    if text == _FIRST_PIXELS:
        return {}
    if Path(text).is_file():
        return {"file": _from(file, text)}
    for name, kind in (("bbox", BOX), ("point", POINT)):
        with contextlib.suppress(click.BadParameter):
            return {name: kind.convert(text, None, None)}
    raise click.BadParameter("write four numbers, or two, with commas between them, or the path of a file")


def _from(file: Path, path: str | None) -> str | None:
    """Return a path that starts from the current folder as one that starts from the job file's."""
    if path is None or Path(path).is_absolute() or path.startswith("~"):
        return path
    return os.path.relpath(path, file.parent)


def _unless_all(bands: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if bands in {None, (), ("all",)} else bands
