"""Select the group, slice and window of a mosaic that an export writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from downloader.arguments import numbers
from downloader.errors import JobError
from downloader.model.bbox import BoundingBox, cover_box
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.flat import flat
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.reader import level_layout
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import locate
from downloader.previews.select import choose_slice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Excerpt:
    """One slice of one group, open for reading."""

    path: str
    layout: GroupLayout
    node: Any
    """Its Zarr group."""
    number: int
    """Index along the leading axis."""
    grid: PixelGrid

    group: str
    """Name of the group; of an overview the one that it is made of."""
    level: int = 1
    """1 for the pixels, or an overview's factor."""

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
        if each:
            numbers = list(range(group.tiling.slices if group.axis else 1))
        else:
            numbers = [choose_slice(node, flat(node[layout.arrays[0]]), time or "latest", number)[0]]
        if group.lattices and number is None and not each:
            raise JobError(
                f"{location.name}: holds samples; choose a chip with slice, or put {{sample}} in the file's name"
            )
        grids = {k: group.lattices[k] if group.lattices else group.grid for k in numbers}
        found = [
            cls(location.name, layout, node, k, grid, name, level)
            for k, grid in grids.items()
            if grid is not None
        ]
        if not found:
            raise JobError(f"slice {number}: this chip has no pixels")
        return found

    def time(self) -> str:
        """Return the slice's time as a part of a file's name; its number where it has none."""
        if "time" not in self.node:
            return str(self.number)
        moment = np.asarray(flat(self.node["time"])[self.number]).astype("datetime64[us]")
        text = str(self.number) if np.isnat(moment) else str(np.datetime_as_string(moment, unit="auto"))
        return re.sub(r"[-:]", "", text)

    def sample(self, *, with_step: bool) -> str:
        """Return the id of the slice's sample as a part of a file's name, and on request which step of it the slice is.

        Raises:
            JobError: the mosaic has no samples.
        """
        if "sample_id" not in self.node:
            raise JobError(f"{{sample}}: {self.path} holds no samples; name files by {{time}} or {{slice}}")
        sample, step = divmod(self.number, self.layout.group.tiling.steps or 1)
        name = re.sub(r"[^\w.-]+", "_", str(self.node["sample_id"][sample]))
        return f"{name}_{step}" if with_step and self.layout.group.tiling.steps else name

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
        tile = self.layout.group.tiling.tile
        lead = (self.number,) if self.layout.leading else ()
        rows = slice(window.row // tile, -(-window.row_end // tile))
        columns = slice(window.column // tile, -(-window.column_end // tile))
        return np.asarray(flat(self.node[COVERAGE_TILES])[(*lead, rows, columns)])

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
        for name in ("image_id", "sample_id"):
            if name in self.node:
                array = flat(self.node[name])
                number = self.number
                if name == "sample_id":
                    number //= self.layout.group.tiling.steps or 1
                about[name.upper()] = str(array[number])
        if "time" in self.node:
            moment = np.asarray(flat(self.node["time"])[self.number]).astype("datetime64[us]")
            about["START_TIME"] = f"{np.datetime_as_string(moment, unit='auto')}Z"
        return about


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
