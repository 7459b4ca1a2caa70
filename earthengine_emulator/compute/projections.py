# ruff: noqa: N803 - parameters are named as the API's arguments are
"""Projections, and images seen through them: `Projection`, `Image.reproject`, `Image.resample` (docs/contract.md §4.7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from earthengine_emulator.api import errors
from earthengine_emulator.api.errors import ApiError, invalid_argument
from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.model import Image, Lattice
from earthengine_emulator.compute import computed, resampling
from earthengine_emulator.compute.expression import Library
from earthengine_emulator.compute.operand import image as as_image
from earthengine_emulator.compute.operand import result_kind, retyped
from earthengine_emulator.pixels import grids
from earthengine_emulator.pixels.grids import Affine

METRES_PER_DEGREE: Final = 111_319.49079327358
"""Of longitude on the equator of WGS 84: how a scale in metres is turned into degrees."""
_UNIT: Final[Affine] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Projection:
    """A CRS and, perhaps, the pixels laid on it."""

    crs: str
    affine: Affine = _UNIT

    def nominal_scale(self) -> float:
        """Return metres per pixel, by the pixel's area; of degrees at the equator."""
        a, b, _, d, e, _ = self.affine
        return math.sqrt(abs(a * e - b * d)) * metres_per_unit(self.crs)


def metres_per_unit(system: str) -> float:
    """Return metres in a unit of a CRS, of degrees on the equator."""
    axis = crs.parse(system).axis_info
    return METRES_PER_DEGREE if axis and axis[0].unit_name == "degree" else _factor(system)


def _factor(system: str) -> float:
    axis = crs.parse(system).axis_info
    return float(axis[0].unit_conversion_factor) if axis else 1.0


def make(
    crs: object, transform: Sequence[float] | None = None, transformWkt: str | None = None
) -> Projection:
    """Return a projection: Projection."""
    if transformWkt is not None:
        raise invalid_argument("Projection: transforms as WKT are not supported by the emulator.")
    if isinstance(crs, Projection):
        return crs if transform is None else Projection(crs.crs, _affine(transform))
    _parse(str(crs))
    return Projection(str(crs), _UNIT if transform is None else _affine(transform))


def _parse(text: str) -> None:
    crs.parse(text)


def _affine(given: Sequence[float]) -> Affine:
    if len(given) != 6:
        raise invalid_argument(f"A transform has 6 numbers, not {len(given)}.")
    a, b, c, d, e, f = (float(v) for v in given)
    if a * e - b * d == 0:
        raise invalid_argument("The transform of a projection must be invertible.")
    return a, b, c, d, e, f


def of_image(image: object) -> Projection:
    """Image.projection: that of all bands.

    Raises:
        ApiError: 400 when the bands differ.
    """
    found = {Projection(band.lattice.crs, band.projection) for band in as_image(image).bands}
    if len(found) != 1:
        raise invalid_argument(
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick a single band."
        )
    return found.pop()


def at_scale(projection: Projection, meters: float) -> Projection:
    """Return a projection of the same CRS, with pixels of so many metres, its corner kept."""
    factor = float(meters) / projection.nominal_scale()
    a, b, c, d, e, f = projection.affine
    return Projection(projection.crs, (a * factor, b * factor, c, d * factor, e * factor, f))


def reproject(
    image: object,
    crs: object,
    crsTransform: Sequence[float] | None = None,
    scale: float | None = None,
) -> Image:
    """Image.reproject: every band worked out on one lattice, and seen from there by nearest neighbour.

    A transform replaces the projection's; a scale, in metres, stretches the projection's pixels, its corner kept.
    """
    target, projection = as_image(image), make(crs, crsTransform)
    if crsTransform is None and scale is not None:
        if not float(scale) > 0:
            raise invalid_argument("Image.reproject: The scale must be positive.")
        projection = at_scale(projection, float(scale))
    bands, planes = [], []
    for i, band in enumerate(target.bands):
        lattice = _covering(band.lattice, projection)
        endless = band.unbounded or band.lattice is computed.DEGREE
        bands.append(replace(band, lattice=lattice, transform=projection.affine, unbounded=endless))
        planes.append(resampling.fixed(computed.plane_of(target, i), lattice))
    return computed.image_of(bands, planes, target)


def _covering(native: Lattice, projection: Projection) -> Lattice:
    """Return the projection's pixels that cover a lattice; one pixel at its origin where it cannot be covered."""
    try:
        return grids.snapped(projection.crs, grids.bounds(native, projection.crs), projection.affine)
    except (ApiError, OverflowError):
        return Lattice(projection.crs, 1, 1, projection.affine)


def resample(image: object, mode: str = "bilinear") -> Image:
    """Image.resample: every band interpolated wherever it is not seen through its own lattice."""
    target = as_image(image)
    if mode not in resampling.MODES[1:]:
        raise errors.invalid_argument(
            f"Image.resample: Invalid resampling mode '{mode}'; it must be 'bilinear' or 'bicubic'."
        )
    planes = [resampling.interpolated(target, i, mode) for i in range(len(target.bands))]
    return computed.image_of(target.bands, planes, target)


def reduce_resolution(
    image: object, reducer: object, bestEffort: bool = False, maxPixels: float = 64
) -> Image:
    """Image.reduceResolution: where the grid is coarser, each pixel is the mean of those it holds; of means only."""
    target = as_image(image)
    if getattr(reducer, "name", None) != "mean":
        raise invalid_argument(
            "Image.reduceResolution: The emulator knows no other reducer here than Reducer.mean."
        )
    kinds = [result_kind("float", [computed.kind_of(band.type)]) for band in target.bands]
    bands = [retyped(band, kind) for band, kind in zip(target.bands, kinds, strict=True)]
    planes = [
        resampling.averaged(target, i, int(maxPixels), best_effort=bool(bestEffort))
        for i in range(len(target.bands))
    ]
    whole = [
        computed.combine([plane], lambda parts: parts[0], kind)
        for plane, kind in zip(planes, kinds, strict=True)
    ]
    return computed.image_of(bands, whole, target)


def set_default_projection(
    image: object,
    crs: object,
    crsTransform: Sequence[float] | None = None,
    scale: float | None = None,
) -> Image:
    """Image.setDefaultProjection: another lattice for what is worked out without one; the pixels are as they were."""
    target = as_image(image)
    moved = reproject(target, crs, crsTransform, scale)
    bands = [
        replace(band, lattice=like.lattice, transform=like.transform, unbounded=like.unbounded)
        for band, like in zip(target.bands, moved.bands, strict=True)
    ]
    planes = [computed.plane_of(target, i) for i in range(len(bands))]
    return computed.image_of(bands, planes, target)


LIBRARY: Final[Library] = {
    "Projection": make,
    "Image.projection": of_image,
    "Image.reproject": reproject,
    "Image.resample": resample,
    "Image.reduceResolution": reduce_resolution,
    "Image.setDefaultProjection": set_default_projection,
}
