"""Make tables of statistics of places, where the packages for it are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from downloader.errors import MissingExtraError
from downloader.progress.late import late
from downloader.tables.request import Layout, Table, TableRequest, Watch


def table(
    mosaic: str | Path,
    out: str | Path,
    *,
    by: Any = None,  # noqa: ANN401  # a path, or a table of another library
    stats: Sequence[str] = ("mean",),
    bands: Sequence[str] | None = None,
    layout: Layout = "wide",
    missing: Literal["raise", "mask"] = "raise",
) -> Table:
    """Write statistics of places in a mosaic, a row for each place and time; a call that was killed continues.

    Pixels count as far as a polygon covers them, and where they are valid: stored, not masked, not nodata, finite.
    Values are in physical units wherever scale and offset of a band are known.

    Args:
        mosaic: path or URL of the mosaic.
        out: a `.parquet`, `.geoparquet` (which keeps the shapes) or `.csv` file.
        by: polygons or points: a GeoDataFrame; or a vector file, GeoParquet, or a CSV file with `lon` and `lat`, whose
            columns are kept. A point stands for the pixel that holds it. None takes all of the mosaic as one place, of
            samples each sample.
        stats: of `mean`, `median`, `p0` to `p100`, `min`, `max`, `sum`, `std`, `var`, `count` (pixels, by the share that
            is covered), `majority`, `minority`, `variety`, and with `layout="long"` `fractions` (the share of each
            value). The valid share of each place is always told.
        bands: names, or `group/band`; by default all but masks.
        layout: `wide` has a column for each band and statistic, `long` a row.
        missing: where tiles are not stored, `raise` refuses, `mask` counts their pixels as not valid.

    Raises:
        IncompleteError: tiles are not stored, and `missing` is `raise`.
        JobError: no such band, statistic or file; a file that holds no polygons and points.
        LockedError: another process makes this table.
        MissingExtraError: the packages of the extra `tables` are not installed.
        RefusedError: there is no mosaic.
        StoppedError: the disk is full; what is made of the table stays.
    """
    return make_table(TableRequest(mosaic, out, by, stats, bands, layout, missing))


def make_table(request: TableRequest, watch: Watch | None = None) -> Table:
    """Write a table; see `table`. `watch` is told how far it is, and may raise to stop; without it a terminal or a notebook shows it."""
    try:
        from downloader.tables.make import make
    except ModuleNotFoundError as error:
        raise MissingExtraError("Making a table", "tables") from error
    with late(f"making {request.out}", wanted=watch is None) as tell:
        return make(request, watch or tell)
