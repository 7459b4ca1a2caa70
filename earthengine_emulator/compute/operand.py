"""Arguments of expression functions as images and shapes, pairs of bands, and types of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.geometry import Shape, from_geojson
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Image
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.computed import both
from earthengine_emulator.pixels.sampling import Part


def result_kind(rule: str, kinds: Sequence[str]) -> str:
    """Return the type that a rule gives to a result: as wide as needed, never narrower than its operands.

    Inferred from documentation: truth values are uint8; quotients and means float, float32 only from float32; sums and
    products int32 from narrow integers, float64 from wide ones; minima, maxima, modes and mosaics keep their operands' type.
    """
    if rule == "truth":
        return "u1"
    dtype = np.result_type(*(PIXEL_TYPES[kind].dtype for kind in kinds))
    if rule == "float" or dtype.kind == "f":
        return "f4" if dtype == np.float32 else "f8"
    if rule == "sum":
        return "i4" if dtype.itemsize <= 2 else "f8"
    return next((key for key, known in PIXEL_TYPES.items() if known.dtype == dtype and key != "i8"), "f8")


def as_double(part: Part) -> npt.NDArray[np.float64]:
    """Return pixels as float64."""
    return part[0].astype(np.float64)


def retyped(band: Band, kind: str, name: str | None = None) -> Band:
    """Return a band with another type, and perhaps another name."""
    return replace(band, type=PIXEL_TYPES[kind], id=name or band.id, missing=None)


def image(value: object) -> Image:
    """Return an argument as an image; numbers and lists of numbers are constants."""
    if isinstance(value, Image):
        return value
    numbers = value if isinstance(value, list) else [value]
    bands, planes = [], []
    for i, number in enumerate(numbers):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise errors.invalid_argument(f"Image: {type(value).__name__} cannot become an image.")
        kind, plane = computed.constant(number)
        bands.append(
            Band("constant" if len(numbers) == 1 else f"constant_{i}", PIXEL_TYPES[kind], computed.DEGREE)
        )
        planes.append(plane)
    return computed.image_of(bands, planes)


def pairs_of(one: Image, other: Image) -> list[tuple[int, int]]:
    """Pair the bands of two images: one with all, each with its namesake, or else in order."""
    n, m = len(one.bands), len(other.bands)
    if m == 1:
        return [(i, 0) for i in range(n)]
    if n == 1:
        return [(0, j) for j in range(m)]
    if n != m:
        raise errors.invalid_argument(f"Images with {n} and {m} bands cannot be combined.")
    places = {band.id: j for j, band in enumerate(other.bands)}
    if {band.id for band in one.bands} == set(places):
        return [(i, places[band.id]) for i, band in enumerate(one.bands)]
    return [(i, i) for i in range(n)]


def described(one: Image, other: Image) -> Image:
    """Return the image whose properties a result takes: the first, unless it has none."""
    return one if one.properties or not other.properties else other


def anonymous(result: Image) -> Image:
    """Return an image that is no longer the asset it was made from: it keeps the properties, but not the id."""
    return replace(result, name="")


def each_band(target: Image, kind_of: Callable[[Band], str], apply: Callable[[Part], Part]) -> Image:
    """Return a function of each band by itself."""
    bands, planes = [], []
    for i, band in enumerate(target.bands):
        kind = kind_of(band)
        bands.append(retyped(band, kind))
        planes.append(computed.combine([computed.plane_of(target, i)], lambda parts: apply(parts[0]), kind))
    return anonymous(computed.image_of(bands, planes, target))


def masked_by(target: Image, mask: Image, cover: str = "first") -> Image:
    """Return an image masked also where another is 0 or masked; its footprint remains, or with `all` shrinks to both."""

    def apply(parts: Sequence[Part]) -> Part:
        values, valid = parts[1]
        return parts[0][0], both(parts[0][1], valid, values != 0)

    bands, planes = [], []
    for i, j in pairs_of(target, mask):
        band = target.bands[i]
        bands.append(band)
        kind = computed.kind_of(band.type)
        planes.append(
            computed.combine([computed.plane_of(target, i), computed.plane_of(mask, j)], apply, kind, cover)
        )
    return computed.image_of(bands, planes, target)


def as_shape(value: object) -> Shape:
    """Return an argument as a shape."""
    if isinstance(value, Shape):
        return value
    if isinstance(value, Mapping):
        return from_geojson(value)
    raise errors.invalid_argument("A geometry was expected.")
