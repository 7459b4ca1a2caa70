"""Tiles and shards of a group: the arithmetic between pixels, tiles and shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.errors import JobError
from downloader.model.grid import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE: Final = 256
"""Pixels along a tile's side unless the plan says otherwise."""


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass(frozen=True, slots=True)
class Tiling:
    """The lattices of tiles, chunks and shards over one group. Chosen once, written into the mosaic, read from there.

    A tile is a square of one slice; a chunk holds the tiles at one place of `depth` slices. A shard has an index entry for
    each of its chunks, in C order over (slices, row, column), and a slot for each of its tiles: those of a chunk follow one
    another. Where chunks hold one slice, slots are entries.

    Where samples have steps, a plane is one tile, slices are (sample, step) in C order, and a shard is `shard_steps` steps of
    some samples: its row is its place along the steps. So samples and steps can both grow, and no shard changes its place.
    """

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
    """Slices that one shard holds; a multiple of `depth`."""
    depth: int = 1
    """Slices that one chunk holds."""
    steps: int = 0
    """Slices of each sample, one after the other, where arrays are (sample, step, y, x); 0 where they are not."""
    shard_steps: int = 0
    """Steps that one shard holds of each of its samples, those that they do not have yet included; a multiple of `depth`."""

    def __post_init__(self) -> None:
        lengths = (self.width, self.height, self.slices, self.tile, self.shard, self.shard_slices, self.depth)
        if min(lengths) < 1 or self.steps < 0:
            raise JobError(f"every length of a tiling must be at least 1, got {self}")
        if self.shard_slices % self.depth:
            raise JobError(f"a shard must hold whole chunks, got {self}")
        if self.steps and (
            self.slices % self.steps
            or self.shard_steps < 1
            or self.shard_steps % self.depth
            or self.shard_slices % self.shard_steps
            or self.tile_rows * self.tile_columns > 1
        ):
            raise JobError(f"samples of a tiling must be whole, got {self}")

    @property
    def leading(self) -> tuple[int, ...]:
        """Lengths of the leading axes."""
        return (self.slices // self.steps, self.steps) if self.steps else (self.slices,)

    @property
    def chunk_leading(self) -> tuple[int, ...]:
        """Lengths of a chunk along the leading axes."""
        return (1, self.depth) if self.steps else (self.depth,)

    @property
    def shard_leading(self) -> tuple[int, ...]:
        """Lengths of a shard along the leading axes."""
        return (
            (self.shard_slices // self.shard_steps, self.shard_steps) if self.steps else (self.shard_slices,)
        )

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
        """Rows of shards; along the steps where samples have them."""
        if self.steps:
            return -(-self.steps // self.shard_steps)
        return -(-self.tile_rows // self.shard)

    @property
    def shard_columns(self) -> int:
        """Columns of shards."""
        return -(-self.tile_columns // self.shard)

    @property
    def shard_layers(self) -> int:
        """Shards along the leading axis."""
        return -(-self.leading[0] // self.shard_leading[0])

    def shard_blocks(self) -> list[tuple[range, range]]:
        """Return the shards of one layer in blocks of (rows, columns): those that are whole, then those that edges clip.

        The larger come first, the corner last.
        """
        if self.steps:
            return [(range(self.shard_rows), range(self.shard_columns))]
        side = self.shard_side
        rows, below = divmod(self.height, side)
        columns, beside = divmod(self.width, side)
        edges = [
            (beside, (range(rows), range(columns, self.shard_columns))),
            (below, (range(rows, self.shard_rows), range(columns))),
        ]
        edges.sort(key=lambda edge: -edge[0])
        corner = range(rows, self.shard_rows), range(columns, self.shard_columns)
        return [(range(rows), range(columns)), *(block for _, block in edges), corner]

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
    def run(self) -> int:
        """Slots of a shard, of planes of one tile, that lie in one place: all of them, or those of one sample."""
        return self.shard_steps or self.shard_slices

    @property
    def slots(self) -> int:
        """Tiles of a shard, those beyond the group's edge included."""
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

    def place(self, slice_: int) -> int:
        """Return the index of a slice in its shard."""
        if not self.steps:
            return slice_ % self.shard_slices
        sample, step = divmod(slice_, self.steps)
        return sample % self.shard_leading[0] * self.shard_steps + step % self.shard_steps

    def slot(self, slice_: int, row: int, column: int) -> int:
        """Return a tile's slot in its shard."""
        chunks, within = divmod(self.place(slice_), self.depth)
        entry = (chunks * self.shard + row % self.shard) * self.shard + column % self.shard
        return entry * self.depth + within

    def tile_at(self, shard: tuple[int, int, int], slot: int) -> tuple[int, int, int]:
        """Return (slice, row, column) of the tile behind a slot of the shard at (layer, row, column)."""
        layer, row, column = shard
        entry, within = divmod(slot, self.depth)
        rest, c = divmod(entry, self.shard)
        chunks, r = divmod(rest, self.shard)
        place = chunks * self.depth + within
        if self.steps:
            sample, step = divmod(place, self.shard_steps)
            return (layer * self.shard_leading[0] + sample) * self.steps + row * self.shard_steps + step, 0, 0
        return layer * self.shard_slices + place, row * self.shard + r, column * self.shard + c

    def cells(self, mask: int) -> NDArray[np.bool_]:
        """Return the bits of a shard's slots as an array (slices, rows, columns)."""
        data = np.frombuffer(mask.to_bytes(-(-self.slots // 8), "little"), np.uint8)
        flags = np.unpackbits(data, bitorder="little")[: self.slots].astype(np.bool_)
        chunks = flags.reshape(-1, self.shard, self.shard, self.depth)
        return chunks.transpose(0, 3, 1, 2).reshape(self.shard_slices, self.shard, self.shard)

    def mask(self, cells: NDArray[np.bool_]) -> int:
        """Return the bits of the slots that are true in an array (slices, rows, columns); `cells` is the inverse."""
        flags = cells.reshape(-1, self.depth, self.shard, self.shard).transpose(0, 2, 3, 1)
        return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")

    def shard_of(self, slice_: int, row: int, column: int) -> tuple[int, int, int]:
        """Return (layer, row, column) of the shard that holds a tile."""
        if self.steps:
            sample, step = divmod(slice_, self.steps)
            return sample // self.shard_leading[0], step // self.shard_steps, 0
        return slice_ // self.shard_slices, row // self.shard, column // self.shard

    def slices_of(self, layer: int, row: int = 0) -> Sequence[int]:
        """Return the slices of a shard; `row` matters if samples have steps."""
        samples = self.shard_leading[0]
        first, last = layer * samples, min((layer + 1) * samples, self.leading[0])
        if not self.steps:
            return range(first, last)
        begin, end = row * self.shard_steps, min((row + 1) * self.shard_steps, self.steps)
        return [n * self.steps + step for n in range(first, last) for step in range(begin, end)]

    def slice_mask(self, slice_: int) -> int:
        """Return the bits of all slots of one slice in its shard."""
        cells = np.zeros((self.shard_slices, self.shard, self.shard), np.bool_)
        cells[self.place(slice_)] = True
        return self.mask(cells)

    def windows_mask(self, covers: Mapping[int, Iterable[Window]], row: int, column: int) -> int:
        """Return the bits of the tiles of the shards at (row, column) that the windows of slices touch.

        Args:
            covers: slice → windows of it, in pixels of the group; of slices of one shard.
            row: of the shard.
            column: of the shard.
        """
        cells = np.zeros((self.shard_slices, self.shard, self.shard), np.bool_)
        top, left = (0 if self.steps else row * self.shard), column * self.shard
        for slice_, windows in covers.items():
            plane = cells[self.place(slice_)]
            for w in windows:
                rows = slice(max(w.row // self.tile - top, 0), max(-(-w.row_end // self.tile) - top, 0))
                columns = slice(
                    max(w.column // self.tile - left, 0), max(-(-w.column_end // self.tile) - left, 0)
                )
                plane[rows, columns] = True
        return self.mask(cells)

    def full_mask(self, layer: int, row: int, column: int) -> int:
        """Return the bits of the slots that lie inside the group: all of them but at its edges."""
        count = min(self.shard_leading[0], self.leading[0] - layer * self.shard_leading[0])
        if self.steps:
            return _corner(self, (count, min(self.shard_steps, self.steps - row * self.shard_steps)))
        rows = min(self.shard, self.tile_rows - row * self.shard)
        return _corner(self, (count, rows, min(self.shard, self.tile_columns - column * self.shard)))


@lru_cache(maxsize=1 << 10)
def _corner(tiling: Tiling, lengths: tuple[int, ...]) -> int:
    """Return the bits of the first slots of a shard along each axis: leading axes, rows, columns."""
    cells = np.zeros((*tiling.shard_leading, tiling.shard, tiling.shard), np.bool_)
    cells[tuple(map(slice, lengths))] = True
    return tiling.mask(cells)
