"""Make a table part by part: check what is asked for, open the groups, and write what each part holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import shapely
import zarr

from downloader.arguments import check_choices, check_names
from downloader.errors import IncompleteError, JobError
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_to_bytes
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import locate
from downloader.tables.canvas import GroupPixels, holes
from downloader.tables.parts import TableParts
from downloader.tables.request import Table, TableRequest, Watch
from downloader.tables.rows import PlaceRows, SampleRows, TableRows
from downloader.tables.zonal import FRACTIONS, check_statistics


def make(request: TableRequest, watch: Watch) -> Table:
    """Write a table; see `table`."""
    check_names(request.stats, "stats")
    check_names(request.bands, "bands")
    check_choices([request.layout], "layout", ("wide", "long"))
    check_choices([request.missing], "missing", ("raise", "mask"))
    statistics = check_statistics(request.stats)
    if FRACTIONS in statistics and request.layout == "wide":
        raise JobError(f"stats: {FRACTIONS} has a row for each class found; add layout long")
    file = request.file
    identity = read_mosaic(request.mosaic)
    groups = _open(request, identity)
    lacking, cells = holes(groups)
    if lacking and request.missing == "raise":
        raise IncompleteError(
            f"{request.mosaic}: {lacking:,} of {cells:,} tiles are not stored. Run the job again to fetch them, or make "
            "the table with missing=mask (their pixels count as not valid)"
        )
    work: TableRows = (
        SampleRows(request, groups, statistics, identity.samples)
        if groups[0].layout.group.axis == "sample"
        else PlaceRows(request, groups, statistics)
    )
    nested = [field.name for field in work.sheet.schema if pa.types.is_nested(field.type)]
    if nested and file.suffix.lower() == ".csv":
        raise JobError(f"{request.out}: column {nested[0]!r} holds lists or records; name a .parquet file")
    units = list(work.units())
    parts = TableParts(file, work.sheet.schema, _fingerprint(request, identity, work, units))
    with parts.opened():
        for number, unit in enumerate(units):
            if not parts.has(number):
                parts.write(number, work.rows(*unit))
            watch(number + 1, len(units))
        rows = parts.assemble(len(units))
    return Table(
        file, rows, tuple(work.sheet.schema.names), work.places, work.outside, work.empty, file.stat().st_size
    )


def _open(request: TableRequest, identity: Identity) -> list[GroupPixels]:
    """Return the groups that have the bands asked for, open for reading."""
    known = {
        f"{layout.group.name}/{band.id}".removeprefix("/"): (layout, index)
        for layout in identity.layouts
        for index, band in enumerate(layout.group.bands)
    }
    chosen: dict[str, tuple[GroupLayout, list[int]]] = {}
    wanted = request.bands
    if wanted is None:
        wanted = [name for name, (layout, k) in known.items() if not layout.group.bands[k].mask_of]
    for name in wanted:
        found = [known[name]] if name in known else [v for k, v in known.items() if k.endswith(f"/{name}")]
        if len(found) != 1:
            problem = "has no band" if not found else "has in several groups the band"
            raise JobError(f"bands: the mosaic {problem} {name!r}; its bands are {', '.join(known)}")
        layout, index = found[0]
        indices = chosen.setdefault(layout.group.name, (layout, []))[1]
        indices += [] if index in indices else [index]
    if not chosen:
        raise JobError("bands: names no band; leave it out for all of them")
    along = {
        name: [one.values for one in layout.along if one.name in {"time", "image_id", "sample_id"}]
        for name, (layout, _) in chosen.items()
    }
    if any(one != next(iter(along.values())) for one in along.values()):
        raise JobError(
            f"bands: the groups {', '.join(chosen)} have different images; make a table of each, naming its bands, "
            f"such as {next(name for name in known if '/' in name)}"
        )
    root: Any = zarr.open_group(locate(request.mosaic).readable(), mode="r")
    store = locate(request.mosaic).store()
    return [
        GroupPixels(layout, root[name] if name else root, store, tuple(indices))
        for name, (layout, indices) in chosen.items()
    ]


def _fingerprint(request: TableRequest, identity: Identity, work: TableRows, units: Sequence[Any]) -> str:
    """Return what tells this table from any other: the mosaic and what is stored of it, the places, what is asked."""
    digest = hashlib.sha256(identity_to_bytes(identity))
    digest.update(json.dumps(sorted(locate(request.mosaic).store().list(LEDGER))).encode())
    libraries = [version("exactextract"), version("pyarrow")]
    asked = [work.statistics, request.layout, request.missing, [band.name for band in work.bands], str(units)]
    digest.update(json.dumps([asked, libraries, str(work.sheet.schema)]).encode())
    for column in work.sheet.places.columns:
        digest.update(repr(column.to_pylist()).encode())
    for shapes in work.shapes:
        for wkb in shapely.to_wkb(shapes):
            digest.update(wkb)
    return digest.hexdigest()
