"""Single tiles of a mosaic, read without zarr: for comparing them with what the service answers today."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from downloader.mosaic.layout import GroupLayout
from downloader.mosaic.shard import ShardIndex, index_bytes
from downloader.mosaic.state import GroupState, bits
from downloader.mosaic.store import Store
from downloader.planning import ShardKey, TileKey

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw_tiles", "read_tile"]


def read_tile(store: Store, layout: GroupLayout, band: int, tile: TileKey) -> NDArray[np.generic]:
    """The pixels (height, width) of one band of one tile, clipped at the group's edge.

    Raises:
        FileNotFoundError: it is not stored.
        ValueError: it is damaged.
    """
    tiling = layout.group.tiling
    place = (tile.slice // tiling.shard_slices, tile.row // tiling.shard, tile.column // tiling.shard)
    slot = tiling.slot(tile.slice, tile.row, tile.column)
    if layout.profile == "plain":
        data = store.get(layout.tile_object(band, place, slot))
    else:
        whole = np.frombuffer(store.get(layout.shard_object(band, *place)), np.uint8)
        index = ShardIndex.parse(whole[-index_bytes(tiling.slots) :], tiling.slots, whole.size)
        span = index.span(slot)
        if span is None:
            raise FileNotFoundError(f"{tile} is not stored")
        data = whole[span[0] : span[1]]
    chunk = layout.codec.decode(data, layout.group.bands[band].dtype, (tiling.tile, tiling.tile))
    window = tiling.window(tile.row, tile.column)
    return chunk[: window.height, : window.width]


def draw_tiles(states: Mapping[str, GroupState], count: int, seed: int) -> dict[ShardKey, int]:
    """Tiles drawn at random from all that are stored with all their bands, each as likely as any other.

    Returns:
        Shard → bits of the tiles drawn; all of them where `count` are not stored.
    """
    total = sum(state.counts().stored for state in states.values())
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    ranks = sorted(rng.sample(range(total), min(count, total)), reverse=True)
    drawn: dict[ShardKey, int] = {}
    passed = 0
    for name, state in states.items():
        tiling = state.group.tiling
        for index in np.flatnonzero(state.masks.any(axis=(1, 2))).tolist():
            complete = state.complete(index)
            until = passed + complete.bit_count()
            if ranks and ranks[-1] < until:
                slots = list(bits(complete))
                mask = 0
                while ranks and ranks[-1] < until:
                    mask |= 1 << slots[ranks.pop() - passed]
                drawn[ShardKey(name, *tiling.shard_at(index))] = mask
            passed = until
            if not ranks:
                return drawn
    return drawn
