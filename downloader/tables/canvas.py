"""Read pixels for statistics: numbers in physical units, NaN wherever a pixel is not valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.model.grid import Window
from downloader.mosaic.flat import flat
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.storage.store import Store
from downloader.mosaic.tile_reader import BandTiles
from downloader.planning.cover import Cover, clipped

CACHE_BYTES: Final = 256 * 2**20
"""Pixels of tiles that are kept for the places around them."""


@dataclass(frozen=True)
class GroupPixels:
    """Bands of one group, open for reading."""

    layout: GroupLayout
    node: Any
    """Its Zarr group."""
    store: Store
    """The mosaic's objects."""
    bands: tuple[int, ...]
    """Indices of the bands that are read."""

    def read(self, band: int, lead: range, window: Window) -> NDArray[np.float64]:
        """Return the pixels (slice, height, width) of one band, without a leading axis those of one slice.

        A pixel is valid where its tile is stored, its images cover it, its mask says so, and it is a finite number other
        than nodata. Scale and offset of the array's attributes are applied.
        """
        layout, group = self.layout, self.layout.group
        attributes = self.node[layout.arrays[band]].attrs
        stored = self._pixels(band, lead, window)
        values = stored.astype(np.float64)
        scale, offset = attributes.get("scale_factor", 1.0), attributes.get("add_offset", 0.0)
        if scale != 1.0 or offset != 0.0:
            values = values * float(scale) + float(offset)
        valid = np.isfinite(values)
        nodata = layout.nodata[band]
        if nodata is not None and np.isfinite(nodata):
            valid &= stored != layout.fills[band]
        for index, mask in enumerate(group.bands):
            if group.bands[band].id in mask.mask_of:
                valid &= self._pixels(index, lead, window) == 1
        valid &= self._stored(lead, window)
        for position, slice_ in enumerate(lead):
            if group.absent and band in group.absent[slice_]:
                valid[position] = False
            if group.extents:
                valid[position] &= _covered(group.extents[slice_], window)
        values[~valid] = np.nan
        return values

    def _pixels(self, band: int, lead: range, window: Window) -> NDArray[np.generic]:
        """Return the pixels (slice, height, width) as they are stored, whatever is valid of them."""
        layout = self.layout
        if not layout.group.lattices:
            where = (slice(lead.start, lead.stop), *window.slices) if layout.leading else window.slices
            stored = np.asarray(self.node[layout.arrays[band]][where])
            return stored.reshape(len(lead), window.height, window.width)
        # Chips are many and small: a tenth of the time that zarr takes for as many chunks.
        tiles = BandTiles(self.store, layout, band)
        chips = np.full((len(lead), *window.shape), layout.fills[band], layout.group.bands[band].dtype)
        for position, slice_ in enumerate(lead):
            chip = tiles.read(slice_, 0, 0)
            if chip is not None:
                chips[position] = chip[window.slices]
        return chips

    def _stored(self, lead: range, window: Window) -> NDArray[np.bool_]:
        tile = self.layout.group.tiling.tile
        rows = slice(window.row // tile, -(-window.row_end // tile))
        columns = slice(window.column // tile, -(-window.column_end // tile))
        where = (slice(lead.start, lead.stop), rows, columns) if self.layout.leading else (rows, columns)
        cells: NDArray[np.bool_] = np.asarray(flat(self.node[COVERAGE_TILES])[where]) == Coverage.STORED
        cells = cells.reshape(len(lead), *cells.shape[-2:])
        y = np.arange(window.row, window.row_end) // tile - rows.start
        x = np.arange(window.column, window.column_end) // tile - columns.start
        return cells[:, y[:, None], x[None, :]]


def _covered(cover: Cover, window: Window) -> NDArray[np.bool_]:
    """Return which pixels (height, width) of a window are covered."""
    covered = np.zeros(window.shape, np.bool_)
    for inside in clipped(cover, window):
        covered[inside.slices] = True
    return covered


class TiledPixels:
    """A run of slices of one group, read tile by tile; tiles used last are kept."""

    def __init__(self, pixels: GroupPixels, lead: range) -> None:
        self._tiling = pixels.layout.group.tiling
        self._first = lead.start
        kept = CACHE_BYTES // (8 * len(lead) * self._tiling.tile**2)
        self._read = lru_cache(max(1, kept))(lambda band, box: pixels.read(band, lead, box))

    def read(
        self, band: int, slice_: int, column: int, row: int, width: int, height: int
    ) -> NDArray[np.float64]:
        """Return the pixels (height, width) of a window of one band of one slice."""
        window = Window(column, row, width, height)
        found = np.empty(window.shape)
        tile = self._tiling.tile
        for y in range(row // tile, -(-window.row_end // tile)):
            for x in range(column // tile, -(-window.column_end // tile)):
                box = self._tiling.window(y, x)
                part = box.clip(window)
                assert part is not None  # noqa: S101  # the tile is one of those that the window touches
                block = self._read(band, box)[slice_ - self._first]
                found[part.offset(-column, -row).slices] = block[part.offset(-box.column, -box.row).slices]
        return found


def strip(pixels: GroupPixels, band: int, lead: range) -> NDArray[np.float64]:
    """Return the chips of samples side by side, (height, samples × width)."""
    window = Window(0, 0, pixels.layout.group.window.width, pixels.layout.group.window.height)
    chips = pixels.read(band, lead, window)
    return np.ascontiguousarray(np.moveaxis(chips, 0, 1)).reshape(window.height, -1)


def holes(pixels: Sequence[GroupPixels]) -> tuple[int, int]:
    """Return (tiles that are missing or failed, all tiles) of groups."""
    cells = [np.asarray(one.node[COVERAGE_TILES][...]) for one in pixels]
    lacking = sum(int(np.isin(one, (Coverage.MISSING, Coverage.FAILED)).sum()) for one in cells)
    return lacking, sum(one.size for one in cells)
