"""assets.getPixels: a checked body becomes a stream of pixels (docs/contract.md §4.1, §4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api import errors
from earthengine_emulator.api.limits import check_pixels
from earthengine_emulator.api.settings import Settings
from earthengine_emulator.catalogue.model import Image, InterleavedSource, Lattice, Pixels, RowWriter
from earthengine_emulator.pixels import grids, npy, pyramid
from earthengine_emulator.pixels.sampling import Sampler, place, reader

SLAB_BYTES: Final = 512 * 1024
"""Pixels made and sent at a time: large enough to cost few calls, small enough to stay in the processor's cache."""

_READ_PIXELS: Final = 64 * 64
"""Pixels of a band that are read at a time, at least, where bands are read one by one: of hundreds of bands a slab would
otherwise be a few rows, and each reading costs more than its pixels."""


_FEW: Final = 8
"""Bands of many images from which on they are made in one pass."""


@dataclass(frozen=True, slots=True)
class PixelRequest:
    """A request for pixels with everything resolved."""

    image: Image
    bands: tuple[int, ...]
    """Indices into `image.bands`, in output order."""
    grid: Lattice
    file_format: str
    visualization: Mapping[str, Any] | None = None


def resolve(image: Image, body: Mapping[str, Any], settings: Settings) -> PixelRequest:
    """Return the request a checked body makes of an image, within the limits.

    Raises:
        ApiError: 400 for unknown bands, impossible grids, and everything above a limit.
    """
    names = [band.id for band in image.bands]
    asked = body.get("bandIds") or names
    index = {name: i for i, name in enumerate(names)}
    if not names and not asked:
        raise errors.invalid_argument("The image has no bands.")
    for name in asked:
        if name not in index:
            raise errors.unknown_band(name, names)
    if len(set(asked)) != len(asked):
        twice = next(name for name in asked if asked.count(name) > 1)
        raise errors.invalid_argument(f"Band '{twice}' is requested more than once.")
    bands = tuple(index[name] for name in asked)
    region = body.get("region")
    if region is not None and not isinstance(region, Mapping):
        raise errors.invalid_argument("Invalid GeoJSON geometry in 'region'.")
    if settings.partial_grid == "refuse":
        _check_grid(body.get("grid") or {}, region)
    grid = grids.resolve(body.get("grid", {}), region, image.bands[bands[0]].lattice)
    options = body.get("visualizationOptions")
    dtypes = [image.bands[b].type.dtype for b in bands] if options is None else [np.dtype(np.uint8)] * 3
    check_pixels(settings, grid.width, grid.height, dtypes)
    file_format = body.get("fileFormat", "IMAGE_FILE_FORMAT_UNSPECIFIED")
    if file_format == "IMAGE_FILE_FORMAT_UNSPECIFIED":
        if settings.missing_format == "refuse":
            raise errors.invalid_argument("'file_format' must be specified.")
        file_format = "AUTO_JPEG_PNG"
    return PixelRequest(image, bands, grid, file_format, options)


def _check_grid(grid: Mapping[str, Any], region: object) -> None:
    """Refuse the grids whose missing parts only the contract's inference fills."""
    affine, size = bool(grid.get("affineTransform")), "dimensions" in grid
    if (
        not (affine and size)
        and not (region is not None and size and not affine)
        and (affine or size or region)
    ):
        raise errors.invalid_argument("The pixel grid needs 'affine_transform' and 'dimensions'.")


def fill_value(dtype: np.dtype[Any], missing: float | None, fill: str) -> float:
    """Return the value of masked pixels in NPY; unsigned bands always hold 0 (docs/contract.md §4.3)."""
    if dtype.kind == "u" or fill == "zero":
        return 0
    if fill == "missing":
        return 0 if missing is None else missing
    if dtype.kind == "i":
        return int(np.iinfo(dtype).min) if fill in ("min", "-inf") else 0
    return {"min": float(np.finfo(dtype).min), "-inf": -np.inf, "nan": np.nan}[fill]


class NpyStream:
    """An NPY answer, made slab by slab; implements `replies.Stream`."""

    def __init__(self, request: PixelRequest, pyramids: pyramid.Pyramids, settings: Settings) -> None:
        image, grid = request.image, request.grid
        self._request = request
        self._pyramids = pyramids
        self._fields = [(image.bands[b].id, image.bands[b].type.dtype) for b in request.bands]
        self._readers = [reader(pyramids, image, b, grid) for b in request.bands]
        self.placed = place(image, request.bands[0], grid).offset
        """Native column and row of the first pixel on the first band's lattice, if the grid lies on it."""
        self._fills = [
            fill_value(image.bands[b].type.dtype, image.bands[b].missing, settings.fill)
            for b in request.bands
        ]
        self._header = npy.header(self._fields, grid.width, grid.height, settings.header_padding)
        self._row_bytes = grid.width * sum(dtype.itemsize for _, dtype in self._fields)
        self.length = len(self._header) + self._row_bytes * grid.height
        self._source = self._interleaved()
        self.blocking = self._source is None

    def _interleaved(self) -> InterleavedSource | None:
        """Return the image's source, if one pass over it can write all bands of the request."""
        request = self._request
        source = request.image.source
        if not hasattr(source, "interleaves") or not cast("InterleavedSource", source).interleaves(
            request.bands
        ):
            return None
        offset, lattice = self.placed, request.image.bands[request.bands[0]].lattice
        if offset is None or min(offset) < 0:
            return None
        if offset[0] + request.grid.width > lattice.width or offset[1] + request.grid.height > lattice.height:
            return None
        return cast("InterleavedSource", source)

    def slabs(self) -> Iterator[memoryview]:
        """Yield the body: the header together with the first rows, then further rows."""
        grid = self._request.grid
        rows = max(1, SLAB_BYTES // self._row_bytes)
        if self._source is None:
            rows = max(rows, _READ_PIXELS // grid.width)
        if rows + 1 >= grid.height:
            rows = grid.height
        writer = self._writer()
        for first in range(0, grid.height, rows):
            count = min(rows, grid.height - first)
            lead = len(self._header) if first == 0 else 0
            slab = np.empty(lead + count * self._row_bytes, np.uint8)
            if lead:
                slab[:lead] = np.frombuffer(self._header, np.uint8)
            self._fill(slab[lead:], first, count, writer)
            yield slab.data

    def _writer(self) -> RowWriter | None:
        if self._source is None or self.placed is None:
            return None
        grid = self._request.grid
        return self._source.prepare(self._request.bands, *self.placed, grid.width, grid.height)

    def _fill(self, data: Pixels, first: int, count: int, writer: RowWriter | None) -> None:
        """Write `count` rows from `first` on into the bytes of a slab."""
        width = self._request.grid.width
        if writer is not None:
            writer.write(first, data.view(self._fields[0][1]).reshape(count, width * len(self._fields)))
            return
        records = data.view(npy.structure(self._fields)).reshape(count, width)
        with self._pyramids.ahead(self._together(first, count)):
            self._read_each(records, first, count)

    def _together(self, first: int, count: int) -> dict[pyramid.Window, Pixels]:
        """Return the windows of bands of many images that are quicker made in one pass than one by one."""
        kinds: dict[object, list[Sampler]] = {}
        for one in self._readers:
            if isinstance(one, Sampler) and (kind := one.alike()) is not None:
                kinds.setdefault(kind, []).append(one)
        found: dict[pyramid.Window, Pixels] = {}
        for own in kinds.values():
            if len(own) >= _FEW and (window := own[0].native(first, count)) is not None:
                made = own[0].together(own, window)
                found |= {one.key(window): made[..., k] for k, one in enumerate(own)}
        return found

    def _read_each(self, records: npt.NDArray[np.void], first: int, count: int) -> None:
        for (name, _), rows, fill in zip(self._fields, self._readers, self._fills, strict=True):
            values, valid = rows.rows(first, count)
            if valid is not None and fill != 0:
                values = np.where(valid, values, np.asarray(fill, values.dtype))
            elif valid is not None:
                values = np.where(valid, values, np.zeros((), values.dtype))
            records[name] = values
