"""`downloader inspect`: print what the catalogue knows of an asset."""

from __future__ import annotations

import click

from downloader.cli.options import command, service_options
from downloader.cli.output import say, say_json
from downloader.text import counted


@command("inspect")
@click.argument("asset")
@service_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the service's document as JSON, with `catalogue` where the Data Catalog knows the dataset.",
)
def inspect_command(asset: str, overrides: list[str], as_json: bool) -> None:
    """Print bands, types and grids of an image, or of a folder or collection how many assets it holds.

    Of public datasets also what the Data Catalog states: units, scales, wavelengths, classes, licence.

    Examples:
      downloader inspect LANDSAT
      downloader inspect COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG
    """
    from downloader.engine import explore
    from downloader.report.text import asset_text

    if as_json:
        say_json(explore.inspect(asset, overrides))
        return
    document, count = explore.inspect_with_count(asset, overrides)
    say(asset_text(document))
    if count is not None:
        number, more = count
        say(f"holds: {counted(number, 'asset')}{' or more' if more else ''}")
