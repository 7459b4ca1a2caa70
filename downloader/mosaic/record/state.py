"""The state of a group in memory: a bit for each tile and band that is stored, and the few that failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from downloader.model.document import to_document
from downloader.planning import Group, ShardKey, TileKey
from downloader.planning.tiling import bits


@dataclass(frozen=True, slots=True)
class FailedTiles:
    """Tiles of one shard that could not be fetched, for one cause."""

    tiles: int
    """Bits of the shard's slots."""
    bands: frozenset[str]
    """The bands' ids."""
    cause: str
    """The problem's short stable name."""
    message: str
    """The problem's readable line."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Tiles of a group by state. A tile is stored when all its bands are, failed when a band that is not stored failed."""

    tiles: int
    stored: int
    failed: int

    @property
    def missing(self) -> int:
        """Neither stored nor failed."""
        return self.tiles - self.stored - self.failed

    def to_json(self) -> dict[str, int]:
        """Return the counts as plain values."""
        return {**to_document(self), "missing": self.missing}


TileFailure = tuple[TileKey, tuple[str, ...], str, str]
"""(tile, bands, cause, message) of a tile that failed."""


def failures_document(failures: Iterable[TileFailure]) -> list[dict[str, Any]]:
    """Return failures as plain values."""
    return [
        {**to_document(key), "bands": list(bands), "cause": cause, "message": message}
        for key, bands, cause, message in failures
    ]


class GroupState:
    """State of one group. Memory is touched only where something was stored."""

    def __init__(self, group: Group) -> None:
        self.group = group
        tiling = group.tiling
        self.bands = {band.id: index for index, band in enumerate(group.bands)}
        """Band id → its index."""
        self._words = -(-tiling.slots // 64)
        self.masks: NDArray[np.uint64] = np.zeros((tiling.shards, len(group.bands), self._words), "<u8")
        """(shards, bands, words): the slots stored, lowest bit first."""
        self.failed: dict[int, tuple[FailedTiles, ...]] = {}
        """Shard's number → what failed in it."""
        self._tiles = group.count_tiles()
        self._stored = 0
        self._failed = 0

    def _wanted(self, index: int) -> int:
        return self.group.wanted_mask(ShardKey(self.group.name, *self.group.tiling.shard_at(index)))

    def index(self, key: ShardKey) -> int:
        """Return a shard's number."""
        return self.group.tiling.shard_index(key.slice, key.row, key.column)

    def stored(self, index: int) -> list[int]:
        """Return the bits of the slots stored, band by band."""
        row = self.masks[index]
        if self._words == 1:
            return [int(word) for word in row[:, 0]]
        return [int.from_bytes(band.tobytes(), "little") for band in row]

    def missing(self, key: ShardKey) -> dict[int, int]:
        """Return band index → bits of the tiles not stored; empty for a shard that is done."""
        stored = self.stored(self.index(key))
        lacks = {band: mask & ~stored[band] for band, mask in self.group.wanted(key).items()}
        return {band: mask for band, mask in lacks.items() if mask}

    def update(
        self, index: int, stored: Mapping[int, int], failed: tuple[FailedTiles, ...] | None = None
    ) -> None:
        """Set the slots stored of some bands, and what failed; None leaves the failures as they are."""
        self._count(index, -1)
        self.set(index, stored, self.failed.get(index, ()) if failed is None else failed)
        self._count(index, +1)

    def set(self, index: int, stored: Mapping[int, int], failed: tuple[FailedTiles, ...]) -> None:
        """Set the slots stored of some bands, and what failed, without counting; `recount` follows."""
        for band, mask in stored.items():
            self.set_mask(index, band, mask)
        if failed:
            self.failed[index] = failed
        else:
            self.failed.pop(index, None)

    def set_mask(self, index: int, band: int, mask: int) -> None:
        """Set the slots stored of one band without counting; `recount` follows."""
        self.masks[index, band] = np.frombuffer(mask.to_bytes(self._words * 8, "little"), "<u8")

    def recount(self) -> None:
        """Count anew after `masks` were set directly."""
        self._stored = self._failed = 0
        for index in np.flatnonzero(self.masks.any(axis=(1, 2))).tolist():
            self._stored += self.complete(index).bit_count()
        for index in self.failed:
            self._failed += self.failed_mask(index).bit_count()

    def complete(self, index: int) -> int:
        """Return the bits of the tiles of which all bands are stored that the images of their slice have."""
        key = ShardKey(self.group.name, *self.group.tiling.shard_at(index))
        together, stored = self.group.wanted_mask(key), self.stored(index)
        if not self.group.absent:
            for mask in stored:
                together &= mask
            return together
        lacks = 0
        for band, mask in self.group.wanted(key).items():
            lacks |= mask & ~stored[band]
        return together & ~lacks

    def failed_mask(self, index: int) -> int:
        """Return the bits of the tiles of which a band failed and is not stored since."""
        causes = self.failed.get(index)
        if not causes:
            return 0
        stored = self.stored(index)
        mask = 0
        for cause in causes:
            for band in cause.bands & self.bands.keys():
                mask |= cause.tiles & ~stored[self.bands[band]]
        return mask & self._wanted(index)

    def counts(self) -> Counts:
        """Return the number of tiles by state; kept up to date, so that asking is free."""
        return Counts(self._tiles, self._stored, self._failed)

    def failures(self) -> Iterator[TileFailure]:
        """Yield (tile, bands, cause, message) of every tile that failed."""
        for index, causes in sorted(self.failed.items()):
            stored = self.stored(index)
            shard = self.group.tiling.shard_at(index)
            for cause in causes:
                for slot in bits(cause.tiles):
                    bands = tuple(
                        name
                        for name, band in self.bands.items()
                        if name in cause.bands and not stored[band] >> slot & 1
                    )
                    if bands:
                        key = TileKey(self.group.name, *self.group.tiling.tile_at(shard, slot))
                        yield key, bands, cause.cause, cause.message

    def partial(self) -> Iterator[ShardKey]:
        """Yield the shards of which something is stored and something is not."""
        tiling = self.group.tiling
        for index in np.flatnonzero(self.masks.any(axis=(1, 2))).tolist():
            key = ShardKey(self.group.name, *tiling.shard_at(index))
            if self.missing(key):
                yield key

    def failed_shards(self) -> Iterator[ShardKey]:
        """Yield the shards in which tiles failed."""
        for index in sorted(self.failed):
            if self.failed_mask(index):
                yield ShardKey(self.group.name, *self.group.tiling.shard_at(index))

    def _count(self, index: int, sign: int) -> None:
        self._stored += sign * self.complete(index).bit_count()
        self._failed += sign * self.failed_mask(index).bit_count()


def combine(
    old: tuple[FailedTiles, ...], new: tuple[FailedTiles, ...], stored: Mapping[str, int]
) -> tuple[FailedTiles, ...]:
    """Return what failed in a shard after more failed and more was stored: the last cause of each tile and band.

    `stored` maps band ids to the bits of the slots stored.
    """
    causes: dict[tuple[int, str], tuple[str, str]] = {}
    for failed in (*old, *new):
        for band in failed.bands & stored.keys():
            for slot in bits(failed.tiles & ~stored[band]):
                causes[slot, band] = (failed.cause, failed.message)
    tiles: dict[tuple[str, str, int], set[str]] = {}
    for (slot, band), (cause, message) in causes.items():
        tiles.setdefault((cause, message, slot), set()).add(band)
    masks: dict[tuple[str, str, frozenset[str]], int] = {}
    for (cause, message, slot), bands in tiles.items():
        where = (cause, message, frozenset(bands))
        masks[where] = masks.get(where, 0) | 1 << slot
    return tuple(FailedTiles(mask, bands, cause, message) for (cause, message, bands), mask in masks.items())
