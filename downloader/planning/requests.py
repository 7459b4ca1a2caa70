"""Requests: a rectangle of tiles inside one shard × a run of bands, and the keys of tiles and shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from downloader.model.grid import PixelGrid, Window
from downloader.planning.tiling import Tiling


@dataclass(frozen=True, slots=True)
class BandType:
    """A band as it is expected in an answer."""

    id: str
    dtype: np.dtype[np.generic]
    """Little-endian numpy type."""


@dataclass(frozen=True, slots=True)
class PixelRequest:
    """One `getPixels` or `computePixels` call, complete: all that a `PixelSource` needs to know."""

    asset: str
    """Full resource name of the image; empty where an expression is computed."""
    grid: PixelGrid
    """CRS, full affine and size of the answer."""
    bands: tuple[BandType, ...]
    """In the order asked for."""
    expression: str = ""
    """Serialised expression to compute, as JSON; empty where an asset is read."""
    validity: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Bytes that are asked for behind the bands, each with up to eight bands: where bit k is 0, the k-th band is NaN."""

    @property
    def asked(self) -> tuple[BandType, ...]:
        """Everything that is asked for: the bands, and what tells where they are valid."""
        return (*self.bands, *(BandType(name, np.dtype("u1")) for name, _ in self.validity))

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The packed structured type of the answer."""
        return np.dtype([(band.id, band.dtype) for band in self.bands])

    @property
    def nbytes(self) -> int:
        """Bytes of pixels in the answer, its header apart."""
        return self.grid.width * self.grid.height * sum(band.dtype.itemsize for band in self.bands)

    def __str__(self) -> str:
        bands = ", ".join(band.id for band in self.bands[:6]) + (", …" if len(self.bands) > 6 else "")
        x, y = self.grid.transform.translate_x, self.grid.transform.translate_y
        return f"{self.grid.width}×{self.grid.height} pixels of {bands} at ({x!r}, {y!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """A unit of the executor's work; its tiles all lie in one shard."""

    shard: ShardKey
    block: TileBlock
    window: Window
    """The block's pixels in the group's grid, clipped at the edge."""
    bands: tuple[int, ...]
    """Indices into the group's bands, in the group's order."""
    group_bands: int = 0
    """Bands of the group; 0 stands for as many as are asked for."""

    @property
    def tiles(self) -> int:
        """Tiles asked for, whatever the number of bands."""
        return self.block.tiles

    @property
    def tiles_worth(self) -> float:
        """Tiles asked for, each counted by the share of its bands: what displays add up."""
        return self.tiles * len(self.bands) / (self.group_bands or len(self.bands))

    def __str__(self) -> str:
        b = self.block
        return (
            f"group {self.shard.group or '/'}, {b.span}, tile rows {b.row}…{b.row + b.rows - 1}, "
            f"tile columns {b.column}…{b.column + b.columns - 1}"
        )


def blocks(
    tiling: Tiling, shard: tuple[int, int, int], missing: int, shape: tuple[int, int]
) -> Iterator[TileBlock]:
    """Yield rectangles that cover exactly the tiles of `missing`, none larger than `shape` tiles (rows, columns).

    A shard nothing is known of falls into the same rectangles everywhere; one that is partly done is covered
    greedily, row by row, inside those rectangles.
    """
    rows, columns = shape
    for local_slice in range(tiling.shard_slices):
        for top in range(0, tiling.shard, rows):
            for left in range(0, tiling.shard, columns):
                yield from _rectangles(tiling, shard, missing, (local_slice, top, left), shape)


def runs(missing: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield (first, how many) of the runs of bits of `missing`, cut at multiples of `most`."""
    begin = 0
    while missing >> begin:
        part = missing >> begin & (1 << most) - 1
        while part:
            first = (part & -part).bit_length() - 1
            count = (~(part >> first) & (part >> first) + 1).bit_length() - 1
            yield begin + first, count
            part &= ~((1 << count) - 1 << first)
        begin += most


def _rectangles(
    tiling: Tiling,
    shard: tuple[int, int, int],
    missing: int,
    corner: tuple[int, int, int],
    shape: tuple[int, int],
) -> Iterator[TileBlock]:
    layer, shard_row, shard_column = shard
    local_slice, top, left = corner
    bottom, right = min(top + shape[0], tiling.shard), min(left + shape[1], tiling.shard)
    wanted = {
        (r, c)
        for r in range(top, bottom)
        for c in range(left, right)
        if missing >> tiling.slot(local_slice, r, c) & 1
    }
    while wanted:
        r, c = min(wanted)
        c_end = c + 1
        while (r, c_end) in wanted:
            c_end += 1
        r_end = r + 1
        while all((r_end, k) in wanted for k in range(c, c_end)):
            r_end += 1
        wanted -= {(i, k) for i in range(r, r_end) for k in range(c, c_end)}
        yield TileBlock(
            layer * tiling.shard_slices + local_slice,
            shard_row * tiling.shard + r,
            shard_column * tiling.shard + c,
            r_end - r,
            c_end - c,
        )


@dataclass(frozen=True, slots=True, order=True)
class TileKey:
    """A tile's place: the unit of the plan, of the Zarr chunk, of accounting."""

    group: str
    """The group's name; empty where one group fills the mosaic's root."""
    slice: int
    """0, the time index, or the sample index."""
    row: int
    """Row of tiles, from the top of the region."""
    column: int
    """Column of tiles, from the left of the region."""

    def __str__(self) -> str:
        return f"tile {self.group or '/'} {self.slice}/{self.row}/{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class ShardKey:
    """A shard's place, counted in shards: what is committed together."""

    group: str
    slice: int
    """Index along the leading axis, in shards (equal to the slice where a shard holds one)."""
    row: int
    column: int

    def __str__(self) -> str:
        return f"shard {self.group or '/'} {self.slice}/{self.row}/{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class TileBlock:
    """A rectangle of tiles of one slice, or of several that follow one another, in tiles of the group's lattice."""

    slice: int
    row: int
    column: int
    rows: int
    columns: int
    slices: int = 1

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.rows * self.columns * self.slices

    @property
    def numbers(self) -> range:
        """Slices, as indices along the leading axis."""
        return range(self.slice, self.slice + self.slices)

    @property
    def span(self) -> str:
        """Slices, for messages."""
        return f"slice {self.slice}" if self.slices == 1 else f"slices {self.slice}…{self.numbers[-1]}"

    def mask(self, tiling: Tiling) -> int:
        """Return the bits of the tiles in their shard."""
        mask = 0
        for slice_ in self.numbers:
            for row, column in self:
                mask |= 1 << tiling.slot(slice_, row, column)
        return mask

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (row, column) of each tile of one slice, row by row."""
        for row in range(self.row, self.row + self.rows):
            for column in range(self.column, self.column + self.columns):
                yield row, column
