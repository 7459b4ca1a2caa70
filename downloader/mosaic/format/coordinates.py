"""Write the coordinates: pixel centres `x` and `y`, and the arrays along the leading axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.documents import ROOT, members_of, read_document
from downloader.mosaic.format.georeferencing import centres
from downloader.mosaic.format.layout import GroupLayout, axis_chunk
from downloader.mosaic.storage.store import Store, put_all, put_changed


def coordinate_chunks(
    layout: GroupLayout, known: Callable[[str], frozenset[str]] = lambda _: frozenset()
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield (key, values) of every chunk of a group's `x` and `y`; sheared grids and samples have none.

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


def write_coordinates(store: Store, layouts: tuple[GroupLayout, ...]) -> None:
    """Write missing chunks of `x` and `y`, and chunks along the leading axis that are missing or differ. Raises OSError.

    Call it before the metadata that makes arrays visible: so what there is of a visible one is known to be durable. A chunk
    of the leading axis that grows keeps its values, so a reader of the shorter array sees the same.
    """
    visible = members_of(read_document(store, ROOT))

    def known(folder: str) -> frozenset[str]:
        there = store.list(folder) if folder.removesuffix("/c") in visible else ()
        return frozenset(key for key, size in there if size)

    for layout in layouts:
        chunks = coordinate_chunks(layout, known)
        put_all(store, ((key, layout.codec.encode(values)) for key, values in chunks))
        put_changed(store, layout.axis_chunks())
