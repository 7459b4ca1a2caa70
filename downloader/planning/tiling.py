"""Tiles and shards of a group: the arithmetic between pixels, tiles and shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from downloader.errors import JobError
from downloader.model.grid import Window

TILE: Final = 256
"""Pixels along a tile's side unless the plan says otherwise."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """The lattices of tiles and shards over one group. Chosen once, written into the mosaic, read from there."""

    width: int
    """Columns of the group, in pixels."""
    height: int
    """Rows of the group, in pixels."""
    slices: int = 1
    """Length of the leading axis; 1 where there is none."""
    tile: int = TILE
    """Pixels along a tile's side."""
    shard: int = 1
    """Tiles along a shard's side."""
    shard_slices: int = 1
    """Slices that one shard holds."""

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.slices, self.tile, self.shard, self.shard_slices) < 1:
            raise JobError(f"every length of a tiling must be at least 1, got {self}")

    @property
    def tile_rows(self) -> int:
        """Rows of tiles; the last may be clipped."""
        return -(-self.height // self.tile)

    @property
    def tile_columns(self) -> int:
        """Columns of tiles; the last may be clipped."""
        return -(-self.width // self.tile)

    @property
    def shard_rows(self) -> int:
        """Rows of shards."""
        return -(-self.tile_rows // self.shard)

    @property
    def shard_columns(self) -> int:
        """Columns of shards."""
        return -(-self.tile_columns // self.shard)

    @property
    def shard_layers(self) -> int:
        """Shards along the leading axis."""
        return -(-self.slices // self.shard_slices)

    @property
    def tiles(self) -> int:
        """Tiles of the group, over all slices."""
        return self.slices * self.tile_rows * self.tile_columns

    @property
    def shards(self) -> int:
        """Shards of the group."""
        return self.shard_layers * self.shard_rows * self.shard_columns

    @property
    def shard_side(self) -> int:
        """Pixels along a shard's side."""
        return self.shard * self.tile

    @property
    def slots(self) -> int:
        """Chunk entries in a shard's index, those beyond the group's edge included."""
        return self.shard_slices * self.shard * self.shard

    def window(self, row: int, column: int, rows: int = 1, columns: int = 1) -> Window:
        """Return the pixels that a rectangle of tiles fills, clipped at the right and bottom edge."""
        return Window.between(
            column * self.tile,
            row * self.tile,
            min((column + columns) * self.tile, self.width),
            min((row + rows) * self.tile, self.height),
        )

    def shard_index(self, layer: int, row: int, column: int) -> int:
        """Return a shard's number, counted row by row, layer after layer."""
        return (layer * self.shard_rows + row) * self.shard_columns + column

    def shard_at(self, index: int) -> tuple[int, int, int]:
        """Return (layer, row, column) of the shard with this number."""
        rest, column = divmod(index, self.shard_columns)
        layer, row = divmod(rest, self.shard_rows)
        return layer, row, column

    def slot(self, slice_: int, row: int, column: int) -> int:
        """Return a tile's entry in its shard's index: C order over (slice, row, column), as Zarr's sharding has it."""
        return (
            (slice_ % self.shard_slices) * self.shard + row % self.shard
        ) * self.shard + column % self.shard

    def tile_at(self, shard: tuple[int, int, int], slot: int) -> tuple[int, int, int]:
        """Return (slice, row, column) of the tile behind an index entry of the shard at (layer, row, column)."""
        layer, row, column = shard
        rest, c = divmod(slot, self.shard)
        s, r = divmod(rest, self.shard)
        return layer * self.shard_slices + s, row * self.shard + r, column * self.shard + c

    def slices_of(self, layer: int) -> range:
        """Return the slices that the shards of one layer hold."""
        first = layer * self.shard_slices
        return range(first, min(first + self.shard_slices, self.slices))

    def slice_mask(self, slice_: int) -> int:
        """Return the bits of all index entries of one slice in its shard."""
        plane = self.shard * self.shard
        return ((1 << plane) - 1) << ((slice_ % self.shard_slices) * plane)

    def window_mask(self, slice_: int, row: int, column: int, window: Window | None) -> int:
        """Return the bits of the tiles of one slice, in the shard at (row, column), that `window` touches; none for None."""
        if window is None:
            return 0
        inside = window.clip(Window(0, 0, self.width, self.height))
        if inside is None:
            return 0
        top, left = row * self.shard, column * self.shard
        first_row = max(inside.row // self.tile - top, 0)
        last_row = min((inside.row_end - 1) // self.tile - top, self.shard - 1)
        first = max(inside.column // self.tile - left, 0)
        last = min((inside.column_end - 1) // self.tile - left, self.shard - 1)
        if first > last:
            return 0
        line = ((1 << (last - first + 1)) - 1) << first
        mask = 0
        for r in range(first_row, last_row + 1):
            mask |= line << (r * self.shard)
        return mask << ((slice_ % self.shard_slices) * self.shard * self.shard)

    def full_mask(self, layer: int, row: int, column: int) -> int:
        """Return the bits of the index entries that lie inside the group: all of them but at its edges."""
        columns = min(self.shard, self.tile_columns - column * self.shard)
        rows = min(self.shard, self.tile_rows - row * self.shard)
        slices = min(self.shard_slices, self.slices - layer * self.shard_slices)
        line = (1 << columns) - 1
        plane = 0
        for r in range(rows):
            plane |= line << (r * self.shard)
        mask = 0
        for s in range(slices):
            mask |= plane << (s * self.shard * self.shard)
        return mask
