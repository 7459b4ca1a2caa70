"""Tiles of one band, read in the order in which overviews need them: each object once, and one of them in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from downloader.mosaic.shard import DamagedShardError, ShardIndex, index_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from downloader.mosaic.layout import GroupLayout
    from downloader.mosaic.store import Store

__all__ = ["BandTiles"]


class BandTiles:
    """The tiles of one band of one group, as far as they count as stored."""

    def __init__(
        self,
        store: Store,
        layout: GroupLayout,
        band: int,
        stored: Callable[[tuple[int, int, int]], int] | None = None,
    ) -> None:
        """Of a group.

        Args:
            store: the mosaic's objects.
            layout: the group.
            band: index of the band.
            stored: (layer, row, column) of a shard → bits of the tiles that count; None where all that is there does.
        """
        self._store = store
        self._layout = layout
        self._band = band
        self._stored = stored
        self._open: tuple[tuple[int, int, int], NDArray[np.uint8] | None, ShardIndex | None] | None = None

    def read(self, slice_: int, row: int, column: int) -> NDArray[Any] | None:
        """The pixels (height, width) of a tile, clipped at the group's edge; None for one that is not stored.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
        """
        tiling = self._layout.group.tiling
        if row >= tiling.tile_rows or column >= tiling.tile_columns:
            return None
        place = (slice_ // tiling.shard_slices, row // tiling.shard, column // tiling.shard)
        slot = tiling.slot(slice_, row, column)
        if self._stored is not None and not self._stored(place) >> slot & 1:
            return None
        data = self._tile(place, slot)
        if data is None:
            return None
        dtype = self._layout.group.bands[self._band].dtype
        chunk = self._layout.codec.decode(data, dtype, (tiling.tile, tiling.tile))
        window = tiling.window(row, column)
        return chunk[: window.height, : window.width]

    def describe(self, slice_: int, row: int, column: int) -> str:
        """A tile's name, for messages."""
        layout = self._layout
        moment = f"slice {slice_}, " if layout.leading else ""
        return f"{layout.prefix}{layout.arrays[self._band]}, {moment}tile row {row}, column {column}"

    def _tile(self, place: tuple[int, int, int], slot: int) -> Any:  # noqa: ANN401  # a Buffer, or None
        if self._layout.profile == "plain":
            try:
                return self._store.get(self._layout.tile_object(self._band, place, slot))
            except FileNotFoundError:
                return None
        if self._open is None or self._open[0] != place:
            self._open = (place, *self._shard(place))
        _, whole, index = self._open
        span = None if index is None else index.span(slot)
        return None if whole is None or span is None else whole[span[0] : span[1]]

    def _shard(self, place: tuple[int, int, int]) -> tuple[NDArray[np.uint8] | None, ShardIndex | None]:
        slots = self._layout.group.tiling.slots
        key = self._layout.shard_object(self._band, *place)
        try:
            whole = np.frombuffer(self._store.get(key), np.uint8)
        except FileNotFoundError:
            return None, None
        try:
            return whole, ShardIndex.parse(whole[-index_bytes(slots) :], slots, whole.size)
        except DamagedShardError as error:
            raise ValueError(f"{key}: {error}") from error
