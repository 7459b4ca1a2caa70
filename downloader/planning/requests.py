"""Requests: a rectangle of tiles inside one shard, of one or several slices, × a run of bands; and the keys of tiles and shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsInt

import numpy as np

from downloader.model.grid import PixelGrid, Window
from downloader.planning.tiling import Tiling

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        """Bands asked for, followed by the bytes that tell where they are valid."""
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
        """Tiles asked for, each counted by the share of its bands, for displays."""
        return self.tiles * len(self.bands) / (self.group_bands or len(self.bands))

    def __str__(self) -> str:
        b = self.block
        return (
            f"group {self.shard.group or '/'}, {b.span}, tile rows {b.row}…{b.row + b.rows - 1}, "
            f"tile columns {b.column}…{b.column + b.columns - 1}"
        )


def blocks(
    tiling: Tiling, shard: tuple[int, int, int], missing: int, shape: tuple[int, int], stack: int = 1
) -> Iterator[TileBlock]:
    """Yield boxes that cover exactly the tiles of `missing`, none larger than `shape` tiles (rows, columns) of `stack` slices.

    A shard nothing is known of falls into the same boxes everywhere; one that is partly done is covered greedily, row by
    row and then slice by slice, inside those boxes.
    """
    layer, shard_row, shard_column = shard
    cells = tiling.cells(missing)
    for first, end in _runs(tiling, stack):
        if not cells[first:end].any():
            continue
        for top in range(0, tiling.shard, shape[0]):
            for left in range(0, tiling.shard, shape[1]):
                part = cells[first:end, top : top + shape[0], left : left + shape[1]]
                for (slice_, row, column), (slices, rows, columns) in _boxes(part):
                    corner = (
                        layer * tiling.shard_slices + first + slice_,
                        shard_row * tiling.shard + top + row,
                        shard_column * tiling.shard + left + column,
                    )
                    if tiling.steps:
                        corner = tiling.tile_at(shard, first + slice_)
                    yield TileBlock(*corner, rows, columns, slices)


def _runs(tiling: Tiling, stack: int) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of the slices of a shard that one request may ask for, never of two samples."""
    for place in range(0, tiling.shard_slices, tiling.run):
        for first in range(place, place + tiling.run, stack):
            yield first, min(first + stack, place + tiling.run)


_Triple = tuple[int, int, int]


def _boxes(wanted: NDArray[np.bool_]) -> Iterator[tuple[_Triple, _Triple]]:
    """Yield the corner and the lengths (slices, rows, columns) of boxes that together cover exactly `wanted`."""
    left = wanted
    while left.any():
        if left.all():
            yield (0, 0, 0), _triple(left.shape)
            return
        if left is wanted:
            left = wanted.copy()
        slice_, row, column = _triple(np.unravel_index(int(left.argmax()), left.shape))
        slices = rows = columns = 1
        while column + columns < left.shape[2] and left[slice_, row, column + columns]:
            columns += 1
        across = slice(column, column + columns)
        while row + rows < left.shape[1] and left[slice_, row + rows, across].all():
            rows += 1
        down = slice(row, row + rows)
        while slice_ + slices < left.shape[0] and left[slice_ + slices, down, across].all():
            slices += 1
        left[slice_ : slice_ + slices, down, across] = False
        yield (slice_, row, column), (slices, rows, columns)


def _triple(numbers: Iterable[SupportsInt]) -> _Triple:
    slices, rows, columns = map(int, numbers)
    return slices, rows, columns


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
