"""Rows of a table: the places of a mosaic over runs of slices, or samples, part by part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import LONLAT
from downloader.model.grid import PixelGrid
from downloader.mosaic.flat import check_steps
from downloader.planning.samples import SampleList
from downloader.tables.canvas import GroupPixels, TiledPixels, strip
from downloader.tables.places import Places, read_places
from downloader.tables.request import TableRequest
from downloader.tables.shapes import fields_of, shapes_of
from downloader.tables.sheet import TableBand, TableSheet, axis_table
from downloader.tables.zonal import Read, Summary, summarise

_RUN_BYTES: Final = 64 * 2**20
"""Bytes of pixels of one tile of all slices of a run, or of all chips of a run of samples."""

_PART_VALUES: Final = 4_000_000
"""Numbers that one part holds."""


class TableRows(ABC):
    """The rows of a table: its columns, units that become parts, and the rows of each."""

    sheet: TableSheet
    places: int
    """Number of places; a sample counts once, whatever the number of its steps."""
    has_row: NDArray[np.bool_]
    """(place): whether it has rows."""
    outside: int = 0
    """Places of which no pixel lies in the mosaic."""
    empty: int = 0
    """Samples that are cut from no image."""
    shapes: Sequence[NDArray[np.object_]] = ()
    """By group, the places in its pixels; of samples none."""

    def __init__(
        self, request: TableRequest, groups: Sequence[GroupPixels], statistics: tuple[str, ...]
    ) -> None:
        self.groups = groups
        self.statistics = statistics
        self.keeps_shapes = request.file.suffix.lower() == ".geoparquet"
        self.tiling = groups[0].layout.group.tiling
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
    def summary(self, number: int, slices: range, places: range) -> Summary:
        """Return statistics of places in all bands of a group, slice after slice.

        Args:
            number: index of the group.
            slices: the slices.
            places: the places.
        """

    def rows(self, slices: range, places: range) -> pa.Table:
        """Return the rows of one part: slice after slice, and place after place within it."""
        found = [self.summary(number, slices, places) for number in range(len(self.groups))]
        kept = np.flatnonzero(self.has_row[places.start : places.stop])
        shapes = [(len(kept), len(slices), len(one.bands)) for one in self.groups]

        def by_row(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
            told = [part[kept].reshape(*to, *part.shape[2:]) for part, to in zip(parts, shapes, strict=True)]
            joined = np.concatenate(told, axis=2).swapaxes(0, 1)
            return joined.reshape(len(kept) * len(slices), *joined.shape[2:])

        return self.sheet.rows(
            np.tile(np.array(places)[kept], len(slices)),
            np.repeat(np.array(slices), len(kept)),
            by_row([one.values for one in found]),
            by_row([one.valid for one in found]),
            by_row([one.classes for one in found]),
        )

    def fitting(self, pixels: int) -> int:
        """Return the number of slices of so many pixels that fit into a run: whole shards where one fits."""
        fitting = max(1, _RUN_BYTES // (8 * pixels * len(self.bands)))
        whole = self.tiling.shard_slices
        return fitting // whole * whole or fitting


class PlaceRows(TableRows):
    """Places in a mosaic whose slices lie on one grid."""

    def __init__(
        self, request: TableRequest, groups: Sequence[GroupPixels], statistics: tuple[str, ...]
    ) -> None:
        super().__init__(request, groups, statistics)
        grids = [one.layout.group.grid for one in groups]
        here = read_places(request.by) if request.by is not None else _whole(grids[0])
        self.shapes = [shapes_of(here, grid) for grid in grids]
        touched = np.zeros(len(here), np.bool_)
        for shapes, grid in zip(self.shapes, grids, strict=True):
            touched |= shapely.intersects(shapes, shapely.box(0, 0, grid.width, grid.height))
        self.outside = int((~touched).sum())
        self.places, self.has_row = len(here), np.ones(len(here), np.bool_)
        columns = here.columns
        if request.by is not None:
            numbers = pa.array(range(1, len(here) + 1), pa.int64())
            fields = [pa.field("place", pa.int64()), *columns.schema]
            columns = pa.Table.from_arrays([numbers, *columns.columns], schema=pa.schema(fields))
        along = groups[0].layout.along
        slices = axis_table(along)
        started = groups[0].node.attrs.get("start_time")
        if not along and started:
            time = np.array([started.removesuffix("Z")], "M8[us]")
            slices = pa.table({"time": pa.array(time, pa.timestamp("us", "UTC"))})
        kept = here if self.keeps_shapes else None
        self.sheet = TableSheet(request.layout, statistics, self.bands, columns, slices, kept)

    def units(self) -> Iterator[tuple[range, range]]:
        """See `TableRows`."""
        run = self.fitting(self.tiling.tile**2)
        per_place = min(run, self.tiling.slices) * len(self.bands) * (1 + len(self.statistics))
        batch = max(1, _PART_VALUES // per_place)
        for first in range(0, self.tiling.slices, run):
            for begin in range(0, self.places, batch):
                yield (
                    range(first, min(first + run, self.tiling.slices)),
                    range(begin, min(begin + batch, self.places)),
                )

    def summary(self, number: int, slices: range, places: range) -> Summary:
        """See `TableRows`."""
        pixels = self.groups[number]
        tiled = TiledPixels(pixels, slices)
        rasters: list[Read] = [
            partial(tiled.read, band, slice_) for slice_ in slices for band in pixels.bands
        ]
        shapes, group = self.shapes[number][places.start : places.stop], pixels.layout.group
        return summarise(shapes, group.grid.shape, group.tiling.tile, rasters, self.statistics)


class SampleRows(TableRows):
    """Samples, each chip of which is a place of its own."""

    def __init__(
        self,
        request: TableRequest,
        groups: Sequence[GroupPixels],
        statistics: tuple[str, ...],
        samples: SampleList | None,
    ) -> None:
        super().__init__(request, groups, statistics)
        if request.by is not None:
            raise JobError(f"by: {request.mosaic} holds samples, each of which is a place; leave it out")
        for one in groups:
            check_steps(one.node[one.layout.arrays[0]], one.layout.group.tiling, str(request.mosaic))
        layout = groups[0].layout
        own = {"crs", "transform", "centre_x", "centre_y"}
        columns = axis_table(layout.along, [one.name for one in layout.along if one.name not in own])
        self._steps = self.tiling.steps or 1
        self.places = self.tiling.slices // self._steps
        is_cut = np.array([one is not None for one in layout.group.lattices]).reshape(-1, self._steps)
        self.empty = int((~is_cut.any(axis=1)).sum())
        # A step without an image has no row.
        extents = layout.group.extents
        self.has_row = np.array([not extents or bool(extents[k]) for k in range(self.tiling.slices)])
        self._fields = [fields_of(one.layout.group) for one in groups]
        kept = None
        if self.keeps_shapes:
            shapes, crs = shapely.points(np.asarray(columns["lon"]), np.asarray(columns["lat"])), LONLAT
            if samples is not None and layout.group.shapes:
                polygons = [one.point.shape for one in samples.firsts]
                shapes = shapely.from_wkb(np.repeat(np.array(polygons, object), self._steps))
                crs = samples.crs
            kept = Places(crs, shapes, columns)
        self.sheet = TableSheet(request.layout, statistics, self.bands, columns, pa.table({}), kept)

    def units(self) -> Iterator[tuple[range, range]]:
        """See `TableRows`."""
        run = self.fitting(max(one.layout.group.window.pixels for one in self.groups))
        for first in range(0, self.tiling.slices, run):
            yield range(1), range(first, min(first + run, self.tiling.slices))

    def summary(self, number: int, slices: range, places: range) -> Summary:  # noqa: ARG002  # each place has its own
        """See `TableRows`."""
        pixels, fields = self.groups[number], self._fields[number]
        window = pixels.layout.group.window
        # Chips lie side by side.
        left = np.arange(len(places)) * window.width
        shapes = shapely.box(left, 0, left + window.width, window.height)
        if fields is not None:
            shapes = fields[np.array(places) // self._steps]
            parts, of = shapely.get_coordinates(shapes, return_index=True)
            shapes = shapely.set_coordinates(shapes.copy(), parts + np.column_stack([left[of], 0 * of]))
        rasters: list[Read] = [partial(_read_array, strip(pixels, band, places)) for band in pixels.bands]
        size = window.height, window.width * len(places)
        return summarise(shapes, size, window.width, rasters, self.statistics)


def _whole(grid: PixelGrid) -> Places:
    """Return all of a grid as one place."""
    corners = [
        grid.transform.at(*at)
        for at in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    ]
    return Places(grid.crs, np.array([shapely.Polygon(corners)], object), pa.table({}))


def _read_array(
    pixels: NDArray[np.float64], column: int, row: int, width: int, height: int
) -> NDArray[np.float64]:
    return pixels[row : row + height, column : column + width]
