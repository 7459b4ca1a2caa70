"""Commands that look into the catalogue: `inspect`, `images`, `thumbnail`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from downloader.cli.options import service_options, service_overrides
from downloader.cli.output import say

__all__ = ["images_command", "inspect_command", "thumbnail_command"]

_CLOUDS = ("CLOUDY_PIXEL_PERCENTAGE", "CLOUD_COVER", "CLOUDY_PIXEL_OVER_LAND_PERCENTAGE", "CLOUD_COVERAGE")
"""What collections call their clouds; shown where no filter names a property."""

_INSPECT_EPILOG = """\b
Examples:
  downloader inspect LANDSAT
  downloader inspect COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG
"""

_IMAGES_EPILOG = """\b
Examples:
  downloader images COPERNICUS/S2 --start 2017-04-01 --end 2017-05-01 --point -122.085,37.422
  downloader images COPERNICUS/S2 --start 2017-04-01 --end 2017-05-01 --region park.geojson \\
      --filter 'CLOUDY_PIXEL_PERCENTAGE < 10' --ids > images.txt
"""

_THUMBNAIL_EPILOG = """\b
Examples:
  downloader thumbnail COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG \\
      --bands B4,B3,B2 --max 3000 -o look.png
  downloader thumbnail COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG \\
      --bands B8 --max 5000 --palette white,1a9850 -o green.png
"""


@click.command("inspect", epilog=_INSPECT_EPILOG)
@click.argument("asset")
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print the service's document unchanged.")
def inspect_command(
    asset: str, endpoint: str | None, project: str | None, key_file: str | None, as_json: bool
) -> None:
    """What the catalogue says of ASSET: bands, types and grids of an image; of a folder how much it holds."""
    from downloader.engine import explore
    from downloader.report.text import asset_text
    from downloader.text import counted

    overrides = service_overrides(endpoint, project, key_file)
    if as_json:
        say(json.dumps(explore.inspect(asset, overrides), indent=2))
        return
    document, count = explore.inspect_with_count(asset, overrides)
    say(asset_text(document))
    if count is not None:
        number, more = count
        say(f"holds: {counted(number, 'asset')}{' or more' if more else ''}")


@click.command("images", epilog=_IMAGES_EPILOG)
@click.argument("collection")
@click.option(
    "--start", metavar="DATE", help="First moment, UTC, such as 2017-04-01 or 2017-04-01T12:00:00Z."
)
@click.option("--end", metavar="DATE", help="First moment not taken any more.")
@click.option("--point", metavar="LON,LAT", help="Degrees; the image's footprint must hold it.")
@click.option(
    "--region",
    metavar="FILE.geojson",
    type=click.Path(path_type=Path),
    help="The image's footprint must meet this.",
)
@click.option(
    "--filter",
    "condition",
    metavar="EXPR",
    help="Condition on properties: = != < <= > >=, AND, OR, NOT, (); texts in double quotes.",
)
@click.option(
    "--order-by", metavar="NAME", help="Order by a property, not by time; -NAME from the greatest on."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="No more than so many.")
@service_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document with the service's own, unchanged."
)
@click.option("--ids", is_flag=True, help="Print ids only, one a line.")
def images_command(
    collection: str,
    start: str | None,
    end: str | None,
    point: str | None,
    region: Path | None,
    condition: str | None,
    order_by: str | None,
    limit: int | None,
    endpoint: str | None,
    project: str | None,
    key_file: str | None,
    as_json: bool,
    ids: bool,
) -> None:
    """List the images of COLLECTION with start ≤ time < end, by time and id: a table, ids, or JSON."""
    from downloader.engine import explore

    if as_json and ids:
        raise click.UsageError("--json and --ids exclude each other")
    if point is not None and region is not None:
        raise click.UsageError("--point and --region exclude each other")
    columns = _columns(condition, order_by)
    found = explore.list_documents(
        collection,
        dict if as_json else _reader(columns or _CLOUDS),
        start=start,
        end=end,
        region=_point(point) if point is not None else region,
        filter=condition,
        limit=limit,
        order_by=order_by,
        overrides=service_overrides(endpoint, project, key_file),
    )
    if as_json:
        say(json.dumps({"images": found}, indent=2))
    elif ids:
        if found:
            say("\n".join(row["id"] for row in found))
    elif found:
        say(_table(found, columns))
    else:
        say(f"no image of {collection} matches")


@click.command("thumbnail", epilog=_THUMBNAIL_EPILOG)
@click.argument("image")
@click.option(
    "--bands", metavar="R,G,B", help="Three bands, or one; by default the first three, or the first."
)
@click.option(
    "--min",
    "low",
    default="0",
    show_default=True,
    metavar="N",
    help="Value shown black; or one for each band: N,N,N.",
)
@click.option("--max", "high", required=True, metavar="N", help="Value shown white, likewise.")
@click.option(
    "--size", default=256, show_default=True, type=click.IntRange(1, 4096), help="Pixels along each side."
)
@click.option("--gamma", type=float, help="Above 1 brightens.")
@click.option("--palette", metavar="C,C,…", help="Colours of one band from low to high: RRGGBB or CSS names.")
@click.option(
    "--region",
    metavar="FILE.geojson",
    type=click.Path(path_type=Path),
    help="Show this, not the whole footprint.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG file to write.",
)
@service_options
def thumbnail_command(
    image: str,
    bands: str | None,
    low: str,
    high: str,
    size: int,
    gamma: float | None,
    palette: str | None,
    region: Path | None,
    output: Path,
    endpoint: str | None,
    project: str | None,
    key_file: str | None,
) -> None:
    """A stretched PNG of IMAGE's footprint, made by the service."""
    from downloader.engine import explore

    names = _words(bands)
    png = explore.thumbnail(
        image,
        output,
        bands=names or None,
        min=_values(low, "--min"),
        max=_values(high, "--max"),
        size=size,
        gamma=gamma,
        palette=_words(palette),
        region=region,
        overrides=service_overrides(endpoint, project, key_file),
    )
    say(f"{output}: {size} × {size} pixels, {len(png):,} bytes")


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _values(text: str, option: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise click.UsageError(
            f"{option} {text}: wants a number, or one for each band, such as 0,0,50"
        ) from None


def _point(text: str) -> dict[str, Any]:
    try:
        longitude, latitude = (float(word) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"--point {text}: wants LON,LAT in degrees, such as -122.085,37.422") from None
    return {"type": "Point", "coordinates": [longitude, latitude]}


def _columns(condition: str | None, order_by: str | None) -> list[str]:
    """The properties that the user named."""
    from downloader.model.filter import Filter

    names = list(Filter.parse(condition).names) if condition is not None else []
    if order_by is not None:
        names.append(order_by.removeprefix("-").removeprefix("properties."))
    return list(dict.fromkeys(names))


def _reader(names: Sequence[str]) -> Any:  # noqa: ANN401  # a function of one document
    """Keeps of a document what the table shows: a long list of whole documents would fill the memory."""
    from downloader.earthengine.names import asset_id

    def read(document: Mapping[str, Any]) -> dict[str, Any]:
        properties = document.get("properties") or {}
        return {
            "id": str(document.get("id") or asset_id(str(document.get("name")))),
            "time": str(document.get("startTime") or "-"),
            **{name: properties[name] for name in names if name in properties},
        }

    return read


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    from downloader.text import table

    shown = list(columns) or [name for name in _CLOUDS if any(name in row for row in rows)][:1]
    cells = [[row["id"], row["time"], *(str(row.get(name, "-")) for name in shown)] for row in rows]
    return table(cells, ("image", "time", *shown))
