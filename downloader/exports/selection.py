"""Select the group, slice and window of a mosaic that an export writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from downloader.arguments import numbers
from downloader.errors import JobError
from downloader.model.bbox import BoundingBox, cover_box
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.flat import check_steps, flat
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.reader import level_layout
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import locate
from downloader.planning import Group
from downloader.previews.select import choose_slice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Labels:
    """What a group's slices are called, read once where many are exported."""

    node: Any
    are_many: bool
    _read: dict[str, Any] = field(default_factory=dict)

    def at(self, name: str, number: int) -> Any:  # noqa: ANN401  # a number or a text
        """Return a label of a slice; None where there are none of this name."""
        if name not in self._read:
            array = flat(self.node[name]) if name in self.node else None
            self._read[name] = np.asarray(array[...]) if self.are_many and array is not None else array
        array = self._read[name]
        return None if array is None else array[number]


@dataclass(frozen=True)
class Excerpt:
    """One slice of one group, open for reading."""

    path: str
    layout: GroupLayout
    node: Any
    """Its Zarr group."""
    labels: _Labels
    number: int
    """Index along the leading axis."""
    grid: PixelGrid

    group: str
    """Name of the group; of an overview the one that it is made of."""
    level: int = 1
    """1 for the pixels, or an overview's factor."""
    _cells: dict[Window, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)
    """Of the first window that was asked for, the file's."""

    @classmethod
    def choose(
        cls, mosaic: str | Path, name: str, level: int, time: str | None, number: int | None, *, each: bool
    ) -> list[Excerpt]:
        """Open slices of a mosaic: one, or all that have pixels, in the order of the mosaic.

        Args:
            mosaic: its path or URL.
            name: the group's name.
            level: 1 for the pixels, or an overview's factor.
            time: `latest`, a number in the order of time, or the beginning of a time; None for the latest.
            number: in place of it an index in the mosaic's own order.
            each: whether all slices are wanted.

        Raises:
            JobError: there is no such level or slice.
        """
        location = locate(mosaic)
        layout = next(one for one in read_mosaic(mosaic).layouts if one.group.name == name)
        if level != 1:
            layout = level_layout(mosaic, layout, level)
        root: Any = zarr.open_group(location.readable(), mode="r")
        node = root[layout.group.name] if layout.group.name else root
        group = layout.group
        check_steps(node[layout.arrays[0]], group.tiling, location.name)
        if each:
            numbers = list(range(group.tiling.slices if group.axis else 1))
        else:
            numbers = [choose_slice(node, flat(node[layout.arrays[0]]), time or "latest", number)[0]]
        if group.lattices and number is None and not each:
            raise JobError(
                f"{location.name}: holds samples; choose a chip with slice, or put {{sample}} in the file's name"
            )
        grids = {k: _grid(group, k) for k in numbers}
        labels = _Labels(node, are_many=len(numbers) > 1)
        found = [
            cls(location.name, layout, node, labels, k, grid, name, level)
            for k, grid in grids.items()
            if grid is not None
        ]
        if not found:
            raise JobError(f"slice {number}: this chip has no pixels")
        return found

    def time(self) -> str:
        """Return the slice's time as a part of a file's name; its number where it has none."""
        text = self._moment()
        return str(self.number) if text is None else re.sub(r"[-:]", "", text)

    def _moment(self) -> str | None:
        time = self.labels.at("time", self.number)
        moment = np.asarray("NaT" if time is None else time).astype("datetime64[us]")
        return None if np.isnat(moment) else str(np.datetime_as_string(moment, unit="auto"))

    def _sample(self) -> str | None:
        id_ = self.labels.at("sample_id", self.number // (self.layout.group.tiling.steps or 1))
        return None if id_ is None else str(id_)

    def sample(self, *, with_step: bool) -> str:
        """Return the id of the slice's sample as a part of a file's name, and on request which step of it the slice is.

        Raises:
            JobError: the mosaic has no samples.
        """
        id_ = self._sample()
        if id_ is None:
            raise JobError(f"{{sample}}: {self.path} holds no samples; name files by {{time}} or {{slice}}")
        name, steps = re.sub(r"[^\w.-]+", "_", id_), self.layout.group.tiling.steps
        return f"{name}_{self.number % steps}" if with_step and steps else name

    def position(self) -> int:
        """Return the slice's index in what `open_group` returns, which is in the order of time."""
        if self.layout.group.axis != "time":
            return self.number
        times = np.asarray(self.node["time"][:])
        return int(np.flatnonzero(np.argsort(times, kind="stable") == self.number)[0])

    def index(self, band: str) -> int:
        """Return the index of a band in its group."""
        return next(i for i, one in enumerate(self.layout.group.bands) if one.id == band)

    def pixels(self, band: str, window: Window) -> NDArray[Any]:
        """Return the pixels (height, width) of one band."""
        array = flat(self.node[self.layout.arrays[self.index(band)]])
        lead = (self.number,) if self.layout.leading else ()
        return np.asarray(array[(*lead, *window.slices)])

    def cells(self, window: Window) -> NDArray[np.uint8]:
        """Return `coverage`, (rows, columns), of the tiles that a window touches."""
        if window in self._cells:
            return self._cells[window]
        tile = self.layout.group.tiling.tile
        lead = (self.number,) if self.layout.leading else ()
        rows = slice(window.row // tile, -(-window.row_end // tile))
        columns = slice(window.column // tile, -(-window.column_end // tile))
        cells = np.asarray(flat(self.node[COVERAGE_TILES])[(*lead, rows, columns)])
        if not self._cells:
            self._cells[window] = cells
        return cells

    def stored(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels (height, width) of a window lie in stored tiles."""
        tile = self.layout.group.tiling.tile
        rows = np.arange(window.row, window.row_end) // tile - window.row // tile
        columns = np.arange(window.column, window.column_end) // tile - window.column // tile
        return np.asarray(self.cells(window)[np.ix_(rows, columns)] == Coverage.STORED)

    def masks(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the stored masks of these bands."""
        return tuple(one.id for one in self.layout.group.bands if set(one.mask_of) & set(bands))

    def tags(self) -> dict[str, str]:
        """Return the origin of the pixels, for the file's metadata."""
        about = {name.upper(): str(self.node.attrs[name]) for name in ("source", "start_time", "end_time") if name in self.node.attrs}  # fmt: skip
        image, moment = self.labels.at("image_id", self.number), self._moment()
        found = {"IMAGE_ID": image, "SAMPLE_ID": self._sample(), "START_TIME": moment and f"{moment}Z"}
        return about | {name: str(text) for name, text in found.items() if text is not None}


def _grid(group: Group, number: int) -> PixelGrid | None:
    """Return the grid of a slice's pixels, of a field that of its own box; None for a sample without pixels."""
    if not group.lattices:
        return group.grid
    grid = group.lattices[number]
    if grid is None or not group.shapes:
        return grid
    (box,) = group.extents[number]
    return grid.window(box)


def part_of(
    grid: PixelGrid, window: Window | Sequence[int] | None, bbox: Sequence[float] | None, crs: str
) -> Window:
    """Return the window of the grid that was asked for. Raises JobError if it lies outside."""
    if bbox is not None:
        west, south, east, north = numbers(bbox, "bbox", "west, south, east, north")
        try:
            return cover_box(grid, BoundingBox(west, south, east, north, Crs.parse(crs)))
        except JobError as error:
            option = "bbox" if error.key else "crs"
            raise JobError(f"{option}: {error.message}") from error
    if window is None:
        return grid.bounds
    if not isinstance(window, Window):
        window = Window(*map(int, numbers(window, "window", "column, row, width, height")))
    part = window.clip(grid.bounds)
    if part is None:
        raise JobError(f"window: {window} lies outside the {grid.width}×{grid.height} pixels of the mosaic")
    return part
