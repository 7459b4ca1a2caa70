"""Covers: the pixels that the images of a slice cover, as a few windows. Tiles that meet none of them are not asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.model.grid import Window
from downloader.planning.tiling import TILE

Cover = tuple[Window, ...]
"""Windows whose union is covered; empty where nothing is."""

_MOST: Final = 32
"""Windows of one cover; of more their hull is taken."""


def cover_of(windows: Iterable[Window]) -> Cover:
    """Return a cover of windows, joined where that adds no tile of 256² pixels.

    Args:
        windows: in pixels that tiles are counted from. Of very many, far apart, the hull is taken.
    """
    return _joined(tuple(dict.fromkeys(windows)))


@lru_cache(maxsize=1 << 14)
def _joined(windows: Cover) -> Cover:
    if len(windows) < 2:
        return windows
    kept: list[tuple[Window, Window]] = []
    for window in sorted(windows, key=lambda one: -one.aligned(TILE).pixels):
        tiles = window.aligned(TILE)
        home = next((k for k, (larger, _) in enumerate(kept) if larger.contains(tiles)), None)
        if home is None:
            kept.append((tiles, window))
        else:
            kept[home] = kept[home][0], _hull([kept[home][1], window])
        if len(kept) > _MOST:
            return (_hull(windows),)
    found, whole = tuple(window for _, window in kept), _hull(windows)
    return (whole,) if tiles_of(found, TILE) == tiles_of([whole], TILE) else found


def clipped(cover: Iterable[Window], window: Window) -> Cover:
    """Return the part of a cover that lies in a window, counted from the window's corner."""
    parts = (part for one in cover if (part := one.clip(window)))
    return tuple(part.offset(-window.column, -window.row) for part in parts)


def tiles_of(cover: Sequence[Window], tile: int) -> int:
    """Return how many tiles a cover touches."""
    aligned = [window.aligned(tile) for window in cover]
    if len(aligned) < 2:
        return sum(window.pixels for window in aligned) // tile**2
    counts, columns, rows = layers(aligned)
    areas = np.diff(rows // tile)[:, None] * np.diff(columns // tile)[None, :]
    return int(areas[counts > 0].sum())


def layers(windows: Sequence[Window]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of windows in each cell between their edges, (rows, columns), and the edges: columns, then rows."""
    columns = np.unique([[w.column, w.column_end] for w in windows])
    rows = np.unique([[w.row, w.row_end] for w in windows])
    counts = np.zeros((len(rows) - 1, len(columns) - 1), np.int64)
    for window in windows:
        left, right = np.searchsorted(columns, [window.column, window.column_end])
        top, bottom = np.searchsorted(rows, [window.row, window.row_end])
        counts[top:bottom, left:right] += 1
    return counts, columns, rows


def _hull(windows: Iterable[Window]) -> Window:
    found = Window.hull(windows)
    assert found is not None  # noqa: S101  # of at least one
    return found
