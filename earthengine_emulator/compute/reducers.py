# ruff: noqa: N803 - parameters are named as the API's arguments are
"""Composites and reductions: many images, or many bands, into one (docs/contract.md §4.7).

Masked pixels do not count; a pixel that no image has is masked. `median` of an even number is the mean of the middle
two, `mode` the commonest value, the least on a tie, `count` how many there are, and 0 is a count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.model import Band, Image
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.computed import everywhere
from earthengine_emulator.compute.expression import Function, Library
from earthengine_emulator.compute.operand import as_double, result_kind, retyped
from earthengine_emulator.compute.operand import image as as_image
from earthengine_emulator.pixels.sampling import Part


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection within an expression: of images, or of features."""

    images: tuple[Any, ...]
    id: str = ""
    """The asset it was loaded from, if it is still all of it."""
    properties: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reducer:
    """A reducer."""

    name: str
    repeated: int = 0
    """Number of copies that `Reducer.repeat` made; 0 for a plain reducer."""


def _mode(stack: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Return the commonest value, the least on a tie; NaN does not count."""
    ordered = np.sort(stack, axis=axis)  # NaN goes last
    best, most = ordered[0], np.zeros(ordered.shape[1:], np.int64)
    run = np.zeros_like(most)
    for i, layer in enumerate(ordered):
        run = np.where(layer == ordered[i - 1], run + 1, 1) if i else np.ones_like(most)
        run = np.where(np.isnan(layer), 0, run)
        best, most = np.where(run > most, layer, best), np.maximum(most, run)
    return np.asarray(best, np.float64)


def _first(stack: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    found = np.argmin(np.isnan(stack), axis=axis)
    return np.asarray(np.take_along_axis(stack, found[None], axis=axis)[0])


_REDUCTIONS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "median": (np.nanmedian, "float"),
    "mean": (np.nanmean, "float"),
    "min": (np.nanmin, "same"),
    "max": (np.nanmax, "same"),
    "sum": (np.nansum, "float"),
    "product": (np.nanprod, "float"),
    "mode": (_mode, "same"),
    "count": (lambda stack, axis: np.sum(~np.isnan(stack), axis=axis), "count"),
    "first": (_first, "same"),
    "last": (lambda stack, axis: _first(stack[::-1], axis), "same"),
    "and": (lambda stack, axis: np.nanmin(np.where(np.isnan(stack), np.nan, stack != 0), axis), "truth"),
    "or": (lambda stack, axis: np.nanmax(np.where(np.isnan(stack), np.nan, stack != 0), axis), "truth"),
    "allNonZero": (
        lambda stack, axis: np.nanmin(np.where(np.isnan(stack), np.nan, stack != 0), axis),
        "truth",
    ),
    "anyNonZero": (
        lambda stack, axis: np.nanmax(np.where(np.isnan(stack), np.nan, stack != 0), axis),
        "truth",
    ),
    "stdDev": (np.nanstd, "float"),
    "variance": (np.nanvar, "float"),
}
COMPOSITES: Final = ("median", "mean", "min", "max", "sum", "product", "mode", "count", "and", "or")
"""Reductions that have a function of their own, `reduce.NAME`."""


def _stack(collection: Collection) -> list[tuple[Band, list[Any]]]:
    """Return each band of a collection's first image, with the planes of that name in all images."""
    if not collection.images:
        return []  # a composite of nothing has no bands
    result = []
    for band in collection.images[0].bands:
        planes = [
            computed.plane_of(one, i)
            for one in collection.images
            for i, other in enumerate(one.bands)
            if other.id == band.id
        ]
        result.append((replace(band, lattice=computed.DEGREE, missing=None), planes))
    return result


def mosaic(collection: Collection) -> Image:
    """ImageCollection.mosaic: of the valid pixels the last image's."""

    def apply(parts: Sequence[Part]) -> Part:
        values, seen = np.zeros_like(parts[0][0]), np.zeros(parts[0][0].shape, np.bool_)
        for part in parts:
            mine = everywhere(part)
            values, seen = np.where(mine, part[0], values), seen | mine
        return values, seen

    pairs = _stack(collection)
    planes = [computed.combine(planes, apply, computed.kind_of(band.type), "any") for band, planes in pairs]
    return computed.image_of([band for band, _ in pairs], planes)


def _reduced(name: str, kinds: Sequence[str]) -> tuple[str, Callable[[Sequence[Part]], Part]]:
    """Return the type of a reduction of so many planes, and how it is worked out."""
    operation, rule = _REDUCTIONS[name]
    kind = "i4" if rule == "count" else result_kind(rule, kinds)

    def apply(parts: Sequence[Part]) -> Part:
        stack = np.stack([np.where(everywhere(part), as_double(part), np.nan) for part in parts])
        seen = ~np.isnan(stack).all(axis=0)
        if rule == "count":
            return operation(stack, axis=0), None
        # A pixel that no image has would make the reduction warn.
        return operation(np.where(seen, stack, 0.0), axis=0), seen

    return kind, apply


def _composite(name: str, suffix: str = "") -> Function:
    def function(collection: Collection) -> Image:
        bands, planes = [], []
        for band, found in _stack(collection):
            kind, apply = _reduced(name, [computed.kind_of(band.type)])
            bands.append(retyped(band, kind, band.id + suffix))
            planes.append(computed.combine(found, apply, kind, "any"))
        return computed.image_of(bands, planes)

    return function


def _reduce_collection(collection: Collection, reducer: Reducer, parallelScale: float = 1) -> Image:
    """ImageCollection.reduce: the composite of that name, its bands called BAND_NAME."""
    del parallelScale
    if reducer.name not in _REDUCTIONS:
        raise errors.invalid_argument(
            f"ImageCollection.reduce: Reducer '{reducer.name}' is not supported here."
        )
    result = _composite(reducer.name, f"_{reducer.name}")(collection)
    assert isinstance(result, Image)  # noqa: S101 - for the type checker: composites are images
    return result


def _reduce_bands(image: object, reducer: Reducer) -> Image:
    """Image.reduce: one band from all bands of an image, called after the reducer."""
    target = as_image(image)
    if reducer.name not in _REDUCTIONS:
        raise errors.invalid_argument(f"Image.reduce: Reducer '{reducer.name}' is not supported here.")
    kind, apply = _reduced(reducer.name, [computed.kind_of(band.type) for band in target.bands])
    planes = [computed.plane_of(target, i) for i in range(len(target.bands))]
    band = retyped(target.bands[0], kind, reducer.name)
    return computed.image_of([band], [computed.combine(planes, apply, kind)], target)


def _reducer(name: str) -> Function:
    def function(**options: object) -> Reducer:
        del options  # of precision and of memory
        return Reducer(name)

    return function


LIBRARY: Final[Library] = {
    "ImageCollection.mosaic": mosaic,
    "ImageCollection.reduce": _reduce_collection,
    "Image.reduce": _reduce_bands,
    **{f"reduce.{name}": _composite(name) for name in COMPOSITES},
    **{f"Reducer.{name}": _reducer(name) for name in (*_REDUCTIONS, "toList", "minMax")},
    "Reducer.repeat": lambda reducer, count: replace(reducer, repeated=int(count)),
}
