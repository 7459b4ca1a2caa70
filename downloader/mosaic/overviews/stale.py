"""Find the shards of overviews that are missing or older than the pixels that they are made of.

The ledger tells: a shard of a level has a line like a shard of the pixels has. It is stale if one of the four shards
below it has a newer line or is stale itself, if it was made by another recipe, or if its objects are not as long as its
line says. Order in the ledger is what counts, never a clock.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.format.layout import GroupLayout
    from downloader.mosaic.overviews.levels import Level
    from downloader.mosaic.record.scan import LedgerClaims
    from downloader.mosaic.storage.store import Store


_MADE: Final = 2
"""Version of the rules; another one makes all levels anew."""


def recipe_of(chain: tuple[Level, ...]) -> int:
    """Return a checksum of the rules by which a group's levels are made: policies, types and nodata of its bands."""
    facts: list[object] = [_MADE]
    for level in chain[:1]:
        facts += [
            (band.id, band.pyramiding, band.dtype.str, repr(nodata), band.mask_of)
            for band, nodata in zip(level.layout.group.bands, level.layout.nodata, strict=True)
        ]
    return zlib.crc32(repr(facts).encode()) or 1


def stale_shards(
    chain: tuple[Level, ...], claims: Mapping[str, LedgerClaims], store: Store
) -> Iterator[tuple[Level, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield each level and three arrays of its shards: stale, used (something below was ever stored), present (has objects).

    Args:
        chain: the levels of one group, the finest first.
        claims: what the ledger says of the group and of its levels, by name.
        store: the mosaic's objects.
    """
    recipe = recipe_of(chain)
    stale = used = np.zeros(0, np.bool_)
    for level in chain:
        own, below = claims[level.layout.group.name], claims[level.below.group.name]
        newest = of_four(by_place(level.below, below.order))
        if level is chain[0]:
            stale, used = np.zeros(newest.shape, np.bool_), newest > 0
        else:
            stale, used = of_four(stale), of_four(used)
        listed = own.listed(store).reshape(len(own.order), -1)
        differs = np.any(listed != own.lengths.reshape(listed.shape), axis=1)
        stale = stale | (by_place(level.layout, own.order) < newest) | by_place(level.layout, differs)
        stale |= used & (by_place(level.layout, own.recipe) != recipe)
        yield level, stale, used, by_place(level.layout, np.any(listed, axis=1))


def by_place(layout: GroupLayout, values: NDArray[Any]) -> NDArray[Any]:
    """Return one value for each shard of a group as an array of (layer, row, column)."""
    t = layout.group.tiling
    return values.reshape(t.shard_layers, t.shard_rows, t.shard_columns)


def of_four(below: NDArray[Any]) -> NDArray[Any]:
    """Return the largest of each 2×2 values along the last two axes; a last odd row or column stands alone."""
    rows, columns = below.shape[1:]
    padded = np.pad(below, ((0, 0), (0, rows % 2), (0, columns % 2)))
    parts = [padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return np.asarray(np.maximum.reduce(parts))
