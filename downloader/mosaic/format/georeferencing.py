"""Georeferencing attributes for every reader: CF, rioxarray, odc-geo, GDAL and GeoZarr.

No reader knows all ways and no way is known by all readers, so the same facts stand twice: a CF grid mapping
`spatial_ref`, and 1-D `x` and `y` at pixel centres. A sheared grid has no 1-D `x` and `y`; its place is `GeoTransform` of
`spatial_ref` alone. The `proj:` and `spatial:` conventions, whose lists of mappings no other format holds, stand on the
groups of overviews, never where pixels are opened.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid
from downloader.model.nodata import holds

GRID_MAPPING: Final = "spatial_ref"
"""Name of the grid mapping variable; rioxarray and odc-geo look for it by this name."""

MASK_OF: Final = "mask_of"
"""Attribute of a mask's array: the bands that it applies to."""

CONVENTIONS: Final = [
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "description": "Spatial coordinate information",
    },
]
"""Value of `zarr_conventions` of a group of overviews."""


def grid_mapping_attributes(grid: PixelGrid) -> dict[str, Any]:
    """Return the attributes of `spatial_ref`: CF's parameters, the WKT under both names in use, and GDAL's transform."""
    crs = grid.crs.to_pyproj()
    wkt = crs.to_wkt()
    transform = " ".join(repr(value) for value in grid.transform.to_gdal())
    return {**crs.to_cf(), "crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": transform}


def axis_attributes(grid: PixelGrid, axis: str) -> dict[str, Any]:
    """Return the CF attributes of the coordinate `x` or `y`."""
    crs = grid.crs.to_pyproj()
    if crs.is_geographic:
        name, unit = ("longitude", "degrees_east") if axis == "x" else ("latitude", "degrees_north")
        return {"standard_name": name, "long_name": name, "units": unit, "axis": axis.upper()}
    unit = crs.axis_info[0].unit_name if crs.axis_info else "metre"
    return {
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{axis} coordinate of projection",
        "units": "m" if unit in {"metre", "meter"} else unit,
        "axis": axis.upper(),
    }


def band_attributes(
    grid: PixelGrid | None, band: str, dtype: np.dtype[np.generic], nodata: float | None
) -> dict[str, Any]:
    """Return the attributes of a band's array.

    `coordinates` besides `grid_mapping` keeps the CRS in a plain `xarray.open_zarr`. `_FillValue` stands only where
    a nodata value is declared: it makes xarray read integers as floats. Without a `grid` nothing is said of the place.
    """
    attributes: dict[str, Any] = {"band": band}
    if grid is not None:
        attributes |= {"grid_mapping": GRID_MAPPING, "coordinates": GRID_MAPPING}
    if nodata is not None:
        attributes["_FillValue"] = encode_fill_value(fill_scalar(band, dtype, nodata))
    return attributes


def convention_attributes(crs: Crs) -> dict[str, Any]:
    """Return the attributes of the `proj:` and `spatial:` conventions, which a group has for all below it."""
    attributes: dict[str, Any] = {"proj:wkt2": crs.to_pyproj().to_wkt(), "spatial:dimensions": ["y", "x"]}
    if crs.code is not None and re.fullmatch(r"[A-Z]+:[0-9]+", crs.code):
        attributes["proj:code"] = crs.code
    return attributes


def mask_attributes(mask_of: Sequence[str]) -> dict[str, Any]:
    """Return further attributes of a mask's array: CF flags, and the bands that it belongs to; none for pixels."""
    if not mask_of:
        return {}
    return {
        "long_name": f"whether {', '.join(mask_of)} {'is' if len(mask_of) == 1 else 'are all'} valid",
        "flag_values": [0, 1],
        "flag_meanings": "masked valid",
        MASK_OF: list(mask_of),
    }


def fill_scalar(band: str, dtype: np.dtype[np.generic], nodata: float | None) -> np.generic:
    """Return a band's nodata value in its own type; 0 where it declares none.

    Raises:
        JobError: the type has no such value.
    """
    if nodata is None:
        return dtype.type(0)
    if not holds(dtype, nodata):
        raise JobError(
            f"{nodata!r} is not a value of band {band}, whose pixels are {dtype.name}", key="mosaic.nodata"
        )
    return dtype.type(nodata)


def encode_fill_value(value: np.generic) -> int | str:
    """Return a `_FillValue` attribute as xarray has it in Zarr v3: floats in base64 of little-endian float64."""
    if value.dtype.kind == "f":
        return base64.standard_b64encode(struct.pack("<d", float(value))).decode()
    return int(value)


def centres(scale: float, translate: float, first: int, count: int) -> NDArray[np.float64]:
    """Return pixel centres along one axis: `translate + scale × (k + ½)` for `count` values of k from `first`.

    Product and sum are carried in two float64 (Dekker 1971, Knuth's two-sum) and rounded once, which agrees with
    rational arithmetic but is fast enough for axes of 10⁷ pixels.

    Args:
        scale: pixel size along the axis, in CRS units.
        translate: the lattice's own origin along the axis.
        first: index of the first pixel, counted from that origin.
        count: how many.
    """
    k = np.arange(first, first + count, dtype=np.float64) + 0.5
    product = scale * k
    scale_high, scale_low = _split(np.float64(scale))
    k_high, k_low = _split(k)
    product_error = (
        (scale_high * k_high - product) + scale_high * k_low + scale_low * k_high
    ) + scale_low * k_low
    total = product + translate
    part = total - product
    total_error = (product - (total - part)) + (translate - part)
    result: NDArray[np.float64] = total + (total_error + product_error)
    return result


def _split(value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - scalar or array alike
    """Return Veltkamp's split of float64 into halves of 26 bits, whose products are exact."""
    scaled = value * 134217729.0
    high = scaled - (scaled - value)
    return high, value - high
