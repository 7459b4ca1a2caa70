"""Arrays of xarray whose pixels are fetched when they are read."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from downloader.errors import IncompleteError, RefusedError
from downloader.lazy.filler import Filler
from downloader.lazy.tiles import Box, TileIndex, box_of
from downloader.lazy.waits import Tiles
from downloader.mosaic.storage.location import locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.lazy.target import Place
    from downloader.mosaic.format.layout import GroupLayout


@dataclass(frozen=True)
class Decoding:
    """The rule by which numbers of a band become physical values."""

    dtype: np.dtype[Any]
    scale: float | None
    offset: float | None
    nodata: float | None
    mask: str | None
    """Path of the array that says 1 where the band is valid; None where there is none."""

    def apply(self, stored: NDArray[Any], valid: NDArray[Any] | None) -> NDArray[Any]:
        """Return the values: scaled in float64, NaN where there are none."""
        values = stored
        if self.scale is not None or self.offset is not None:
            values = stored * np.float64(1 if self.scale is None else self.scale)
            values = values + np.float64(self.offset or 0)
        values = values.astype(self.dtype)
        if self.nodata is not None and not math.isnan(self.nodata):
            values[stored == self.nodata] = np.nan
        if valid is not None:
            values[valid != 1] = np.nan
        return values


class LazyArray(BackendArray):
    """A band of a mosaic as xarray indexes it; for any number of threads, and for other processes by pickling."""

    def __init__(
        self, place: Place, layout: GroupLayout, band: int, decoding: Decoding | None = None
    ) -> None:
        """Nothing is read yet.

        Args:
            place: which mosaic.
            layout: the group.
            band: index of the band.
            decoding: how its numbers become physical values; None for numbers as stored.
        """
        group = layout.group
        self._place = place
        self._path = f"{layout.prefix}{layout.arrays[band]}"
        self._decoding = decoding
        self._mosaic = layout.mosaic
        self._index = TileIndex(group.name, group.tiling, bool(layout.leading))
        self.dtype = group.bands[band].dtype if decoding is None else decoding.dtype
        plane = (group.tiling.height, group.tiling.width)
        lead = group.tiling.leading if layout.leading else ()
        self.shape = (*lead, *plane)
        self._filler: Filler | None = place.filler()
        self._arrays: dict[str, Any] = {}
        self._last: Box | None = None

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401  # as xarray has it
        read = self._read_each if isinstance(key, indexing.VectorizedIndexer) else self._read
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.VECTORIZED, read)

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401  # as xarray has it
        """Return what indexing does; the caller's event loop goes on meanwhile."""
        return await asyncio.to_thread(self.__getitem__, key)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return (
            type(self).__name__,
            self._mosaic,
            self._path,
            self._place.path,
            self._place.missing,
            self._decoding,
        )

    def __deepcopy__(self, _memo: object) -> LazyArray:
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self._place.is_in_memory:
            raise RefusedError(
                "this dataset's pixels are in the memory of its process (store=None), which other processes do not"
                " see; open it with store=PATH"
            )
        return {**self.__dict__, "_filler": None, "_arrays": {}, "_last": None}

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        parts = self._index.outer(key)
        box, last = box_of(parts), self._last
        self._last = box
        ahead = self._index.next_boxes(last, box) if box and last else []
        asked = self._index.shards_of(product(*parts))
        is_basic = all(isinstance(part, int | np.integer | slice) for part in key)
        way = (lambda array: array[key]) if is_basic else (lambda array: array.oindex[key])
        return self._values(key, asked, way, [self._index.shards_of(product(*one)) for one in ahead])

    def _read_each(self, key: tuple[Any, ...]) -> NDArray[Any]:
        asked = self._index.shards_of(self._index.each(key))
        return self._values(key, asked, lambda array: array.vindex[key], together=True)

    def _values(
        self,
        key: tuple[Any, ...],
        asked: Tiles,
        way: Callable[[Any], NDArray[Any]],
        ahead: Sequence[Tiles] = (),
        *,
        together: bool = False,
    ) -> NDArray[Any]:
        """Return the pixels of an index once the tiles that hold them are stored."""
        place, filler, decoding = self._place, self._found(), self._decoding
        again = place.missing == "raise"
        with filler.hold(asked, ahead, again=again, wait_s=place.wait_s, progress=place.progress) as failed:
            if failed and place.missing == "raise":
                raise IncompleteError(
                    f"{place.path}: {filler.describe(failed)}; read it again to try again, or open with"
                    " missing='mask' (NaN or nodata in its place)"
                )
            values = self._stored(self._path, way)
            if decoding is not None:
                valid = None if decoding.mask is None else self._stored(decoding.mask, way)
                values = decoding.apply(values, valid)
        if failed and place.missing == "mask" and values.dtype.kind == "f":
            lost = self._index.are_in(key, failed, together=together)
            values[lost.reshape(values.shape)] = np.nan
        return values

    def _stored(self, path: str, way: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """Return stored pixels; read again where a shard was closed up between the reads of its index and of its chunks."""
        try:
            return np.asarray(way(self._array(path)))
        except (ValueError, RuntimeError):
            return np.asarray(way(self._array(path)))

    def _found(self) -> Filler:
        filler = self._filler
        if filler is None or filler.process != os.getpid():
            filler = self._filler = self._place.filler()
        return filler

    def _array(self, path: str) -> Any:  # noqa: ANN401  # zarr's
        array = self._arrays.get(path)
        if array is None:
            import zarr

            store = locate(self._place.path).readable()
            array = self._arrays[path] = zarr.open_array(store, path=path, mode="r", zarr_format=3)
        return array
