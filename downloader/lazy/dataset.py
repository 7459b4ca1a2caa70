"""Datasets of a mosaic whose arrays fetch what is read."""

from __future__ import annotations

import numpy as np
import xarray
from xarray.core import indexing

from downloader.lazy.array import Decoding, LazyArray
from downloader.lazy.target import Place
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.reader import Chunks, chunks_of, in_order
from downloader.mosaic.storage.location import locate


def lazy_dataset(
    place: Place, layout: GroupLayout, chunks: Chunks, *, mask_and_scale: bool
) -> xarray.Dataset:
    """Return a group of a mosaic: coordinates as they are stored, and bands that are fetched as they are read.

    Args:
        place: which mosaic.
        layout: the group.
        chunks: Dask's, as `open_group` has it.
        mask_and_scale: whether numbers come in physical units, as `open_group` has it.
    """
    stored = xarray.open_dataset(
        locate(place.path).readable(),
        engine="zarr",
        group=layout.group.name or None,
        consolidated=True,
        chunks=None,
        mask_and_scale=mask_and_scale,
    )
    sizes = {
        **dict(zip(layout.leading, layout.group.tiling.shard_leading, strict=False)),
        **dict.fromkeys(("y", "x"), layout.group.tiling.shard_side),
    }
    wanted = chunks_of(layout, chunks)
    if isinstance(wanted, dict):
        wanted = {**sizes, **wanted}
    bands = {}
    for index, name in enumerate(layout.arrays):
        variable = stored[name].variable
        decoding = _decoding(variable, layout, index) if mask_and_scale else None
        array = LazyArray(place, layout, index, decoding)
        encoding = {**variable.encoding, "preferred_chunks": {dim: sizes[str(dim)] for dim in variable.dims}}
        data = indexing.LazilyIndexedArray(array)
        band = xarray.Variable(variable.dims, data, variable.attrs, encoding)
        # Of bands alone: coordinates are at hand.
        bands[name] = band if wanted is None else band.chunk(wanted)
    return in_order(stored.assign(bands))


def _decoding(variable: xarray.Variable, layout: GroupLayout, band: int) -> Decoding:
    """Return how xarray and `open_group` decode a band."""
    arrays = {one.id: array for one, array in zip(layout.group.bands, layout.arrays, strict=True)}
    own = layout.group.bands[band]
    mask = next((arrays[one.id] for one in layout.group.bands if own.id in one.mask_of), None)
    scale, offset = variable.encoding.get("scale_factor"), variable.encoding.get("add_offset")
    dtype = variable.dtype
    if (scale is not None or offset is not None) and dtype == np.float64:
        dtype = np.dtype(np.float32)
    if mask is not None and dtype.kind != "f":
        dtype = np.dtype(np.float32 if dtype.itemsize <= np.dtype(np.uint16).itemsize else np.float64)
    nodata = variable.encoding.get("_FillValue")
    return Decoding(
        dtype,
        None if scale is None else float(scale),
        None if offset is None else float(offset),
        None if nodata is None else float(nodata),
        None if mask is None else f"{layout.prefix}{mask}",
    )
