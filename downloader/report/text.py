"""Assets of the catalogue, and places, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from downloader.datasets.attributes import band_attributes, dataset_attributes
from downloader.datasets.facts import dataset_facts
from downloader.earthengine.documents import as_list, as_mapping, as_number, band_dtype
from downloader.errors import JobError
from downloader.model.crs import LONLAT, transformer
from downloader.model.nodata import masked_pixels
from downloader.text import counted, cut, few, table

if TYPE_CHECKING:
    from downloader.planning import Group


_HEADER = ("band", "type", "size", "pixel", "CRS", "pyramid", "nodata")


def asset_text(document: Mapping[str, Any]) -> str:
    """Return an asset of the catalogue as text; members that are not what they should be are shown as `?`."""
    lines = [
        cut(document.get("id") or document.get("name")),
        f"type: {cut(document.get('type'))}",
        f"name: {cut(document.get('name'))}",
    ]
    lines += [
        f"{key}: {cut(document[key])}"
        for key in ("startTime", "endTime", "updateTime", "sizeBytes")
        if key in document
    ]
    dataset = dataset_facts(str(document.get("id") or document.get("name")))
    lines += [f"{key}: {value}" for key, value in (dataset_attributes(dataset) if dataset else {}).items()]
    about = {band.name: band_words(band_attributes(band)) for band in dataset.bands} if dataset else {}
    bands = [as_mapping(band) for band in as_list(document.get("bands"))]
    if about and not bands:
        lines += ["", table(list(about.items()), ("band", "in the catalogue"))]
    if bands:
        rows = [[*_band_row(band), about.get(_shown(band.get("id")), "")] for band in bands]
        lines += [
            "",
            table(rows, (*_HEADER, "in the catalogue" if about else "")),
            "",
            *(f"{few(names)}: {words}" for words, names in _fills(bands).items()),
            "Set mosaic.mask: any (or per-band) in a job to store masks too.",
        ]
    return "\n".join(lines)


def band_words(attributes: Mapping[str, Any]) -> str:
    """Return what the CF attributes of a band say, in short: what it is, units, scale and offset, wavelength, classes."""
    found = [cut(attributes["long_name"], 60)] if "long_name" in attributes else []
    if "units" in attributes:
        found.append(f"in {attributes['units']}")
    if "scale_factor" in attributes:
        found.append(f"× {attributes['scale_factor']:g}")
    if "add_offset" in attributes:
        found.append(f"{'−' if attributes['add_offset'] < 0 else '+'} {abs(attributes['add_offset']):g}")
    if "center_wavelength" in attributes:
        found.append(f"{attributes['center_wavelength']:g} µm")
    if "flag_masks" in attributes:
        found.append(counted(len(set(attributes["flag_masks"])), "bit field"))
    elif "flag_values" in attributes:
        found.append(counted(len(attributes["flag_values"]), "class", "classes"))
    return ", ".join(found)


def _fills(bands: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return phrase on masked pixels → bands of an asset's document that it is true of."""
    told: dict[str, list[str]] = {}
    for band in bands:
        dtype = band_dtype(as_mapping(band.get("dataType")))
        missing = _missing(band)
        if dtype is not None:
            nodata = as_number(missing[0]) if len(missing) == 1 else None
            words = masked_pixels(dtype, nodata, has_mask=False)
            told.setdefault(words, []).append(_shown(band.get("id")))
    return told


def _band_row(band: Mapping[str, Any]) -> list[str]:
    grid, dtype = as_mapping(band.get("grid")), as_mapping(band.get("dataType"))
    extent, affine = as_mapping(grid.get("dimensions")), as_mapping(grid.get("affineTransform"))
    limits = as_mapping(dtype.get("range"))
    kind = _shown(dtype.get("precision", "?"))
    if limits and kind.startswith("INT"):
        kind += f" {_plain(limits.get('min', 0))}…{_plain(limits.get('max', 0))}"
    return [
        _shown(band.get("id")),
        kind,
        f"{_shown(extent.get('width', '?'))}×{_shown(extent.get('height', '?'))}",
        _shown(affine.get("scaleX", "?")),
        _shown(grid.get("crsCode", "WKT")),
        _shown(band.get("pyramidingPolicy", "")),
        few([_shown(value) for value in _missing(band)], "value") or "-",
    ]


def _missing(band: Mapping[str, Any]) -> list[Any]:
    return as_list(as_mapping(band.get("missingData")).get("values"))


def _plain(number: object) -> str:
    """Return a number of the catalogue, which may be a text."""
    value = number if isinstance(number, str) else as_number(number)
    return f"{value:.10g}" if isinstance(value, float) else _shown(number)


def _shown(value: object) -> str:
    """Return a value of the catalogue, as far as a column has room for it."""
    return " ".join(cut(value, 60).split()) if isinstance(value, str | int | float) else "?"


def place(group: Group) -> str:
    """Return the box around a group in longitude and latitude; empty if it has none, or each slice has its own."""
    if group.lattices:
        return ""
    from pyproj.exceptions import ProjError

    grid = group.grid
    corners = [grid.transform.at(column, row) for column in (0, grid.width) for row in (0, grid.height)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    try:
        bounds = transformer(grid.crs, LONLAT).transform_bounds(min(xs), min(ys), max(xs), max(ys))
    except (ProjError, JobError):
        return ""  # PROJ does not know it, or has no way from it to longitude and latitude
    return box(*bounds) if all(map(math.isfinite, bounds)) else ""


def box(west: float, south: float, east: float, north: float) -> str:
    """Return a box in longitude and latitude as text."""
    return f"{_degrees(west, 'EW')} to {_degrees(east, 'EW')}, {_degrees(south, 'NS')} to {_degrees(north, 'NS')}"


def _degrees(value: float, signs: str) -> str:
    return f"{abs(value):.4f}° {signs[int(value < 0)]}"
