"""Read single tiles of a mosaic without zarr, to compare them with the service's or to make overviews."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.shard import DamagedShardError, ShardIndex, read_shard
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.store import Store
from downloader.planning import ShardKey, TileKey
from downloader.planning.tiling import bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


_CHUNKS: Final = 4
"""Deep chunks that stay decoded: those below one of a coarser level."""


def read_tile(store: Store, layout: GroupLayout, band: int, tile: TileKey) -> NDArray[np.generic]:
    """Return the pixels (height, width) of one band of one tile, clipped at the group's edge.

    Raises:
        FileNotFoundError: it is not stored.
        ValueError: it is damaged.
    """
    pixels = BandTiles(store, layout, band).read(tile.slice, tile.row, tile.column)
    if pixels is None:
        raise FileNotFoundError(f"{tile} is not stored")
    return pixels


def draw_tiles(states: Mapping[str, GroupState], count: int, seed: int) -> dict[ShardKey, int]:
    """Draw tiles at random from all that are stored with all their bands, each with the same probability.

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


class BandTiles:
    """The stored tiles of one band of one group."""

    def __init__(
        self,
        store: Store,
        layout: GroupLayout,
        band: int,
        stored: Callable[[tuple[int, int, int]], int] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            store: the mosaic's objects.
            layout: the group.
            band: index of the band.
            stored: (layer, row, column) of a shard → bits of the tiles that count; None where all that exist count.
        """
        self._store = store
        self._layout = layout
        self._band = band
        self._stored = stored
        self._open: tuple[tuple[int, int, int], NDArray[np.uint8] | None, ShardIndex | None, int] | None
        self._open = None
        self._chunks: dict[tuple[tuple[int, int, int], int], NDArray[Any] | None] = {}
        """Shard and entry → pixels of the deep chunks that were read last."""

    def read(self, slice_: int, row: int, column: int) -> NDArray[Any] | None:
        """Return the pixels (height, width) of a tile, clipped at the group's edge; None for one that is not stored.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
        """
        tiling = self._layout.group.tiling
        if row >= tiling.tile_rows or column >= tiling.tile_columns:
            return None
        place = tiling.shard_of(slice_, row, column)
        slot = tiling.slot(slice_, row, column)
        if self._stored is not None and not self._stored(place) >> slot & 1:
            return None
        chunk = self._chunk(place, slot)
        if chunk is None:
            return None
        window = tiling.window(row, column)
        return chunk[slot % tiling.depth, : window.height, : window.width]

    def describe(self, slice_: int, row: int, column: int) -> str:
        """Return a tile's name, for messages."""
        layout = self._layout
        moment = f"slice {slice_}, " if layout.leading else ""
        return f"{layout.prefix}{layout.arrays[self._band]}, {moment}tile row {row}, column {column}"

    def _chunk(self, place: tuple[int, int, int], slot: int) -> NDArray[Any] | None:
        """Return the pixels (depth, side, side) of the chunk that holds a tile; None where the tile is not stored."""
        form = self._layout.forms[self._band]
        if self._layout.profile == "plain":
            try:
                return form.decode(self._store.get(self._layout.tile_object(self._band, place, slot)))
            except FileNotFoundError:
                return None
        if self._open is None or self._open[0] != place:
            self._open = (place, *self._shard(place))
        _, whole, index, held = self._open
        if whole is None or index is None or not held >> slot & 1:
            return None
        entry = slot // form.depth
        if (place, entry) in self._chunks:
            return self._chunks[place, entry]
        span = index.span(entry)
        pixels = None if span is None else form.decode(whole[slice(*span)])
        if form.depth > 1:
            if len(self._chunks) >= _CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[place, entry] = pixels
        return pixels

    def _shard(self, place: tuple[int, int, int]) -> tuple[NDArray[np.uint8] | None, ShardIndex | None, int]:
        key = self._layout.shard_object(self._band, *place)
        try:
            whole = np.frombuffer(self._store.get(key), np.uint8)
        except FileNotFoundError:
            return None, None, 0
        try:
            header = self._layout.header(self._band, place)
            return whole, *read_shard(whole, whole, whole.size, header)
        except DamagedShardError as error:
            raise ValueError(f"{key}: {error}") from error
