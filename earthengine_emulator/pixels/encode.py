"""Pixels in the formats other than NPY: PNG, JPEG, GeoTIFF (docs/contract.md §4.4, §4.5)."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from functools import reduce
from typing import Any, cast

import numpy as np

from earthengine_emulator.api.errors import ApiError, invalid_argument
from earthengine_emulator.api.replies import Reply
from earthengine_emulator.catalogue.crs import parse
from earthengine_emulator.catalogue.model import Pixels, Valid
from earthengine_emulator.pixels import visualize
from earthengine_emulator.pixels.pixels import PixelRequest
from earthengine_emulator.pixels.pyramid import Pyramids
from earthengine_emulator.pixels.sampling import reader

Plane = tuple[Pixels, Valid | None]


def planes(request: PixelRequest, pyramids: Pyramids) -> list[Plane]:
    """Return each requested band's pixels (height, width) and validity."""
    grid = request.grid
    return [reader(pyramids, request.image, band, grid).rows(0, grid.height) for band in request.bands]


def picture(request: PixelRequest, pyramids: Pyramids) -> Reply:
    """Return a PNG or JPEG of 8-bit data, or of any data through visualizationOptions.

    AUTO_JPEG_PNG is a JPEG unless something is transparent.

    Raises:
        ApiError: 400 when there is neither.
    """
    from PIL import Image as Pillow

    types = [request.image.bands[b].type.dtype for b in request.bands]
    options = request.visualization
    if options is None and (len(types) not in (1, 3) or any(dtype != np.uint8 for dtype in types)):
        raise invalid_argument(
            f"The file format {request.file_format} takes 1 or 3 bands of 8-bit data, or visualization options."
        )
    read = planes(request, pyramids)
    values, valid = [p for p, _ in read], [v for _, v in read]
    shape = (request.grid.height, request.grid.width)
    alpha = visualize.alpha(valid, shape, options or {})
    if options is not None:
        rgb = visualize.colours(values, options)
    else:
        rgb = np.stack(values * (3 // len(values)), axis=-1)
    file = io.BytesIO()
    if request.file_format == "JPEG" or (request.file_format == "AUTO_JPEG_PNG" and alpha is None):
        if alpha is not None:
            rgb = np.where(alpha[..., None] > 0, rgb, np.uint8(0))
        Pillow.fromarray(rgb).save(file, "JPEG", quality=90)
        return Reply(200, file.getvalue(), "image/jpeg")
    if alpha is not None:
        rgb = np.dstack([rgb, alpha])
    Pillow.fromarray(rgb).save(file, "PNG", compress_level=1)
    return Reply(200, file.getvalue(), "image/png")


def geotiff(request: PixelRequest, pyramids: Pyramids, *, mixed: bool = True) -> Reply:
    """Return one GeoTIFF of all bands, georeferenced with the request's grid.

    Bands of different types are promoted to the smallest common one; the nodata tag, and masked pixels, hold 0 for
    unsigned types, the least value for signed ones, -inf for floats.
    """
    try:
        import rasterio
        from rasterio.io import MemoryFile
    except ImportError as error:
        raise ApiError(
            501, "GEO_TIFF needs rasterio: pip install 'earthengine-downloader[rasters]'"
        ) from error

    read, grid = planes(request, pyramids), request.grid
    options = request.visualization
    if options is not None:
        rgb = visualize.colours([p for p, _ in read], options)
        alpha = visualize.alpha([v for _, v in read], (grid.height, grid.width), options)
        seen = None if alpha is None else alpha > 0
        read = [(rgb[..., channel], seen) for channel in range(3)]
        names = ["vis-red", "vis-green", "vis-blue"]
    else:
        names = [request.image.bands[b].id for b in request.bands]
    types = {values.dtype for values, _ in read}
    if len(types) > 1 and not mixed:
        raise invalid_argument("The bands of a GeoTIFF must have one type.")
    dtype = reduce(np.promote_types, [values.dtype for values, _ in read])
    nodata = _nodata(dtype)
    a, b, c, d, e, f = grid.affine
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=len(read),
            dtype=dtype,
            crs=rasterio.CRS.from_wkt(parse(grid.crs).to_wkt()),
            transform=rasterio.Affine(a, b, c, d, e, f),
            nodata=nodata,
        ) as file:
            for i, ((values, valid), name) in enumerate(zip(read, names, strict=True), 1):
                plane = values.astype(dtype, copy=False)
                file.write(plane if valid is None else np.where(valid, plane, np.asarray(nodata, dtype)), i)
                file.set_band_description(i, name)
        return Reply(200, bytes(memory.read()), "image/tiff")


def _nodata(dtype: np.dtype[Any]) -> float:
    if dtype.kind == "u":
        return 0
    return int(np.iinfo(dtype).min) if dtype.kind == "i" else -np.inf


def zipped(request: PixelRequest, pyramids: Pyramids, *, per_band: bool, mixed: bool = True) -> Reply:
    """Return GeoTIFF in a ZIP: one of all bands, or one for each (downloads only, docs/contract.md §4.5)."""
    parts = [(band,) for band in request.bands] if per_band else [request.bands]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for bands in parts:
            name = f"download.{request.image.bands[bands[0]].id}.tif" if per_band else "download.tif"
            body = geotiff(replace(request, bands=bands), pyramids, mixed=mixed).body
            archive.writestr(name, cast("bytes", body))
    return Reply(200, file.getvalue(), "application/zip")
