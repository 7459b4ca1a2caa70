"""Make one shard of an overview of the tiles below it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from downloader.errors import StoppedError
from downloader.mosaic.overviews.downsample import halve
from downloader.mosaic.record.ledger import Piece
from downloader.mosaic.shard_writer import new_objects
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.tile_reader import BandTiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.format.chunk import Tile
    from downloader.mosaic.format.codec import Buffer
    from downloader.mosaic.overviews.levels import Level
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.store import Store
    from downloader.planning import Tiling


def make_shard(
    store: Store,
    level: Level,
    place: tuple[int, int, int],
    states: Mapping[str, GroupState],
    *,
    replaces: bool,
) -> dict[str, Piece]:
    """Make all bands of one shard; return their pieces of its ledger line, by band id.

    Args:
        store: the mosaic's objects.
        level: the level.
        place: (layer, row, column) of the shard.
        states: by group of the mosaic, what is stored; of levels all that exists counts.
        replaces: whether objects of the shard may exist.

    Raises:
        StoppedError: the disk is full or does not work, or a tile below is damaged.
    """
    layout = level.layout
    pieces: dict[str, Piece] = {}
    every = layout.group.tiling.full_mask(*place)
    for band in range(len(layout.arrays)):
        tiles = _made(store, level, band, place, states)
        objects, piece = new_objects(layout, band, place, tiles) if tiles else ({}, Piece(0))
        lacks = every & ~piece.stored
        gone = set(layout.objects(band, place, lacks)) - objects.keys() if replaces else set()
        needed = sum(len(buffer) for buffers in objects.values() for buffer in buffers)
        trying(store, "overviews", needed, partial(_write, store, objects, gone))
        without = Piece.without(lacks, layout.profile)
        pieces[layout.group.bands[band].id] = replace(piece, chunks=(*piece.chunks, *without.chunks))
    return pieces


def _write(store: Store, objects: Mapping[str, list[Buffer]], gone: Collection[str]) -> None:
    for key, buffers in objects.items():
        store.put(key, buffers)
    if gone:
        store.delete(gone)
    store.flush(objects)


def _made(
    store: Store, level: Level, band: int, place: tuple[int, int, int], states: Mapping[str, GroupState]
) -> dict[int, Tile]:
    """Return slot → tile of one band of a shard, for the tiles of which anything is stored below."""
    layout, tiling = level.layout, level.layout.group.tiling
    bands = layout.group.bands
    pixels = _tiles(store, level, band, states)
    mask = next((i for i, other in enumerate(bands) if bands[band].id in other.mask_of), None)
    masks = None if mask is None else _tiles(store, level, mask, states)
    fill, policy = layout.fills[band], bands[band].pyramiding
    has_nodata = layout.nodata[band] is not None
    tiles: dict[int, Tile] = {}
    for slot in _by_quarters(tiling):
        slice_, row, column = tiling.tile_at(place, slot)
        if slice_ >= tiling.slices or row >= tiling.tile_rows or column >= tiling.tile_columns:
            continue
        block = _block(pixels, masks, (slice_, row, column), tiling.tile, fill, has_nodata=has_nodata)
        if block is not None:
            tiles[slot] = layout.forms[band].tile(np.ascontiguousarray(halve(*block, policy, fill)))
    return tiles


def _tiles(store: Store, level: Level, band: int, states: Mapping[str, GroupState]) -> BandTiles:
    """Return the tiles that a level is made of: the mosaic's as far as the ledger names them, or those of the level below."""
    below = level.below
    state, tiling = states.get(below.group.name), below.group.tiling
    if state is None:
        return BandTiles(store, below, band)
    return BandTiles(store, below, band, lambda place: state.stored(tiling.shard_index(*place))[band])


def _by_quarters(tiling: Tiling) -> Iterator[int]:
    """Yield the slots of a shard, those over one shard of the level below together, chunk by chunk."""
    shard, depth = tiling.shard, tiling.depth
    half = max(1, shard // 2)
    plane = sorted(range(shard * shard), key=lambda s: (s // shard // half, s % shard // half, s))
    for chunks in range(tiling.shard_slices // depth):
        for entry in plane:
            first = (chunks * shard * shard + entry) * depth
            yield from range(first, first + depth)


def _block(
    pixels: BandTiles,
    masks: BandTiles | None,
    tile: tuple[int, int, int],
    side: int,
    fill: Any,  # noqa: ANN401  # a number of the band's type
    *,
    has_nodata: bool,
) -> tuple[NDArray[Any], NDArray[np.bool_] | None] | None:
    """Return the 2×2 tiles below a tile, side by side, and which pixels hold data; None where none of them is stored."""
    slice_, row, column = tile
    block: NDArray[Any] = np.full((2 * side, 2 * side), fill)
    valid = np.zeros(block.shape, np.bool_)
    found = False
    for i in (0, 1):
        for j in (0, 1):
            part = _read(pixels, slice_, 2 * row + i, 2 * column + j)
            if part is None:
                continue
            found = True
            here = (slice(i * side, i * side + part.shape[0]), slice(j * side, j * side + part.shape[1]))
            block[here] = part
            seen = np.ones(part.shape, np.bool_)
            if part.dtype.kind == "f":
                seen &= ~np.isnan(part)
            if has_nodata:
                seen &= part != fill
            if masks is not None:
                mask = _read(masks, slice_, 2 * row + i, 2 * column + j)
                seen &= np.False_ if mask is None else mask == 1
            valid[here] = seen
    if not found:
        return None
    return block, None if valid.all() else valid


def _read(tiles: BandTiles, slice_: int, row: int, column: int) -> NDArray[Any] | None:
    try:
        return tiles.read(slice_, row, column)
    except ValueError as error:
        raise StoppedError(
            f"overviews: {tiles.describe(slice_, row, column)} is damaged ({error}); repair it with "
            "`downloader verify --repair` and make them again"
        ) from error
