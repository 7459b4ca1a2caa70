"""Images of a collection as a time series: one common lattice, a slice for each image or set of images.

Nothing is warped to make images fit: those that share no lattice are refused, with the grids that were found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from downloader.errors import JobError
from downloader.grid import EDGE_TOLERANCE, PixelGrid, Window
from downloader.image import Band, Image
from downloader.instant import instant_us
from downloader.planning.slices import Slice

__all__ = ["Lattice", "Series", "arrange", "group_images", "mosaic_expression", "slices_of"]

_SHOWN: Final = 8
"""Grids that a refusal lists."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Bands that share one lattice in every image."""

    grid: PixelGrid
    """The grid of the first image, or that of the mosaic that exists: the lattice's origin."""
    bands: tuple[Band, ...]
    extents: tuple[Window | None, ...]
    """By slice, the pixels that its images cover, in pixels of `grid`; None where they cover none."""


@dataclass(frozen=True, slots=True)
class Series:
    """A collection, arranged."""

    slices: tuple[Slice, ...]
    lattices: tuple[Lattice, ...]
    """In the order in which their first band is asked for."""
    absent: tuple[frozenset[str], ...]
    """By slice, the bands that none of its images has."""


def group_images(images: Iterable[Image], by: str) -> list[tuple[str, tuple[Image, ...]]]:
    """Images in slices, each with its name: one an image, or those of a day, a solar day or a property's value.

    Args:
        images: in the order of time.
        by: `image`, `day` (UTC), `solar_day` (the day where the image lies), or the name of a property.

    Raises:
        JobError: an image without the time or the property.
    """
    if by == "image":
        return [(image.id, (image,)) for image in images]
    found: dict[str, list[Image]] = {}
    for image in images:
        found.setdefault(_label(image, by), []).append(image)
    return [(label, tuple(members)) for label, members in found.items()]


def _label(image: Image, by: str) -> str:
    if by in {"day", "solar_day"}:
        time = instant_us(image.start_time)
        if time is None:
            raise JobError(f"source.group_by: {image.id} has no time; group by image or by a property")
        if by == "solar_day":
            # The sun's time, not a time zone's: 15 degrees of longitude are an hour.
            time += round(image.longitude / 15 * 3600e6)
        return datetime.fromtimestamp(time // 1_000_000, UTC).date().isoformat()
    if by not in image.properties:
        raise JobError(
            f"source.group_by: {image.id} has no property {by!r}; use image, day, solar_day, or a property "
            "that all of the images have (`downloader inspect` shows them)"
        )
    return str(image.properties[by])


def mosaic_expression(images: Sequence[Image]) -> str:
    """An expression that mosaics images, the first valid pixel winning; canonical JSON.

    `ImageCollection.mosaic` puts the last on top, so they go in backwards.
    """
    loads = [
        {
            "functionInvocationValue": {
                "functionName": "Image.load",
                "arguments": {"id": {"constantValue": image.id}},
            }
        }
        for image in reversed(images)
    ]
    collection = {
        "functionInvocationValue": {
            "functionName": "ImageCollection.fromImages",
            "arguments": {"images": {"arrayValue": {"values": loads}}},
        }
    }
    node = {
        "functionInvocationValue": {
            "functionName": "ImageCollection.mosaic",
            "arguments": {"collection": collection},
        }
    }
    return json.dumps({"result": "0", "values": {"0": node}}, sort_keys=True, separators=(",", ":"))


def arrange(
    named: Sequence[tuple[str, tuple[Image, ...]]],
    bands: tuple[str, ...] | None,
    *,
    on_missing_band: str = "fail",
    properties: Sequence[str] = (),
    anchors: Sequence[PixelGrid] = (),
) -> Series:
    """Slices and the lattices they share.

    Args:
        named: each slice's name and images, as `group_images` gives them.
        bands: asked for; None for those of the first image.
        on_missing_band: `fail`, or `nodata` to leave a slice without the band.
        properties: kept along the axis.
        anchors: lattices that a mosaic has already; bands that lie on one are counted from its origin, so that an
            earlier image does not move the grid.

    Raises:
        JobError: no image, a band that one lacks, types or lattices that differ.
    """
    if not named:
        raise JobError("source: no image matches; widen the period, the region or the filter")
    wanted = bands if bands is not None else tuple(band.id for band in named[0][1][0].bands)
    catalogue = _first_of_each(named, wanted, on_missing_band)
    shared: dict[PixelGrid, list[Band]] = {}
    for name in wanted:
        grid = catalogue[name].grid
        fits = (known for known in (*shared, *anchors) if _offset(known, grid) is not None)
        shared.setdefault(next(fits, grid), []).append(catalogue[name])
    lattices = tuple(_lattice(named, anchor, tuple(members)) for anchor, members in shared.items())
    absent = tuple(
        frozenset(wanted) - {band.id for image in members for band in image.bands} for _, members in named
    )
    return Series(slices_of(named, properties), lattices, absent)


def slices_of(
    named: Sequence[tuple[str, tuple[Image, ...]]], properties: Sequence[str] = ()
) -> tuple[Slice, ...]:
    """What lies along the time axis; `properties` are kept of each slice's first image."""
    return tuple(_slice(label, members, properties) for label, members in named)


def _first_of_each(
    named: Sequence[tuple[str, tuple[Image, ...]]], wanted: tuple[str, ...], on_missing_band: str
) -> dict[str, Band]:
    """The first band of each name; every other of the name must be of its type and lattice."""
    found: dict[str, Band] = {}
    for _, members in named:
        for image in members:
            own = {band.id: band for band in image.bands}
            for name in wanted:
                band = own.get(name)
                if band is None:
                    if on_missing_band == "fail":
                        raise JobError(
                            f"source.bands: {image.id} has no band {name!r}; its bands are {_few(own)}. Leave the "
                            "band or the image out, or write source.on_missing_band: nodata"
                        )
                    continue
                known = found.setdefault(name, band)
                if known.dtype != band.dtype:
                    raise JobError(
                        f"source: {name} is {known.dtype} in {named[0][1][0].id} and {band.dtype} in {image.id}; one "
                        "array has one type: choose images of one kind with source.filter"
                    )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise JobError(f"source.bands: no image has a band {missing[0]!r}")
    _check_lattices(named, found)
    return found


def _few(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_SHOWN]) + (f" … ({len(shown):,} in all)" if len(shown) > _SHOWN else "")


def _check_lattices(named: Sequence[tuple[str, tuple[Image, ...]]], found: Mapping[str, Band]) -> None:
    """Refuse images whose pixels do not lie on the lattice of the first, and say which grids there are."""

    def own() -> Iterator[tuple[str, Band]]:
        for _, members in named:
            for image in members:
                yield from ((image.id, band) for band in image.bands if band.id in found)

    if all(_offset(found[band.id].grid, band.grid) is not None for _, band in own()):
        return
    # Bands of other pixel sizes are no hindrance: each band is compared with its own first.
    lattices: list[tuple[PixelGrid, list[str]]] = []
    for image, band in own():
        for grid, who in lattices:
            if _offset(grid, band.grid) is not None:
                who.append(f"{image} {band.id}")
                break
        else:
            lattices.append((band.grid, [f"{image} {band.id}"]))
    lines = [
        f"  {grid.crs}, {_pixels(grid)}, pixel edges at ({_phase(grid)}): {who[0]}"
        + (f" and {len(who) - 1:,} more" if len(who) > 1 else "")
        for grid, who in lattices[:_SHOWN]
    ]
    if len(lattices) > _SHOWN:
        lines.append(f"  … and {len(lattices) - _SHOWN:,} more")
    commonest = max(lattices, key=lambda lattice: len(lattice[1]))[0]
    x, y = commonest.transform.pixel_size
    size = f"{x!r}" if x == y else f"[{x!r}, {y!r}]"
    crs = commonest.crs.code or json.dumps(commonest.crs.wkt, ensure_ascii=False)
    raise JobError(
        "\n".join(
            [
                "source: these images share no lattice, and nothing is warped unless the job asks for it. Found:",
                *lines,
                "To have all on one grid, resampled by the service, add to the job:",
                f"  grid: {{crs: {crs}, resolution: {size}}}",
            ]
        )
    )


def _pixels(grid: PixelGrid) -> str:
    x, y = grid.transform.pixel_size
    return f"pixels of {x:g} × {y:g} {grid.crs.unit}"


def _phase(grid: PixelGrid) -> str:
    t = grid.transform
    if t.is_sheared:
        return f"{t.translate_x:g}, {t.translate_y:g}, sheared"
    return f"{t.translate_x % abs(t.scale_x):g}, {t.translate_y % abs(t.scale_y):g}"


@lru_cache(maxsize=1 << 16)
def _offset(lattice: PixelGrid, grid: PixelGrid) -> tuple[int, int] | None:
    """(column, row) of `grid`'s corner on `lattice`; None where it does not lie on it."""
    a, b = lattice.transform, grid.transform
    if lattice.crs != grid.crs or (a.scale_x, a.shear_x, a.shear_y, a.scale_y) != (
        b.scale_x,
        b.shear_x,
        b.shear_y,
        b.scale_y,
    ):
        return None
    column, row = a.locate(b.translate_x, b.translate_y)
    if max(abs(column - round(column)), abs(row - round(row))) > EDGE_TOLERANCE:
        return None
    return round(column), round(row)


def _lattice(
    named: Sequence[tuple[str, tuple[Image, ...]]], anchor: PixelGrid, bands: tuple[Band, ...]
) -> Lattice:
    names = {band.id for band in bands}
    extents: list[Window | None] = []
    for _, members in named:
        parts = []
        for grid in dict.fromkeys(b.grid for image in members for b in image.bands if b.id in names):
            offset = _offset(anchor, grid)
            if offset is not None:
                parts.append(grid.bounds.offset(*offset))
        extents.append(_around(parts))
    return Lattice(anchor, bands, tuple(extents))


def _around(windows: list[Window]) -> Window | None:
    if not windows:
        return None
    return Window.between(
        min(w.column for w in windows),
        min(w.row for w in windows),
        max(w.column_end for w in windows),
        max(w.row_end for w in windows),
    )


def _slice(label: str, members: tuple[Image, ...], properties: Sequence[str]) -> Slice:
    first = members[0]
    alone = len(members) == 1
    return Slice(
        id=label,
        asset=first.name if alone else "",
        expression="" if alone else mosaic_expression(members),
        time_us=instant_us(first.start_time),
        images=tuple((image.name, image.update_time) for image in members),
        properties={name: first.properties.get(name) for name in properties},
    )
