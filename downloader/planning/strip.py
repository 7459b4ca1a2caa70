"""The shards of a plan in a row, cut into cells that a display fills as their tiles are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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

    def holding(self, counts: Iterable[tuple[ShardKey, int]]) -> Strip:
        """Return the strip with so many tiles stored of each shard."""
        stored = list(self.stored)
        for key, count in counts:
            stored[self.cell(key)] += count
        return replace(self, stored=tuple(stored))


def strip(groups: Sequence[Group]) -> Strip | None:
    """Return the strip of a plan of which nothing is stored; None where it has too many shards to count."""
    shards = sum(group.tiling.shards for group in groups)
    if not 0 < shards <= _MOST_SHARDS:
        return None
    tilings, before = {}, 0
    for group in groups:
        tilings[group.name] = (before, group.tiling)
        before += group.tiling.shards
    cells = min(shards, _CELLS)
    empty = Strip(tilings, shards, (0,) * cells, (0,) * cells)
    wanted = [0] * cells
    for group in groups:
        for key in group.shards():
            wanted[empty.cell(key)] += group.wanted_mask(key).bit_count()
    return replace(empty, wanted=tuple(wanted))
