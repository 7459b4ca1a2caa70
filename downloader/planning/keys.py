"""Names of places in the plan: a tile, a shard, a rectangle of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ShardKey", "TileBlock", "TileKey"]


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
    """A rectangle of tiles of one slice, in tiles of the group's lattice."""

    slice: int
    row: int
    column: int
    rows: int
    columns: int

    @property
    def tiles(self) -> int:
        """How many tiles."""
        return self.rows * self.columns

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(row, column) of each tile, row by row."""
        for row in range(self.row, self.row + self.rows):
            for column in range(self.column, self.column + self.columns):
                yield row, column
