"""`downloader images`: list the images of a collection."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from downloader.cli.options import command, service_options
from downloader.cli.output import say, say_json
from downloader.cli.parameters import POINT

if TYPE_CHECKING:
    from downloader.job.service_settings import ServiceSettings
    from downloader.model.image_query import ImageQuery


@command("images")
@click.argument("collection")
@click.option(
    "--start", metavar="DATE", help="Start of the period, UTC, such as 2017-04-01 or 2017-04-01T12:00:00Z."
)
@click.option("--end", metavar="DATE", help="End of the period, exclusive.")
@click.option("--point", type=POINT, help="Degrees; only images whose footprint contains it.")
@click.option(
    "--region",
    metavar="FILE.geojson",
    type=click.Path(path_type=Path),
    help="Only images whose footprint intersects it.",
)
@click.option(
    "--filter",
    metavar="EXPR",
    help="Condition on properties: = != < <= > >=, AND, OR, NOT, (); texts in double quotes.",
)
@click.option(
    "--order-by", metavar="NAME", help="Sort by a property instead of by time; -NAME sorts descending."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Maximum number of images.")
@service_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document with the service's own, unchanged."
)
@click.option("--ids", is_flag=True, help="Print ids only, one per line.")
def images_command(
    collection: str,
    point: tuple[float, float] | None,
    region: Path | None,
    as_json: bool,
    ids: bool,
    **conditions: Any,  # passed on as they are
) -> None:
    r"""List the images of COLLECTION with start ≤ time < end, by time and id, as a table, ids or JSON.

    Examples:
      downloader images COPERNICUS/S2 --start 2017-04-01 --end 2017-05-01 --point -122.085,37.422
      downloader images COPERNICUS/S2 --start 2017-04-01 --end 2017-05-01 --region park.geojson \
          --filter 'CLOUDY_PIXEL_PERCENTAGE < 10' --ids > images.txt
    """
    from downloader.earthengine.documents import ImageReader
    from downloader.engine import explore
    from downloader.job.service_settings import ServiceSettings
    from downloader.model.filter import Filter
    from downloader.model.image_query import ImageQuery
    from downloader.report.image_list import CLOUDS, images_table

    if as_json and ids:
        raise click.UsageError("--json and --ids exclude each other")
    if point is not None and region is not None:
        raise click.UsageError("--point and --region exclude each other")
    named = [] if conditions["filter"] is None else list(Filter.parse(conditions["filter"]).names)
    if conditions["order_by"] is not None:
        named.append(conditions["order_by"].removeprefix("-").removeprefix("properties."))
    columns = list(dict.fromkeys(named))
    settings = ServiceSettings.of(overrides=conditions.pop("overrides"))
    place: Mapping[str, Any] | None = None if region is None else explore.geojson(region)
    if point is not None:
        place = {"type": "Point", "coordinates": list(point)}
    query = ImageQuery(collection, region=place, **conditions)
    # Of a document only what is shown: whole ones would fill the memory.
    reader = ImageReader(bands=(), keep=columns or CLOUDS)
    found: list[Any] = explore.list_documents(query, dict if as_json else reader.read, settings)
    if as_json:
        say_json({"images": found})
    elif ids:
        if found:
            say("\n".join(image.id for image in found))
    elif found:
        say(images_table(found, columns))
    else:
        say(f"no image of {collection} matches{_unknown(query, columns, settings)}")


def _unknown(query: ImageQuery, names: Sequence[str], settings: ServiceSettings) -> str:
    """Return which of the properties that a condition names the collection's first image lacks, and what it has."""
    from downloader.earthengine.documents import as_mapping
    from downloader.engine import explore
    from downloader.model.image_query import ImageQuery

    if not names:
        return ""
    first = explore.list_documents(ImageQuery(query.collection, limit=1), dict, settings)
    known = {name for one in first for name in as_mapping(one.get("properties"))}
    lacking = [name for name in names if known and name not in known]
    if not lacking:
        return ""
    near = difflib.get_close_matches(lacking[0].upper(), known, n=3, cutoff=0.3)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"; its first image has no property {lacking[0]}{meant}"
