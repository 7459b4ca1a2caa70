"""Write the coordinates: pixel centres in `x` and `y`, from the lattice's own origin, and the arrays along the leading axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.georeferencing import centres
from downloader.mosaic.format.layout import GroupLayout, axis_chunk
from downloader.mosaic.record.paths import COORDINATES, OWN
from downloader.mosaic.storage.store import Store, put_changed


def coordinate_chunks(
    layout: GroupLayout, known: Callable[[str], frozenset[str]] = lambda _: frozenset()
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield (key, values) of every chunk of a group's `x` and `y`; none where the grid is sheared, or each sample has its own.

    Args:
        layout: the group.
        known: folder of an axis → keys to leave out.
    """
    grid, lattice, window = layout.group.grid, layout.group.lattice, layout.group.window
    if layout.group.lattices or grid.transform.is_sheared:
        return
    t = lattice.transform
    axes = (
        ("y", t.scale_y, t.translate_y, window.row, grid.height),
        ("x", t.scale_x, t.translate_x, window.column, grid.width),
    )
    for axis, scale, translate, first, length in axes:
        folder = f"{layout.prefix}{axis}/c"
        there = known(folder)
        step = axis_chunk(length)
        for number in range(-(-length // step)):
            key = f"{folder}/{number}"
            if key in there:
                continue
            begin = number * step
            chunk = np.full(step, np.nan, "<f8")
            count = min(step, length - begin)
            chunk[:count] = centres(scale, translate, first + begin, count)
            yield key, chunk


def write_axis(store: Store, layouts: tuple[GroupLayout, ...]) -> None:
    """Write the chunks of the leading axis that are missing or differ; readers see them with the metadata.

    A chunk that grows keeps its values, so a reader of the shorter array sees the same. Raises OSError.
    """
    put_changed(store, (chunk for layout in layouts for chunk in layout.axis_chunks()))


class CoordinateWriter:
    """Writer of the chunks of `x` and `y` that are missing; what a killed run left is written by the next."""

    def __init__(self, store: Store, layouts: tuple[GroupLayout, ...]) -> None:
        self._store = store
        # Without the marker it is not known whether the chunks survived a loss of power: all are written again.
        self._marked = any(key == COORDINATES for key, _ in store.list(OWN))
        self._todo = self._missing(layouts)
        self._batch: list[tuple[str, bytes]] = []

    def write(self, most: int) -> bool:
        """Write the next `most` chunks; return whether all are written and durable. Safe to repeat when it raises OSError."""
        self._batch = self._batch or list(islice(self._todo, most))
        for key, data in self._batch:
            self._store.put(key, [data])
        self._store.flush(key for key, _ in self._batch)
        done = len(self._batch) < most
        if done and not self._marked:
            self._store.put(COORDINATES, [b"{}"])
            self._marked = True
        self._batch = []
        return done

    def _missing(self, layouts: tuple[GroupLayout, ...]) -> Iterator[tuple[str, bytes]]:
        def known(folder: str) -> frozenset[str]:
            return frozenset(key for key, size in self._store.list(folder) if size and self._marked)

        for layout in layouts:
            for key, chunk in coordinate_chunks(layout, known):
                yield key, layout.codec.encode(chunk)
