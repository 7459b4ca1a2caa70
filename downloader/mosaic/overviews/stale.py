"""Find the shards of overviews that are missing or older than the pixels that they are made of.

The ledger tells: a shard of a level has a line like a shard of the pixels has. It is stale if one of the four shards
below it has a newer line or is stale itself, if it was made by another recipe, or if its objects are not as long as its
line says. Order in the ledger is what counts, never a clock.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.mosaic.record.ledger import LedgerReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.format.layout import GroupLayout
    from downloader.mosaic.overviews.levels import Level
    from downloader.mosaic.storage.store import Store


_MADE: Final = 2
"""Version of how pixels are made; another one makes all of them anew."""


@dataclass
class ShardLines:
    """The last line of each shard of a group that tells of pixels; arrays of (layer, row, column) in shards."""

    order: NDArray[np.uint64]
    """The line's number in the ledger, from 1; 0 where there is none."""
    nbytes: NDArray[np.uint64]
    """Length of the shard's objects by its line, all bands together."""
    recipe: NDArray[np.uint32]
    """How the shard was made (`recipe_of`); 0 for the mosaic's own pixels."""


def read_lines(store: Store, layouts: Iterable[GroupLayout]) -> dict[str, ShardLines]:
    """Return the last line of each shard, by group.

    Raises:
        RefusedError: the ledger was written by another version.
        OSError: it cannot be read.
    """
    found = {}
    for layout in layouts:
        t = layout.group.tiling
        shape = (t.shard_layers, t.shard_rows, t.shard_columns)
        found[layout.group.name] = ShardLines(
            np.zeros(shape, np.uint64), np.zeros(shape, np.uint64), np.zeros(shape, np.uint32)
        )
    for number, entry in enumerate(LedgerReader(store).entries(), 1):
        lines = found.get(entry.group)
        if lines is None or not entry.pieces:
            continue
        shard = entry.shard
        if any(not 0 <= index < length for index, length in zip(shard, lines.order.shape, strict=True)):
            continue
        lines.order[shard] = number
        lines.nbytes[shard] = sum(piece.nbytes for piece in entry.pieces.values())
        lines.recipe[shard] = entry.recipe
    return found


def recipe_of(chain: tuple[Level, ...]) -> int:
    """Return a number for how the pixels of a group's levels are made: rules, types and nodata of its bands."""
    facts: list[object] = [_MADE]
    for level in chain[:1]:
        facts += [
            (band.id, band.pyramiding, band.dtype.str, repr(nodata), band.mask_of)
            for band, nodata in zip(level.layout.group.bands, level.layout.nodata, strict=True)
        ]
    return zlib.crc32(repr(facts).encode()) or 1


def stale_shards(
    chain: tuple[Level, ...], lines: Mapping[str, ShardLines], there: Mapping[str, NDArray[np.uint64]]
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return, by name of a level, which of its shards are stale, and below which of them anything was ever stored.

    Args:
        chain: the levels of one group, the finest first.
        lines: the last lines of the group's shards and of the levels', by name.
        there: length of the objects of the levels' shards as they are listed, by name; shaped as the lines.
    """
    found: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
    recipe = recipe_of(chain)
    stale = used = np.zeros(0, np.bool_)
    for number, level in enumerate(chain):
        name = level.layout.group.name
        below, own = lines[level.below.group.name], lines[name]
        newest = of_four(below.order)
        if number == 0:
            stale, used = np.zeros(newest.shape, np.bool_), newest > 0
        else:
            stale, used = of_four(stale), of_four(used)
        stale = stale | (own.order < newest) | (own.nbytes != there[name])
        stale |= used & (own.recipe != recipe)
        found[name] = (stale, used)
    return found


def of_four(below: NDArray[Any]) -> NDArray[Any]:
    """Return the largest of each 2×2 values along the last two axes; a last odd row or column stands alone."""
    rows, columns = below.shape[1:]
    padded = np.pad(below, ((0, 0), (0, rows % 2), (0, columns % 2)))
    parts = [padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return np.asarray(np.maximum.reduce(parts))
