"""UTM zones as groups of their own, `grid.zones: each`, and the edges of each.

A zone ends half-way to the middle of the next zone that the images have: for neighbours at the meridian between them. Places
of zones without an image belong to the nearest that has one, so that no place is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.errors import JobError
from downloader.model.crs import LONLAT, Crs, transformer
from downloader.model.grid import PixelGrid
from downloader.model.image import Image
from downloader.planning.polygon import place

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_REACH: Final = 30.0
"""Degrees of longitude from its middle at which a zone without a neighbour ends."""

_POLE: Final = 89.0
_EDGE: Final = 17
"""Points along an edge of an image that is looked at in longitude and latitude."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A UTM zone of the images, and the places that belong to its group."""

    crs: Crs
    west: float
    """In degrees; longitudes may lie beyond 180."""
    south: float
    east: float
    north: float

    @property
    def name(self) -> str:
        """Prefix of the names of its groups: the number of its code, such as `32610`."""
        return self.crs.code.rpartition(":")[2] if self.crs.code else str(self.crs.to_pyproj().utm_zone)

    def members(self, images: Iterable[Image], *, last: bool = False) -> tuple[Image, ...]:
        """Return the images of the zone's group: its own, followed by others that reach into it.

        Args:
            images: in the order in which the first or last wins.
            last: whether the last wins; the zone's own are put last then.
        """
        reaching = [image for image in images if system_of(image) == self.crs or self._is_reached(image)]
        return tuple(sorted(reaching, key=lambda image: (system_of(image) == self.crs) == last))

    def _is_reached(self, image: Image) -> bool:
        middle = (self.west + self.east) / 2
        for grid in dict.fromkeys(band.grid for band in image.bands):
            west, south, east, north = _bounds(grid, middle)
            if west < self.east and self.west < east and south < self.north and self.south < north:
                return True
        return False

    def outline(self, lattice: PixelGrid) -> BaseGeometry:
        """Return the zone's places in pixels of a lattice in its CRS."""
        return _outline(self, lattice)


def system_of(image: Image) -> Crs | None:
    """Return the CRS of an image's pixels; None for an image without any of the bands asked for."""
    return image.bands[0].grid.crs if image.bands else None


def zones_of(images: Iterable[Image], region: BaseGeometry) -> tuple[Zone, ...]:
    """Return the zones of these images that a region meets, from west to east.

    Args:
        images: all of them.
        region: in longitude and latitude, from -180 to 180.

    Raises:
        JobError: an image in a CRS that is no UTM zone, or none with a band.
    """
    found: dict[Crs, Image] = {}
    for image in images:
        if crs := system_of(image):
            found.setdefault(crs, image)
    if not found:
        raise JobError("no image has any of the bands; name those that the images have", key="source.bands")
    for crs, image in found.items():
        if not crs.to_pyproj().utm_zone:
            raise JobError(
                f"{image.id} is in {crs}, which is no UTM zone; write one grid for all, such as grid: {{crs: utm, scale: 10}}",
                key="grid.zones",
            )
    zones = cells_of(found)
    met = [zone.crs for zone in zones if _meets(zone, region)]
    return cells_of(met) if met else zones


def cells_of(systems: Iterable[Crs]) -> tuple[Zone, ...]:
    """Return UTM zones with the places that belong to each, from west to east."""
    numbered = sorted((_number(crs), crs.code or "", crs) for crs in systems)
    middles = sorted({6.0 * number - 183 for (number, _), *_ in numbered})
    hemispheres = Counter(number for number, _ in {number for number, *_ in numbered})
    zones = []
    for (number, is_south), _, crs in numbered:
        middle = 6.0 * number - 183
        here = middles.index(middle)
        before = (middle - middles[here - 1]) % 360 or 360
        behind = (middles[(here + 1) % len(middles)] - middle) % 360 or 360
        is_halved = hemispheres[number] > 1
        zones.append(
            Zone(
                crs,
                middle - min(before / 2, _REACH),
                0.0 if is_halved and not is_south else -_POLE,
                middle + min(behind / 2, _REACH),
                0.0 if is_halved and is_south else _POLE,
            )
        )
    return tuple(zones)


def _number(crs: Crs) -> tuple[int, bool]:
    """Return the number of a UTM zone, and whether it is the southern one."""
    text = str(crs.to_pyproj().utm_zone)
    return int(text[:-1]), text.endswith("S")


def _meets(zone: Zone, region: BaseGeometry) -> bool:
    import shapely

    for turn in (-360, 0, 360):
        part = region.intersection(shapely.box(zone.west + turn, zone.south, zone.east + turn, zone.north))
        if not part.is_empty and (part.area > 0 or region.area == 0):
            return True
    return False


@lru_cache(maxsize=1 << 12)
def _bounds(grid: PixelGrid, middle: float) -> tuple[float, float, float, float]:
    """Return the bounds of a grid in longitude, within 180 degrees of `middle`, and latitude."""
    steps = np.linspace(0, 1, _EDGE)
    first, last = np.zeros(_EDGE), np.ones(_EDGE)
    column = np.concatenate([steps, steps, first, last]) * grid.width
    row = np.concatenate([first, last, steps, steps]) * grid.height
    t = grid.transform
    longitude, latitude = transformer(grid.crs, LONLAT).transform(
        t.translate_x + t.scale_x * column + t.shear_x * row,
        t.translate_y + t.shear_y * column + t.scale_y * row,
    )
    longitude = (longitude - middle + 180) % 360 - 180 + middle
    return float(longitude.min()), float(latitude.min()), float(longitude.max()), float(latitude.max())


@lru_cache(maxsize=256)
def _outline(zone: Zone, lattice: PixelGrid) -> BaseGeometry:
    import shapely

    box = shapely.box(zone.west, zone.south, zone.east, zone.north)
    return place(box, LONLAT, lattice, buffer=0, key="grid.zones")
