"""The shards of a plan in a row, cut into cells that a display fills as their tiles are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from downloader.planning.group import Group
from downloader.planning.requests import ShardKey
from downloader.planning.tiling import Tiling

_CELLS: Final = 200

_MOST_SHARDS: Final = 50_000
"""Shards of a plan that are counted one by one: about half a second."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Cells of neighbouring shards, in the order of the plan's groups."""

    tilings: Mapping[str, tuple[int, Tiling]]
    """Group → (shards of the groups before it, its tiling)."""
    shards: int
    wanted: tuple[int, ...]
    """Tiles of each cell that the plan asks for."""
    stored: tuple[int, ...]
    """Those of them that earlier runs stored."""

    def cell(self, key: ShardKey) -> int:
        """Return the cell that a shard lies in."""
        before, tiling = self.tilings[key.group]
        return (before + tiling.shard_index(key.slice, key.row, key.column)) * len(self.wanted) // self.shards


def strip(groups: Sequence[Group], stored: Callable[[ShardKey], int]) -> Strip | None:
    """Return the strip of a plan; None where it has too many shards to count.

    Args:
        groups: of the plan.
        stored: returns how many tiles of a shard are stored.
    """
    shards = sum(group.tiling.shards for group in groups)
    if not 0 < shards <= _MOST_SHARDS:
        return None
    tilings, before = {}, 0
    for group in groups:
        tilings[group.name] = (before, group.tiling)
        before += group.tiling.shards
    cells = min(shards, _CELLS)
    empty = Strip(tilings, shards, (0,) * cells, (0,) * cells)
    wanted, there = [0] * cells, [0] * cells
    for group in groups:
        for key in group.shards():
            cell = empty.cell(key)
            wanted[cell] += group.wanted_mask(key).bit_count()
            there[cell] += stored(key)
    return Strip(tilings, shards, tuple(wanted), tuple(there))
