"""Select the group, slice and window of a mosaic that an export writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from downloader.errors import JobError
from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

from downloader.mosaic.format.layout import GroupLayout


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

    @classmethod
    def open(cls, mosaic: str | Path, name: str, level: int, time: str, number: int | None) -> Excerpt:
        """Open a slice of a mosaic.

        Args:
            mosaic: its path or URL.
            name: the group's name.
            level: 1 for the pixels, or an overview's factor.
            time: `latest`, a number in the order of time, or the beginning of a time.
            number: in place of it an index in the mosaic's own order.

        Raises:
            JobError: there is no such level or slice.
        """
        import zarr

        from downloader.mosaic.reader import level_layout
        from downloader.mosaic.status import read_mosaic
        from downloader.mosaic.storage.location import locate
        from downloader.previews.select import choose_slice

        location = locate(mosaic)
        layout = next(one for one in read_mosaic(mosaic).layouts if one.group.name == name)
        if level != 1:
            layout = level_layout(mosaic, layout, level)
        root: Any = zarr.open_group(location.readable(), mode="r")
        node = root[layout.group.name] if layout.group.name else root
        index, _ = choose_slice(node, node[layout.arrays[0]], time, number)
        grid: PixelGrid | None = layout.group.grid
        if layout.group.lattices:
            if number is None:
                raise JobError(f"{location.name}: holds samples; choose a chip with --slice")
            grid = layout.group.lattices[index]
            if grid is None:
                raise JobError(f"--slice {number}: this sample has no pixels")
        assert grid is not None  # noqa: S101  # for the type checker
        return cls(location.name, layout, node, index, grid)

    def index(self, band: str) -> int:
        """Return the index of a band in its group."""
        return next(i for i, one in enumerate(self.layout.group.bands) if one.id == band)

    def pixels(self, band: str, window: Window) -> NDArray[Any]:
        """Return the pixels (height, width) of one band."""
        array = self.node[self.layout.arrays[self.index(band)]]
        lead = (self.number,) if self.layout.leading else ()
        return np.asarray(array[(*lead, *window.slices)])

    def cells(self, window: Window) -> NDArray[np.uint8]:
        """Return `coverage`, (rows, columns), of the tiles that a window touches."""
        tile = self.layout.group.tiling.tile
        lead = (self.number,) if self.layout.leading else ()
        rows = slice(window.row // tile, -(-window.row_end // tile))
        columns = slice(window.column // tile, -(-window.column_end // tile))
        return np.asarray(self.node[COVERAGE_TILES][(*lead, rows, columns)])

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
                about[name.upper()] = str(self.node[name][self.number])
        if "time" in self.node:
            moment = np.asarray(self.node["time"][self.number]).astype("datetime64[us]")
            about["START_TIME"] = f"{np.datetime_as_string(moment, unit='auto')}Z"
        return about


def part_of(
    grid: PixelGrid, window: Window | Sequence[int] | None, bbox: Sequence[float] | None, crs: str
) -> Window:
    """Return the window of the grid that was asked for. Raises JobError if it lies outside."""
    from downloader.model.bbox import BoundingBox, cover_box
    from downloader.model.crs import Crs

    if bbox is not None:
        if len(bbox) != 4:
            raise JobError("--bbox: give west,south,east,north")
        west, south, east, north = map(float, bbox)
        try:
            return cover_box(grid, BoundingBox(west, south, east, north, Crs.parse(crs)))
        except JobError as error:
            option = "--bbox" if error.key else "--crs"
            raise JobError(f"{option}: {error.message}") from error
    if window is None:
        return grid.bounds
    if not isinstance(window, Window):
        if len(window) != 4:
            raise JobError("--window: give column,row,width,height")
        window = Window(*map(int, window))
    part = window.clip(grid.bounds)
    if part is None:
        raise JobError(f"--window: {window} lies outside the {grid.width}×{grid.height} pixels of the mosaic")
    return part
