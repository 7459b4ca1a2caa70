# ruff: noqa: A002, N803, PLW0108 - parameters are named as the API's arguments are
"""Bands, masks, clipping and colours of images (docs/contract.md §4.7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Image
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.collections import property_of
from earthengine_emulator.compute.computed import both, everywhere
from earthengine_emulator.compute.expression import Library
from earthengine_emulator.compute.operand import (
    as_double,
    as_shape,
    described,
    each_band,
    image,
    masked_by,
    pairs_of,
    retyped,
)
from earthengine_emulator.compute.projections import Projection, at_scale
from earthengine_emulator.compute.reducers import Collection
from earthengine_emulator.pixels import grids, visualize
from earthengine_emulator.pixels.sampling import Part

_as_image = image


def select(input: object, bandSelectors: object, newNames: Sequence[str] | None = None) -> Image:
    """Image.select: bands by name, index or regular expression."""
    target = image(input)
    names = [band.id for band in target.bands]
    chosen: list[int] = []
    for selector in bandSelectors if isinstance(bandSelectors, list) else [bandSelectors]:
        if isinstance(selector, (int, float)):
            if not 0 <= selector < len(names):
                raise errors.unknown_band(str(selector), names)
            chosen.append(int(selector))
            continue
        found = [i for i, name in enumerate(names) if name == selector]
        found = found or [i for i, name in enumerate(names) if re.fullmatch(str(selector), name)]
        if not found:
            raise errors.unknown_band(str(selector), names)
        chosen += found
    bands = [target.bands[i] for i in chosen]
    if newNames is not None:
        if len(newNames) != len(bands):
            raise errors.invalid_argument(
                f"Image.select: {len(bands)} bands cannot have {len(newNames)} names."
            )
        bands = [replace(band, id=name) for band, name in zip(bands, newNames, strict=True)]
    return computed.image_of(bands, [computed.plane_of(target, i) for i in chosen], target)


def rename(input: object, names: object) -> Image:
    """Image.rename."""
    target = image(input)
    given = [str(name) for name in (names if isinstance(names, list) else [names])]
    return select(target, [band.id for band in target.bands], given)


def add_bands(
    dstImg: object,
    srcImg: object,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Image:
    """Image.addBands; a name that is taken gets `_1`, or its band is replaced."""
    one, other = image(dstImg), image(srcImg)
    other = select(other, list(names)) if names is not None else other
    bands = list(one.bands)
    planes = [computed.plane_of(one, i) for i in range(len(bands))]
    for i, band in enumerate(other.bands):
        taken = [b.id for b in bands]
        if overwrite and band.id in taken:
            at = taken.index(band.id)
            bands[at], planes[at] = band, computed.plane_of(other, i)
            continue
        name, number = band.id, 0
        while name in taken:
            number += 1
            name = f"{band.id}_{number}"
        bands.append(replace(band, id=name))
        planes.append(computed.plane_of(other, i))
    return computed.image_of(bands, planes, described(one, other))


def normalized_difference(input: object, bandNames: Sequence[str] | None = None) -> Image:
    """Image.normalizedDifference: (first - second) / (first + second); masked where either is negative or the sum is 0."""
    target = image(input)
    pair = select(target, list(bandNames) if bandNames is not None else [0, 1])

    def apply(parts: Sequence[Part]) -> Part:
        one, other = as_double(parts[0]), as_double(parts[1])
        total = one + other
        good = (one >= 0) & (other >= 0) & (total != 0)
        return (one - other) / np.where(good, total, 1), both(parts[0][1], parts[1][1], good)

    planes = [computed.plane_of(pair, i) for i in (0, 1)]
    return computed.image_of([retyped(pair.bands[0], "f4", "nd")], [computed.combine(planes, apply, "f4")])


def update_mask(image: object, mask: object) -> Image:
    """Image.updateMask: masked also where the mask is 0 or masked."""
    return masked_by(_as_image(image), _as_image(mask))


def unmask(input: object, value: object = None, sameFootprint: bool = True) -> Image:
    """Image.unmask: masked pixels take the value, valid from then on; outside the footprint only on request."""
    target, filling = image(input), image(0 if value is None else value)
    bands, planes = [], []
    for i, j in pairs_of(target, filling):
        bands.append(target.bands[i])
        planes.append(
            computed.fill(
                computed.plane_of(target, i), computed.plane_of(filling, j), within=bool(sameFootprint)
            )
        )
    return computed.image_of(bands, planes, target)


def mask(image: object, mask: object = None) -> Image:
    """Image.mask: the mask itself, 0 or 1, valid everywhere; or the image with another mask.

    Pixels that were masked and no longer are hold 0.
    """
    target = _as_image(image)
    if mask is not None:
        zero = computed.image_of(
            [Band("zero", PIXEL_TYPES["u1"], computed.DEGREE)], [computed.constant(0)[1]]
        )
        return masked_by(unmask(target, zero), _as_image(mask))
    return each_band(target, lambda _: "f4", lambda part: (everywhere(part).astype(np.float32), None))


def clip(input: object, geometry: object) -> Image:
    """Image.clip: masked outside a geometry."""
    target = image(input)
    region = computed.image_of(
        [Band("inside", PIXEL_TYPES["u1"], computed.DEGREE)], [computed.inside(as_shape(geometry))]
    )
    return masked_by(target, region, "all")


def clip_to_bounds_and_scale(
    input: object,
    geometry: object = None,
    width: int | None = None,
    height: int | None = None,
    maxDimension: int | None = None,
    scale: float | None = None,
) -> Image:
    """Image.clipToBoundsAndScale: fixes the output grid, by size, by scale in metres, or as it is, in the image's CRS."""
    target = image(input)
    first = target.bands[0]
    native = first.lattice
    box = grids.shape_box(as_shape(geometry), native.crs) if geometry else grids.bounds(native, native.crs)
    if width is None and height is None and maxDimension is None:
        own = Projection(native.crs, first.projection)
        wanted = own if scale is None else at_scale(own, float(scale))
        fixed = grids.snapped(native.crs, box, wanted.affine)
        transform: grids.Affine | None = wanted.affine
    else:
        aspect = (box[2] - box[0]) / (box[3] - box[1])
        if maxDimension is not None:
            width, height = (maxDimension, None) if aspect >= 1 else (None, maxDimension)
        columns = width or round((height or 512) * aspect)
        rows = height or round(columns / aspect)
        fixed, transform = grids.stretched(native.crs, box, (max(1, columns), max(1, rows))), None
    bands = tuple(replace(band, lattice=fixed, transform=transform, unbounded=False) for band in target.bands)
    planes = tuple(computed.plane_of(target, i) for i in range(len(target.bands)))
    return replace(target, bands=bands, source=computed.Computation(planes, fixed))


def slice_bands(image: object, start: int, end: int | None = None) -> Image:
    """Image.slice: bands by position, from the end where negative."""
    target = _as_image(image)
    positions = list(range(len(target.bands)))[int(start) : None if end is None else int(end)]
    if not positions:
        raise errors.invalid_argument(f"Image.slice: There are no bands from {start} to {end}.")
    return select(target, positions)


def _listed(value: object) -> list[Any]:
    """Return a list, which clients may also write as text with commas, or as its only element."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [] if value is None else [value]


def to_colours(image: object, **options: object) -> Image:
    """Image.visualize: three bands of 8 bits."""
    target = _as_image(image)
    if options.get("bands") is not None:
        target = select(target, _listed(options["bands"]))

    def numbers(name: str) -> list[float]:
        return [float(one) for one in _listed(options.get(name))]

    low, high = numbers("min") or [0.0], numbers("max")
    count = max(len(low), len(high))
    pairs = zip(low * (count // len(low)), high * (count // max(1, len(high))), strict=True)
    chosen: dict[str, Any] = {"ranges": [{"min": a, "max": b} for a, b in pairs]}
    if numbers("gamma"):
        chosen["gamma"] = {"value": numbers("gamma")[0]}
    palette = options.get("palette")
    if palette is not None:
        chosen["paletteColors"] = _listed(palette)

    def channel(number: int) -> Callable[[Sequence[Part]], Part]:
        def apply(parts: Sequence[Part]) -> Part:
            return visualize.colours([p for p, _ in parts], chosen)[..., number], both(*(v for _, v in parts))

        return apply

    planes = [computed.plane_of(target, i) for i in range(len(target.bands))]
    names = ("vis-red", "vis-green", "vis-blue")
    return computed.image_of(
        [retyped(target.bands[0], "u1", name) for name in names],
        [computed.combine(planes, channel(i), "u1") for i in range(3)],
        target,
    )


def link_collection(
    input: object,
    imageCollection: Collection,
    linkedBands: object = None,
    linkedProperties: object = None,
    matchPropertyName: str = "system:index",
) -> Image:
    """Image.linkCollection: bands and properties of the image whose property has the same value.

    Without such an image the bands are masked, of the types of the collection's first image, and the properties null.
    """
    target = image(input)
    wanted = property_of(target, matchPropertyName)
    partner = next(
        (one for one in imageCollection.images if property_of(one, matchPropertyName) == wanted), None
    )
    linked = partner or (imageCollection.images[0] if imageCollection.images else None)
    result = target
    if linkedBands is not None:
        if linked is None:
            raise errors.invalid_argument("Image.linkCollection: The collection is empty.")
        bands = select(linked, linkedBands if isinstance(linkedBands, list) else [linkedBands])
        result = add_bands(result, bands if partner is not None else masked_by(bands, image(0)))
    own = dict(result.properties)
    for name in _listed(linkedProperties):
        value = None if partner is None else property_of(partner, name)
        own = {**own, name: value} if value is not None else {k: v for k, v in own.items() if k != name}
    return replace(result, properties=own)


LIBRARY: Final[Library] = {
    "Image.linkCollection": link_collection,
    "Image.constant": lambda value: image(value),
    "Image.select": select,
    "Image.rename": rename,
    "Image.addBands": add_bands,
    "Image.normalizedDifference": normalized_difference,
    "Image.updateMask": update_mask,
    "Image.unmask": unmask,
    "Image.mask": mask,
    "Image.clip": clip,
    "Image.slice": slice_bands,
    "Image.clipToBoundsAndScale": clip_to_bounds_and_scale,
    "Image.visualize": to_colours,
    "Image.bandNames": lambda image: [band.id for band in _as_image(image).bands],
}
