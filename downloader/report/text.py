"""Mosaics' states and assets in words, and the words that all such texts share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from downloader.errors import JobError
from downloader.model.nodata import masked_pixels
from downloader.planning import TileKey
from downloader.text import counted, duration, few, rate, size, table

if TYPE_CHECKING:
    from downloader.mosaic.status import Status
    from downloader.mosaic.verify.result import Verification
    from downloader.planning import Group
    from downloader.progress import RunStatus
    from downloader.report.comparison import ServiceComparison

__all__ = [
    "asset_text",
    "box",
    "place",
    "resampling_text",
    "run_status_line",
    "run_status_text",
    "status_text",
    "verification_text",
]

_SHOWN = 20
"""Findings of a verification that the text names; the JSON names all."""


def status_text(status: Status) -> str:
    """A mosaic's state for people."""
    rows = [
        [
            name or "/",
            ", ".join(status.bands[name][:6]) + (" …" if len(status.bands[name]) > 6 else ""),
            f"{counts.tiles:,}",
            f"{counts.stored:,}",
            f"{counts.failed:,}",
            f"{counts.missing:,}",
        ]
        for name, counts in status.groups.items()
    ]
    lines = [
        f"{status.path}: {'complete' if status.is_complete else 'not complete'}, from {status.service}"
        + (
            f", {counted(status.images, 'image')} in "
            f"{counted(status.slices, 'sample' if status.axis == 'sample' else 'slice')}"
            if status.slices
            else ""
        ),
        table(rows, ("group", "bands", "tiles", "stored", "failed", "missing")),
    ]
    lines.extend(
        f"failed: {key} ({', '.join(bands)}): {message}" for key, bands, _, message in status.failures[:5]
    )
    if len(status.failures) > 5:
        lines.append(f"… and {len(status.failures) - 5:,} more failed tiles (--json lists them all)")
    return "\n".join(lines)


def run_status_text(run: RunStatus) -> str:
    """How a run is doing, for people."""
    if not run.is_alive:
        ago = duration(run.age_s)
        return f"a run ended without a word (process {run.pid} on {run.host}), about {ago} ago; run it again"
    lines = [f"run: process {run.pid} on {run.host}, since {run.started}", f"  {run_status_line(run)}"]
    if run.notice:
        lines.append(f"  last: {run.notice}")
    return "\n".join(lines)


def run_status_line(run: RunStatus) -> str:
    """How a run is doing, in a line whose beginning matters most."""
    share = 100 * run.tiles_now / max(1, run.tiles)
    parts = [
        f"{share:.1f} %",
        f"{run.tiles_now:,}/{run.tiles:,} tiles",
        rate(run.bytes_per_second, 1),
        f"{run.in_flight}/{run.ceiling} at once",
    ]
    if run.seconds_left is not None:
        parts.insert(1, f"{duration(run.seconds_left)} left")
    if retries := sum(run.retries.values()):
        parts.append(counted(retries, "retry", "retries"))
    if run.tiles_failed:
        parts.append(f"{run.tiles_failed:,} failed")
    if run.age_s > 10:
        parts.insert(0, f"no news for {duration(run.age_s)}")
    return ", ".join(parts)


def verification_text(found: Verification) -> str:
    """What reading a mosaic found, for people."""
    rows = [
        [name or "/", f"{c.tiles:,}", f"{c.stored:,}", f"{c.failed:,}", f"{c.missing:,}"]
        for name, c in found.groups.items()
    ]
    verdict = (
        "intact and complete" if found.is_clean else "intact, not complete" if found.is_intact else "damaged"
    )
    lines = [
        f"{found.path}: {verdict}; {found.objects:,} objects read, {size(found.nbytes)}",
        table(rows, ("group", "tiles", "whole", "failed", "missing")),
    ]
    said = [
        f"damaged: {damage.key}, band {damage.band}: {_places(damage.keys)}: {damage.reason}"
        for damage in found.damaged
    ]
    said += [f"lost: {lost.key}: {lost.reason}" for lost in found.lost]
    said += [f"failed: {key} ({', '.join(bands)}): {message}" for key, bands, _, message in found.failures]
    lines += said[:_SHOWN]
    if len(said) > _SHOWN:
        lines.append(f"… and {len(said) - _SHOWN:,} more lines (--json has them all)")
    lines += [
        f"coverage{f' of group {name}' if name else ''} says something else of {cells:,} tiles than is there"
        for name, cells in found.coverage.items()
    ]
    if found.is_being_written:
        lines.append(
            "a run is writing it: checked is what was stored when the reading began, and no coverage"
        )
    elif found.unledgered:
        lines.append(
            f"{found.unledgered:,} objects are whole and not in the ledger; the next run takes them up"
        )
    if not found.is_intact:
        lines.append("mend it with --repair, which fetches what is damaged and nothing else")
    elif not found.is_clean:
        lines.append("run the job again to fetch what is missing")
    return "\n".join(lines)


def resampling_text(found: ServiceComparison) -> str:
    """What comparing tiles with the service found, for people."""
    how = f"within {found.tolerance:g}" if found.tolerance else "bit by bit"
    lines = [f"{found.tiles:,} tiles fetched again (--seed {found.seed}) and compared {how}: "]
    lines[0] += "all the same" if found.is_same else f"{len(found.differences):,} differences, band by band"
    for one in found.differences[:_SHOWN]:
        largest = "" if one.largest is None else f", by up to {one.largest:g}"
        what = one.reason or f"{one.pixels:,} of {one.of:,} pixels differ{largest}"
        lines.append(f"differs: {one.tile}, band {one.band}: {what}")
    if len(found.differences) > _SHOWN:
        lines.append(f"… and {len(found.differences) - _SHOWN:,} more (--json has them all)")
    lines += found.notices
    return "\n".join(lines)


def _places(tiles: Sequence[TileKey]) -> str:
    if not tiles:
        return "tiles unknown"
    shown = ", ".join(f"{tile.slice}/{tile.row}/{tile.column}" for tile in tiles[:4])
    return f"tile {shown}" if len(tiles) == 1 else f"tiles {shown}" + (" …" if len(tiles) > 4 else "")


def asset_text(document: Mapping[str, Any]) -> str:
    """An asset of the catalogue for people."""
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
    """What is said of masked pixels → the bands of an asset's document that it is said of."""
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
    """A number of the catalogue, which may stand as a text."""
    return f"{number:.10g}" if isinstance(number, int | float) else str(number)


def place(group: Group) -> str:
    """The box around a group in longitude and latitude; empty where it has none, or each slice lies elsewhere."""
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
    """A box in longitude and latitude, in words."""
    return f"{_degrees(west, 'EW')} to {_degrees(east, 'EW')}, {_degrees(south, 'NS')} to {_degrees(north, 'NS')}"


def _degrees(value: float, signs: str) -> str:
    return f"{abs(value):.4f}° {signs[int(value < 0)]}"
