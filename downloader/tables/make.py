"""Make a table: run by run of slices, and batch by batch of places, each of which becomes a part."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from downloader.arguments import check_choices, check_names
from downloader.errors import IncompleteError, JobError
from downloader.model.crs import LONLAT, transformer
from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.flat import check_steps
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_to_document
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import locate
from downloader.planning import Group
from downloader.planning.polygon import Shape, place
from downloader.planning.samples import SampleList, pixels_of
from downloader.tables.canvas import GroupPixels, TiledPixels, holes, strip
from downloader.tables.parts import TableParts
from downloader.tables.places import Places, read_places
from downloader.tables.request import Table, TableRequest, Watch
from downloader.tables.sheet import TableBand, TableSheet, axis_table
from downloader.tables.zonal import FRACTIONS, Read, Summary, check_statistics, summarise

_RUN_BYTES: Final = 64 * 2**20
"""Pixels of one tile of all slices of a run, or of all chips of a run of samples."""

_PART_VALUES: Final = 4_000_000
"""Numbers that one part holds."""


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
    work: _Work = (
        _Samples(request, groups, statistics, identity.samples)
        if groups[0].layout.group.axis == "sample"
        else _Slices(request, groups, statistics)
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
    import zarr

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


def _fingerprint(request: TableRequest, identity: Identity, work: _Work, units: Sequence[Any]) -> str:
    """Return what tells this table from any other: the mosaic and what is stored of it, the places, what is asked."""
    digest = hashlib.sha256(json.dumps(identity_to_document(identity)).encode())
    digest.update(json.dumps(sorted(locate(request.mosaic).store().list(LEDGER))).encode())
    libraries = [version("exactextract"), version("pyarrow")]
    asked = [work.statistics, request.layout, request.missing, [band.name for band in work.bands], str(units)]
    digest.update(json.dumps([asked, libraries, str(work.sheet.schema)]).encode())
    for column in work.sheet.places.columns:
        digest.update(repr(column.to_pylist()).encode())
    for shape in work.shapes:
        digest.update(shapely.to_wkb(shape))
    return digest.hexdigest()


class _Work(ABC):
    """What is summarised: a sheet, units that become parts, and the rows of each."""

    sheet: TableSheet
    places: int
    outside: int = 0
    """Places of which no pixel lies in the mosaic."""
    empty: int = 0
    """Samples that are cut from no image."""
    shapes: Sequence[Any] = ()
    """Of the places, in pixels; of samples none."""

    def __init__(self, groups: Sequence[GroupPixels], statistics: tuple[str, ...]) -> None:
        self._groups = groups
        self.statistics = statistics
        self._tiling = groups[0].layout.group.tiling
        names = [one.layout.group.bands[k].id for one in groups for k in one.bands]
        self.bands = tuple(
            TableBand(
                (f"{one.layout.group.name}_" if names.count(one.layout.group.bands[k].id) > 1 else "")
                + one.layout.arrays[k],
                dict(one.node[one.layout.arrays[k]].attrs),
            )
            for one in groups
            for k in one.bands
        )

    @abstractmethod
    def units(self) -> Iterator[tuple[range, range]]:
        """Yield (slices, places) of each part."""

    @abstractmethod
    def rows(self, slices: range, places: range) -> pa.Table:
        """Return the rows of one part."""

    def _run(self, pixels: int) -> int:
        """Return how many slices of so many pixels fit into a run: whole shards where one fits."""
        fitting = max(1, _RUN_BYTES // (8 * pixels * len(self.bands)))
        whole = self._tiling.shard_slices
        return fitting // whole * whole or fitting

    def _told(
        self, summaries: Sequence[Summary], areas: Sequence[NDArray[np.float64]], rasters: int
    ) -> tuple[Any, Any, Any]:
        """Return (values, valid, classes) of all groups: (place, raster, band, …)."""
        values, valid = [], []
        for summary, area in zip(summaries, areas, strict=True):
            places = len(summary.counts)
            shape = (places, rasters, summary.values.shape[1] // rasters, len(self.statistics))
            values.append(summary.values.reshape(shape))
            share = summary.counts / np.where(area > 0, area, np.inf)[:, None]
            valid.append(np.clip(share, 0, 1).reshape(places, rasters, -1))
        return np.concatenate(values, axis=2), np.concatenate(valid, axis=2), [s.classes for s in summaries]


class _Slices(_Work):
    """Places in a mosaic whose slices lie on one grid."""

    def __init__(
        self, request: TableRequest, groups: Sequence[GroupPixels], statistics: tuple[str, ...]
    ) -> None:
        super().__init__(groups, statistics)
        grids = [one.layout.group.grid for one in groups]
        here = read_places(request.by) if request.by is not None else _whole(grids[0])
        self._shapes = [_in_pixels(here, grid) for grid in grids]
        self.places = len(here)
        self.shapes = [shape for shapes in self._shapes for shape in shapes]
        touched = np.zeros(len(here), np.bool_)
        for shapes, grid in zip(self._shapes, grids, strict=True):
            touched |= shapely.intersects(shapes, shapely.box(0, 0, grid.width, grid.height))
        self.outside = int((~touched).sum())
        columns = here.columns
        if request.by is not None:
            numbers = pa.array(range(1, len(here) + 1), pa.int64())
            fields = [pa.field("place", pa.int64()), *columns.schema]
            columns = pa.Table.from_arrays([numbers, *columns.columns], schema=pa.schema(fields))
        along = groups[0].layout.along
        slices = axis_table(along)
        started = groups[0].node.attrs.get("start_time")
        if not along and started:
            slices = pa.table({"time": pa.array(np.array([started.removesuffix("Z")], "M8[us]"), pa.timestamp("us", "UTC"))})  # fmt: skip
        self.sheet = TableSheet(
            request.layout,
            statistics,
            self.bands,
            columns,
            slices,
            here if request.file.suffix.lower() == ".geoparquet" else None,
        )

    def units(self) -> Iterator[tuple[range, range]]:
        run = self._run(self._tiling.tile**2)
        per_place = min(run, self._tiling.slices) * len(self.bands) * (1 + len(self.statistics))
        batch = max(1, _PART_VALUES // per_place)
        for first in range(0, self._tiling.slices, run):
            for begin in range(0, self.places, batch):
                yield (
                    range(first, min(first + run, self._tiling.slices)),
                    range(begin, min(begin + batch, self.places)),
                )

    def rows(self, slices: range, places: range) -> pa.Table:
        summaries, areas = [], []
        for one, all_shapes in zip(self._groups, self._shapes, strict=True):
            shapes = all_shapes[places.start : places.stop]
            grid = one.layout.group.grid
            tiled = TiledPixels(one, slices)
            rasters: list[Read] = [
                partial(_read_tiled, tiled, band, slice_) for slice_ in slices for band in one.bands
            ]
            # Places of one tile follow on each other, so that the tile is read once.
            there = np.flatnonzero(~shapely.is_empty(shapes))
            left, bottom, _, _ = (shapely.bounds(shapes[there]) // one.layout.group.tiling.tile).T
            order = there[np.lexsort((left, bottom))]
            found = summarise(
                [shapely.to_wkb(shape) for shape in shapes[order]],
                grid.height, grid.width, rasters, self.statistics,
            )  # fmt: skip
            summaries.append(_in_order(found, order, len(shapes)))
            areas.append(shapely.area(shapes))
        values, valid, classes = self._told(summaries, areas, len(slices))
        rows = len(slices) * len(places)
        bands = [len(one.bands) for one in self._groups]
        named = [
            [
                pair
                for of_group, count in zip(classes, bands, strict=True)
                for pair in of_group[p][s * count : (s + 1) * count]
            ]
            for s in range(len(slices))
            for p in range(len(places))
        ] if FRACTIONS in self.statistics else []  # fmt: skip
        return self.sheet.rows(
            np.tile(np.array(places), len(slices)),
            np.repeat(np.array(slices), len(places)),
            values.swapaxes(0, 1).reshape(rows, len(self.bands), len(self.statistics)),
            valid.swapaxes(0, 1).reshape(rows, len(self.bands)),
            named,
        )


class _Samples(_Work):
    """Samples, each of which is a place of its own."""

    def __init__(
        self,
        request: TableRequest,
        groups: Sequence[GroupPixels],
        statistics: tuple[str, ...],
        samples: SampleList | None,
    ) -> None:
        super().__init__(groups, statistics)
        if request.by is not None:
            raise JobError(f"by: {request.mosaic} holds samples, each of which is a place; leave it out")
        for one in groups:
            check_steps(one.node[one.layout.arrays[0]], one.layout.group.tiling, str(request.mosaic))
        layout = groups[0].layout
        own = {"crs", "transform", "centre_x", "centre_y"}
        columns = axis_table(layout.along, [one.name for one in layout.along if one.name not in own])
        self._steps = self._tiling.steps or 1
        self.places = self._tiling.slices // self._steps
        self.empty = sum(
            all(one is None for one in layout.group.lattices[first : first + self._steps])
            for first in range(0, self._tiling.slices, self._steps)
        )
        self._fields = [_upright(one.layout.group) for one in groups]
        shapes = None
        if request.file.suffix.lower() == ".geoparquet":
            points = shapely.points(np.asarray(columns["lon"]), np.asarray(columns["lat"]))
            shapes = Places(LONLAT, points, columns)
            if samples is not None and layout.group.shapes:
                polygons = [one.point.shape for one in samples.firsts]
                known = shapely.from_wkb(np.repeat(np.array(polygons, object), self._steps))
                shapes = Places(samples.crs, known, columns)
        self.sheet = TableSheet(request.layout, statistics, self.bands, columns, pa.table({}), shapes)

    def units(self) -> Iterator[tuple[range, range]]:
        run = self._run(max(one.layout.group.window.pixels for one in self._groups))
        for first in range(0, self._tiling.slices, run):
            chips = range(first, min(first + run, self._tiling.slices))
            yield chips, chips

    def rows(self, slices: range, places: range) -> pa.Table:
        count = len(slices)
        summaries, areas = [], []
        for one, fields in zip(self._groups, self._fields, strict=True):
            window = one.layout.group.window
            left = np.arange(count) * window.width
            shapes = shapely.box(left, 0, left + window.width, window.height)
            if fields is not None:
                # Chips lie side by side.
                shapes = fields[np.array(slices) // self._steps]
                parts, of = shapely.get_coordinates(shapes, return_index=True)
                shapes = shapely.set_coordinates(shapes.copy(), parts + np.column_stack([left[of], 0 * of]))
            rasters: list[Read] = [partial(_read_array, strip(one, band, slices)) for band in one.bands]
            there = np.flatnonzero(~shapely.is_empty(shapes))
            found = summarise(
                shapely.to_wkb(shapes[there]).tolist(),
                window.height, window.width * count, rasters, self.statistics,
            )  # fmt: skip
            summaries.append(_in_order(found, there, count))
            areas.append(shapely.area(shapes))
        values, valid, classes = self._told(summaries, areas, 1)
        named = []
        if FRACTIONS in self.statistics:
            named = [[pair for of_group in classes for pair in of_group[p]] for p in range(count)]
        # A step without an image has no row.
        extents = self._groups[0].layout.group.extents
        kept = np.array([k for k in range(count) if not extents or extents[slices[k]]], np.int64)
        return self.sheet.rows(
            np.array(places)[kept],
            np.array(slices)[kept],
            values.reshape(count, len(self.bands), len(self.statistics))[kept],
            valid.reshape(count, len(self.bands))[kept],
            [named[k] for k in kept] if named else [],
        )


def _upright(group: Group) -> NDArray[np.object_] | None:
    """Return the fields of samples in pixels of their chips, from the lower left corner, empty where one has none; else None."""
    if not group.shapes:
        return None
    wkb = [one.wkb if isinstance(one, Shape) else None for one in group.shapes]
    found = np.full(len(wkb), shapely.MultiPolygon(), object)
    for number, shape in enumerate(shapely.from_wkb(wkb)):
        if shape is not None:
            found[number] = _polygons(shape, group.window.height)
    return found


def _polygons(shape: BaseGeometry, height: int) -> BaseGeometry:
    """Return the polygons of a shape in pixels, whose rows count from the top, with rows from the bottom."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    return shapely.transform(
        shapely.MultiPolygon(polygons), lambda at: np.column_stack([at[:, 0], height - at[:, 1]])
    )


def _read_tiled(
    tiled: TiledPixels, band: int, slice_: int, column: int, row: int, width: int, height: int
) -> NDArray[np.float64]:
    return tiled.window(band, slice_, Window(column, row, width, height))


def _read_array(
    pixels: NDArray[np.float64], column: int, row: int, width: int, height: int
) -> NDArray[np.float64]:
    return pixels[row : row + height, column : column + width]


def _in_order(summary: Summary, order: NDArray[np.int64], places: int) -> Summary:
    """Return the summary of all places, of which only those of `order`, in that order, were looked at."""
    values = np.full((places, *summary.values.shape[1:]), np.nan)
    counts = np.zeros((places, *summary.counts.shape[1:]))
    values[order], counts[order] = summary.values, summary.counts
    classes: list[list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = []
    if summary.classes:
        classes = [[]] * places
        for position, one in zip(order.tolist(), summary.classes, strict=True):
            classes[position] = one
    return Summary(values, counts, classes)


def _whole(grid: PixelGrid) -> Places:
    """Return all of a grid as one place."""
    corners = [grid.transform.at(column, row) for column, row in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))]  # fmt: skip
    return Places(grid.crs, np.array([shapely.Polygon(corners)], object), pa.table({}))


def _in_pixels(places: Places, grid: PixelGrid) -> NDArray[np.object_]:
    """Return polygons in pixels of a grid, from its lower left corner; empty ones for places that lie elsewhere."""
    found = np.full(len(places), shapely.Polygon(), object)
    for number, shape in enumerate(places.shapes):
        if shape is None:
            continue
        x, y = shapely.get_coordinates(shape).T
        if places.crs != grid.crs:
            x, y = transformer(places.crs, grid.crs).transform(x, y)
        if shape.geom_type == "Point":
            columns, rows, inside = pixels_of(grid, x, y)
            if inside[0]:
                left, top = int(columns[0]), int(rows[0])
                found[number] = shapely.box(left, grid.height - top - 1, left + 1, grid.height - top)
        elif _may_touch(grid, x, y):
            pixels, _ = place(shape, places.crs, grid, buffer=0.0, key=f"by: feature {number + 1}")
            found[number] = _polygons(pixels, grid.height)
    return found


def _may_touch(grid: PixelGrid, x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Return whether a polygon with these corners may touch a grid; one that the CRS cannot show lies elsewhere."""
    known = np.isfinite(x) & np.isfinite(y)
    columns, rows = grid.transform.to_pixels(x[known], y[known])
    if (
        not known.all()
        and not ((columns >= 0) & (columns <= grid.width) & (rows >= 0) & (rows <= grid.height)).any()
    ):
        return False
    return all(
        float(at.min()) - (slack := float(np.ptp(at))) <= side and float(at.max()) + slack >= 0
        for at, side in ((columns, grid.width), (rows, grid.height))
    )
