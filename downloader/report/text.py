"""Assets of the catalogue, and places, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from downloader.errors import JobError
from downloader.model.nodata import masked_pixels
from downloader.text import few, table

if TYPE_CHECKING:
    from downloader.planning import Group

__all__ = ["asset_text", "box", "place"]


def asset_text(document: Mapping[str, Any]) -> str:
    """Return an asset of the catalogue as text."""
    lines = [
        str(document.get("id") or document.get("name")),
        f"type: {document.get('type')}",
        f"name: {document.get('name')}",
    ]
    lines += [
        f"{key}: {document[key]}"
        for key in ("startTime", "endTime", "updateTime", "sizeBytes")
        if key in document
    ]
    bands = document.get("bands") or []
    if bands:
        lines += [
            "",
            table(
                [_band_row(band) for band in bands],
                ("band", "type", "size", "pixel", "CRS", "pyramid", "nodata"),
            ),
            "",
            *(f"{few(names)}: {words}" for words, names in _fills(bands).items()),
            "Set mosaic.mask: any (or per-band) in a job to store masks too.",
        ]
    return "\n".join(lines)


def _fills(bands: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return phrase on masked pixels → bands of an asset's document that it is true of."""
    from downloader.earthengine.catalogue import band_dtype

    told: dict[str, list[str]] = {}
    for band in bands:
        dtype = band_dtype(band.get("dataType", {}))
        missing = band.get("missingData", {}).get("values", [])
        if dtype is not None:
            nodata = float(missing[0]) if len(missing) == 1 else None
            words = masked_pixels(dtype, nodata, has_mask=False)
            told.setdefault(words, []).append(str(band.get("id")))
    return told


def _band_row(band: Mapping[str, Any]) -> list[str]:
    grid, dtype = band.get("grid", {}), band.get("dataType", {})
    extent, affine = grid.get("dimensions", {}), grid.get("affineTransform", {})
    limits = dtype.get("range", {})
    kind = str(dtype.get("precision", "?"))
    if limits and kind.startswith("INT"):
        kind += f" {_plain(limits.get('min', 0))}…{_plain(limits.get('max', 0))}"
    missing = band.get("missingData", {}).get("values", [])
    return [
        str(band.get("id")),
        kind,
        f"{extent.get('width', '?')}×{extent.get('height', '?')}",
        f"{affine.get('scaleX', '?')}",
        str(grid.get("crsCode", "WKT")),
        str(band.get("pyramidingPolicy", "")),
        ", ".join(map(str, missing)) or "-",
    ]


def _plain(number: object) -> str:
    """Return a number of the catalogue, which may be a text."""
    return f"{number:.10g}" if isinstance(number, int | float) else str(number)


def place(group: Group) -> str:
    """Return the box around a group in longitude and latitude; empty if it has none, or each slice has its own."""
    if group.lattices:
        return ""
    import pyproj

    grid = group.grid
    corners = [grid.transform.at(column, row) for column in (0, grid.width) for row in (0, grid.height)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    try:
        transformer = pyproj.Transformer.from_crs(grid.crs.to_pyproj(), 4326, always_xy=True)
        west, south, east, north = transformer.transform_bounds(min(xs), min(ys), max(xs), max(ys))
    except (pyproj.exceptions.ProjError, JobError):
        return ""  # PROJ does not know it, or has no way from it to longitude and latitude
    if not all(math.isfinite(value) for value in (west, south, east, north)):
        return ""
    return box(west, south, east, north)


def box(west: float, south: float, east: float, north: float) -> str:
    """Return a box in longitude and latitude as text."""
    return f"{_degrees(west, 'EW')} to {_degrees(east, 'EW')}, {_degrees(south, 'NS')} to {_degrees(north, 'NS')}"


def _degrees(value: float, signs: str) -> str:
    return f"{abs(value):.4f}° {signs[int(value < 0)]}"
