"""Find the tiles that hold the pixels of an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.planning import ShardKey, Tiling
from downloader.planning.tiling import bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[range, range, range]
"""Slices, rows and columns of tiles, without gaps."""

_AHEAD: Final = 2
"""Boxes that are fetched ahead of one that is read step by step."""

_MOST_AHEAD: Final = 64
"""Tiles of a box up to which the next ones are fetched ahead."""


@dataclass(frozen=True, slots=True)
class TileIndex:
    """The tiles of a group, by indices of its arrays: (slice,) row and column."""

    group: str
    tiling: Tiling
    is_layered: bool
    """Whether the array has a leading axis."""

    def outer(self, key: Sequence[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Return the slices, rows and columns of tiles, sorted, of an index whose dimensions are independent.

        Args:
            key: for each dimension a number, a slice with a positive step, or an array of numbers.
        """
        slices, rows, columns = self._places(key, together=False)
        return np.unique(slices), np.unique(rows), np.unique(columns)

    def each(self, key: Sequence[Any]) -> list[tuple[int, int, int]]:
        """Return slice, row and column of the tiles of pixels that arrays of numbers name together, each once."""
        places = np.broadcast_arrays(*self._places(key, together=True))
        unique = np.unique(np.stack([part.ravel() for part in places]), axis=1)
        return [(slice_, row, column) for slice_, row, column in unique.T.tolist()]

    def are_in(
        self, key: Sequence[Any], tiles: Mapping[ShardKey, int], *, together: bool
    ) -> NDArray[np.bool_]:
        """Return for each pixel of an index whether it lies in one of the tiles.

        Args:
            key: as `outer` takes it, or as `each` does.
            tiles: shard → bits of its tiles.
            together: whether the key is one of `each`.
        """
        places = self._places(key, together=together)
        found = np.zeros(np.broadcast_shapes(*(part.shape for part in places)), np.bool_)
        for shard, mask in tiles.items():
            for slot in bits(mask):
                tile = self.tiling.tile_at((shard.slice, shard.row, shard.column), slot)
                found |= (places[0] == tile[0]) & (places[1] == tile[1]) & (places[2] == tile[2])
        return found

    def shards_of(self, tiles: Iterable[tuple[int, ...]]) -> dict[ShardKey, int]:
        """Return shard → bits of its tiles, of tiles by slice, row and column."""
        found: dict[ShardKey, int] = {}
        for tile in tiles:
            slice_, row, column = map(int, tile)
            key = ShardKey(self.group, *self.tiling.shard_of(slice_, row, column))
            found[key] = found.get(key, 0) | 1 << self.tiling.slot(slice_, row, column)
        return found

    def next_boxes(self, last: Box, box: Box) -> list[Box]:
        """Return the boxes that follow `box` where it is one step further than `last`; none where it is not."""
        moved = [axis for axis in range(3) if last[axis] != box[axis]]
        if len(moved) != 1 or len(box[0]) * len(box[1]) * len(box[2]) > _MOST_AHEAD:
            return []
        (axis,) = moved
        length, step = len(box[axis]), box[axis].start - last[axis].start
        # The last box along an axis may be shorter than the others.
        if len(last[axis]) < length or abs(step) != len(last[axis]):
            return []
        ends = (self.tiling.slices, self.tiling.tile_rows, self.tiling.tile_columns)
        boxes: list[Box] = []
        for number in range(1, _AHEAD + 1):
            start = box[axis].start + number * step
            part = range(max(start, 0), min(start + length, ends[axis]))
            if part:
                boxes.append(tuple(part if one == axis else box[one] for one in range(3)))  # type: ignore[arg-type]
        return boxes

    def _places(self, key: Sequence[Any], *, together: bool) -> tuple[NDArray[np.intp], ...]:
        """Return slices, rows and columns of the tiles of an index, as arrays that numpy broadcasts."""
        t = self.tiling
        lengths = (*(t.leading if self.is_layered else ()), t.height, t.width)
        axes = [_numbers(part, length) for part, length in zip(key, lengths, strict=True)]
        *lead, rows, columns = axes if together else np.ix_(*axes)
        if len(lead) == 2:
            lead = [lead[0] * t.steps + lead[1]]
        return lead[0] if lead else np.zeros(1, np.intp), rows // t.tile, columns // t.tile


def box_of(parts: Sequence[NDArray[np.intp]]) -> Box | None:
    """Return the box of sorted numbers of tiles; None where it has gaps."""
    ranges = [range(int(part[0]), int(part[-1]) + 1) if part.size else range(0) for part in parts]
    if any(len(one) != part.size or not part.size for one, part in zip(ranges, parts, strict=True)):
        return None
    return ranges[0], ranges[1], ranges[2]


def _numbers(part: Any, length: int) -> NDArray[np.intp]:  # noqa: ANN401  # what xarray hands over
    if isinstance(part, slice):
        return np.arange(length)[part]
    numbers = np.atleast_1d(np.asarray(part))
    return np.where(numbers < 0, numbers + length, numbers)
