"""Groups: the bands that share one pixel grid, their tiles and their requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product, zip_longest
from typing import Final

import numpy as np

from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band
from downloader.planning.cover import Cover, tiles_of
from downloader.planning.limits import (
    MAX_COMPUTED_VALUES,
    MAX_REQUEST_BANDS,
    MAX_REQUEST_BYTES,
    counted_bytes,
)
from downloader.planning.polygon import Shape
from downloader.planning.requests import Request, ShardKey, TileBlock, blocks
from downloader.planning.slices import Axis, Slice
from downloader.planning.tiling import Tiling

FILLED_PER_BYTE: Final = 8
"""Bands whose masks one byte tells, where masked pixels become NaN."""

_BYTE: Final = np.dtype("u1")


@dataclass(frozen=True, slots=True)
class Group:
    """Bands on one grid, the region's part of it, and its lattices."""

    name: str
    """Name of its Zarr group, such as `10m`; empty where it fills the mosaic's root."""
    lattice: PixelGrid
    """The grid whose origin every request is counted from: the image's own, or the one the job asks for."""
    window: Window
    """The region, in pixels of the lattice."""
    bands: tuple[Band, ...]
    """In the order asked for."""
    tiling: Tiling
    shape: tuple[int, int]
    """(rows, columns) of tiles of one slice that one request asks for at most."""
    region: Shape | None = None
    """Region that selects tiles; None for all."""
    outside: tuple[float, ...] = ()
    """By band, what pixels outside the region become (`region.mask`); empty where they stay as answered."""
    extents: tuple[Cover, ...] = ()
    """By slice, the pixels of the group's grid that its images cover; empty where every slice covers all. What lies outside is
    not asked for."""
    lattices: tuple[PixelGrid | None, ...] = ()
    """By slice, the grid of a sample, None where it has none; empty where all slices lie on one lattice."""
    shapes: tuple[Shape | None, ...] = ()
    """Of fields, each by sample in pixels of its chip, None for one without pixels; else empty."""
    axis: Axis = ""
    """The arrays' leading axis."""
    absent: tuple[frozenset[int], ...] = ()
    """By slice, indices of the bands that its images lack; empty where none lacks any."""
    stack: int = 0
    """Slices of a rectangle of `shape` that one request brings at most, as bands of one computed image; 0 where each is asked
    for by itself, by its own road. Above 0 also stored images are computed, masked pixels told by NaN or by masks."""
    is_computed: bool = False
    """Whether the service computes the pixels of some slice, which bounds its requests further."""
    parts: tuple[Slice, ...] = ()
    """By slice, what is fetched for a UTM zone's group; empty where all groups fetch the plan's."""

    @property
    def grid(self) -> PixelGrid:
        """The grid of the mosaic's arrays: the region's pixels."""
        return self.lattice.window(self.window)

    @property
    def itemsize(self) -> int:
        """Bytes of one pixel over all bands."""
        return sum(band.dtype.itemsize for band in self.bands)

    @property
    def shard_bytes(self) -> int:
        """Bytes of the pixels of one whole shard over all bands."""
        t = self.tiling
        return t.shard_side**2 * self.itemsize * min(t.shard_slices, t.slices)

    def request_grid(self, window: Window, slice_: int = 0) -> PixelGrid:
        """Return the grid of `window` (pixels of the group's grid), counted from the lattice's own origin."""
        if self.lattices:
            lattice = self.lattices[slice_]
            if lattice is None:
                raise ValueError(f"sample {slice_} has no pixels")
            return lattice.window(window)
        return self.lattice.window(window.offset(self.window.column, self.window.row))

    def present(self, slice_: int) -> frozenset[int]:
        """Return the indices of the bands that a slice has inside the region; all bands if its extent is unknown."""
        if self.extents and not self.extents[slice_]:
            return frozenset()
        if self.lattices and self.lattices[slice_] is None:
            return frozenset()
        return frozenset(range(len(self.bands))) - (self.absent[slice_] if self.absent else frozenset())

    def shards(self) -> Iterator[ShardKey]:
        """Yield every shard, slice after slice; never a list.

        Of each slice the whole ones row by row, in turn with those that an edge clips while there are such, the corner last. Of
        equal requests that start together all answers would come together, and slots idle while these are encoded.
        """
        for layer in range(self.tiling.shard_layers):
            whole, *clipped = (product(*block) for block in self.tiling.shard_blocks())
            in_turn = chain.from_iterable(zip_longest(whole, chain(*clipped[:2])))
            for place in filter(None, chain(in_turn, *clipped[2:])):
                yield ShardKey(self.name, layer, *place)

    def full_mask(self, key: ShardKey) -> int:
        """Return the bits of all tiles of a shard that lie inside the group."""
        return self.tiling.full_mask(key.slice, key.row, key.column)

    def wanted_mask(self, key: ShardKey) -> int:
        """Return the bits of the tiles of a shard that are fetched: inside the group, its region and the images' own extent."""
        mask = self.full_mask(key)
        if self.region is not None:
            mask &= self.region.mask(self.tiling, key.slice, key.row, key.column)
        if self.extents and mask:
            slices = self.tiling.slices_of(key.slice, key.row)
            covers = {slice_: self.extents[slice_] for slice_ in slices}
            mask &= self.tiling.windows_mask(covers, key.row, key.column)
        return mask

    def wanted(self, key: ShardKey) -> dict[int, int]:
        """Return the tiles of a shard that are fetched: band index → bits, without bands of which none is."""
        mask = self.wanted_mask(key)
        if not mask:
            return {}
        bands = range(len(self.bands))
        if not self.absent:
            return dict.fromkeys(bands, mask)
        masks = dict.fromkeys(bands, 0)
        for slice_ in self.tiling.slices_of(key.slice, key.row):
            part = mask & self.tiling.slice_mask(slice_)
            for band in bands:
                if band not in self.absent[slice_]:
                    masks[band] |= part
        return {band: bits for band, bits in masks.items() if bits}

    @property
    def wants_all(self) -> bool:
        """Whether every tile is fetched."""
        return self.region is None and not self.extents

    def count_tiles(self) -> int:
        """Return the number of tiles that are fetched: closed form, except for a geometry over slices of different extent."""
        t = self.tiling
        if self.wants_all:
            return t.tiles
        if self.region is None and t.tile_rows * t.tile_columns == 1:
            return sum(map(bool, self.extents))
        if self.region is None:
            return sum(tiles_of(cover, t.tile) for cover in self.extents)
        if not self.extents:
            return self.region.count(t) * t.slices
        return sum(self.wanted_mask(key).bit_count() for key in self.shards())

    def requests(self, key: ShardKey, missing: Mapping[int, int] | None = None) -> Iterator[Request]:
        """Yield the requests that fetch what a shard misses.

        Args:
            key: the shard.
            missing: band index → bits of the tiles it misses; None for a shard of which nothing is stored.
        """
        wanted = self.wanted(key)
        by_mask: dict[int, list[int]] = {}
        for band in sorted(wanted):
            mask = wanted[band] if missing is None else wanted[band] & missing.get(band, 0)
            if mask:
                by_mask.setdefault(mask, []).append(band)
        for mask, bands in by_mask.items():
            runs = self.band_runs(tuple(bands))
            place = key.slice, key.row, key.column
            for block in blocks(self.tiling, place, mask, self.shape, self._stacked(runs)):
                for run in runs:
                    yield self.request(key, block, run)

    def request(self, key: ShardKey, block: TileBlock, bands: tuple[int, ...]) -> Request:
        """Return the request for one rectangle of tiles."""
        window = self.tiling.window(block.row, block.column, block.rows, block.columns)
        if self.shapes and self.extents[block.slice]:
            # What is left of the chip is beyond the field's box, which is that of all steps.
            (window,) = self.extents[block.slice]
        return Request(key, block, window, bands, len(self.bands))

    def band_runs(self, bands: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return `bands` in runs, each of which the service's limits allow for one request of `shape` tiles."""
        rows, columns = self.shape
        width, height = columns * self.tiling.tile, rows * self.tiling.tile
        return band_runs(self.bands, width, height, bands, is_computed=self.is_computed)

    def count_requests(self) -> int:
        """Return the number of requests of a run that starts from nothing; closed form."""
        t = self.tiling
        runs = self.band_runs(tuple(range(len(self.bands))))
        rows, columns = self.shape

        def pieces(length: int, shard: int, step: int) -> int:
            whole, last = divmod(length, shard)
            return whole * -(-shard // step) + -(-last // step)

        across = pieces(t.tile_rows, t.shard, rows) * pieces(t.tile_columns, t.shard, columns)
        places, length = t.slices // t.leading[-1], t.leading[-1]
        return across * places * pieces(length, t.run, self._stacked(runs)) * len(runs)

    def _stacked(self, runs: Sequence[tuple[int, ...]]) -> int:
        """Return the number of slices of a request at most: one if the bands come in several runs."""
        return max(1, self.stack) if len(runs) == 1 else 1


def validity_types(bands: Sequence[Band], run: Sequence[int]) -> list[np.dtype[np.generic]]:
    """Return the types of the bytes that one request asks for beside its bands to tell where they are valid."""
    filled = sum(bands[band].is_filled for band in run)
    return [_BYTE] * -(-filled // FILLED_PER_BYTE)


def band_runs(
    bands: Sequence[Band],
    width: int,
    height: int,
    chosen: Sequence[int] | None = None,
    *,
    is_computed: bool = False,
) -> list[tuple[int, ...]]:
    """Return indices of bands in runs, each of which one request of width × height pixels may ask for.

    Args:
        bands: of a group.
        width: columns of the request.
        height: rows of the request.
        chosen: indices of the bands asked for; None for all.
        is_computed: whether the service computes the pixels.
    """
    values = MAX_COMPUTED_VALUES // max(1, width * height) if is_computed else MAX_REQUEST_BANDS
    most = max(1, min(values, MAX_REQUEST_BANDS))
    runs: list[list[int]] = []
    counted = filled = 0
    for band in range(len(bands)) if chosen is None else chosen:
        told = bands[band].is_filled
        types = (bands[band].dtype, *([_BYTE] if told and filled % FILLED_PER_BYTE == 0 else []))
        more = counted_bytes(width, height, types)
        asked = len(runs[-1]) + -(-filled // FILLED_PER_BYTE) + len(types) if runs else 0
        if not runs or (runs[-1] and (asked > most or counted + more > MAX_REQUEST_BYTES)):
            runs.append([])
            counted = filled = 0
            more = counted_bytes(width, height, (bands[band].dtype, *([_BYTE] if told else [])))
        runs[-1].append(band)
        counted += more
        filled += told
    return [tuple(run) for run in runs]
