# ruff: noqa: N803 - parameters are named as the API's arguments are
"""Composites and reductions: many images, or many bands, into one (docs/contract.md §4.7).

Masked pixels do not count; a pixel that no image has is masked. `median` of an even number is the mean of the middle
two, `count` how many there are, and 0 is a count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.model import Band, Image, plain
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
    percentiles: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    """Names of the percentiles' outputs, where they are given."""
    inputs: int = 1
    """Bands that one reduction takes: `min` and `max` of several compare the first and bring the others along."""


_REDUCTIONS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "median": (np.nanmedian, "float"),
    "mean": (np.nanmean, "float"),
    "min": (np.nanmin, "same"),
    "max": (np.nanmax, "same"),
    "sum": (np.nansum, "float"),
    "count": (lambda stack, axis: np.sum(~np.isnan(stack), axis=axis), "count"),
    "stdDev": (np.nanstd, "float"),
}
COMPOSITES: Final = ("median", "mean", "min", "max", "count")
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


def outputs(reducer: Reducer, function: str) -> list[tuple[str, Callable[..., Any], str]]:
    """Return what a reducer gives: names, operations on stacks, and rules of the results' types."""
    if reducer.name == "percentile":
        names = reducer.names or tuple(f"p{plain(value)}" for value in reducer.percentiles)
        return [
            (name, _percentile(value), "float")
            for name, value in zip(names, reducer.percentiles, strict=True)
        ]
    if reducer.name not in _REDUCTIONS:
        raise errors.invalid_argument(f"{function}: Reducer '{reducer.name}' is not supported here.")
    return [(reducer.name, *_REDUCTIONS[reducer.name])]


def _percentile(value: float) -> Callable[..., Any]:
    """Return a percentile by linear interpolation between the nearest two values."""
    return lambda stack, axis: np.nanpercentile(stack, value, axis=axis)


def _reduced(
    operation: Callable[..., Any], rule: str, kinds: Sequence[str]
) -> tuple[str, Callable[[Sequence[Part]], Part]]:
    """Return the type of a reduction of planes, and its function."""
    kind = "i4" if rule == "count" else result_kind(rule, kinds)

    def apply(parts: Sequence[Part]) -> Part:
        stack = np.stack([np.where(everywhere(part), as_double(part), np.nan) for part in parts])
        seen = ~np.isnan(stack).all(axis=0)
        if rule == "count":
            return operation(stack, axis=0), None
        # A pixel that no image has would make the reduction warn.
        return operation(np.where(seen, stack, 0.0), axis=0), seen

    return kind, apply


def _composite(name: str) -> Function:
    return lambda collection: _each_band(collection, [("", *_REDUCTIONS[name])])


def _each_band(collection: Collection, wanted: Sequence[tuple[str, Callable[..., Any], str]]) -> Image:
    """Return the reductions of each band over a collection's images, named BAND_OUTPUT, or BAND without a name."""
    bands, planes = [], []
    for band, found in _stack(collection):
        for name, operation, rule in wanted:
            kind, apply = _reduced(operation, rule, [computed.kind_of(band.type)])
            bands.append(retyped(band, kind, f"{band.id}_{name}" if name else band.id))
            planes.append(computed.combine(found, apply, kind, "any"))
    return computed.image_of(bands, planes)


def _reduce_collection(collection: Collection, reducer: Reducer, parallelScale: float = 1) -> Image:
    """ImageCollection.reduce: the composites of that name, their bands called BAND_NAME."""
    del parallelScale
    if reducer.inputs > 1:
        return _extreme(collection, reducer)
    return _each_band(collection, outputs(reducer, "ImageCollection.reduce"))


def _extreme(collection: Collection, reducer: Reducer) -> Image:
    """Return all bands of the image whose first band is the least or greatest: `min`, `min1`, …, the first on a tie.

    Images in which any of the bands is masked do not count.
    """
    stacks = _stack(collection)[: reducer.inputs]
    if len(stacks) < reducer.inputs:
        raise errors.invalid_argument(
            f"ImageCollection.reduce: Need {reducer.inputs} bands for {reducer.name}, got {len(stacks)}."
        )
    count = min((len(found) for _, found in stacks), default=0)

    def choose(position: int) -> Callable[[Sequence[Part]], Part]:
        def apply(parts: Sequence[Part]) -> Part:
            groups = [parts[i * reducer.inputs : (i + 1) * reducer.inputs] for i in range(count)]
            good = np.stack([np.stack([everywhere(p) for p in group]).all(axis=0) for group in groups])
            key = np.stack([as_double(group[0]) for group in groups])
            worst = np.inf if reducer.name == "min" else -np.inf
            best = np.argmin if reducer.name == "min" else np.argmax
            found = best(np.where(good, key, worst), axis=0)
            values = np.stack([as_double(group[position]) for group in groups])
            return np.take_along_axis(values, found[None], axis=0)[0], np.asarray(good.any(axis=0))

        return apply

    planes = [found[i] for i in range(count) for _, found in stacks]
    bands, results = [], []
    for position, (band, _) in enumerate(stacks):
        kind = computed.kind_of(band.type)
        bands.append(retyped(band, kind, reducer.name + (str(position) if position else "")))
        results.append(computed.combine(planes, choose(position), kind, "any"))
    return computed.image_of(bands, results)


def _reduce_bands(image: object, reducer: Reducer) -> Image:
    """Image.reduce: bands from all bands of an image, called after the reducer's outputs."""
    target = as_image(image)
    kinds = [computed.kind_of(band.type) for band in target.bands]
    sources = [computed.plane_of(target, i) for i in range(len(target.bands))]
    bands, planes = [], []
    for name, operation, rule in outputs(reducer, "Image.reduce"):
        kind, apply = _reduced(operation, rule, kinds)
        bands.append(retyped(target.bands[0], kind, name))
        planes.append(computed.combine(sources, apply, kind))
    return computed.image_of(bands, planes, target)


def _reducer(name: str) -> Function:
    def function(**options: object) -> Reducer:
        inputs = options.get("numInputs", 1)  # the others are of precision and of memory
        return Reducer(name, inputs=inputs if isinstance(inputs, int) else 1)

    return function


def _percentiles(
    percentiles: Sequence[float], outputNames: Sequence[str] | None = None, **options: object
) -> Reducer:
    """Reducer.percentile: by linear interpolation, whatever the number of values."""
    del options
    if outputNames is not None and len(outputNames) != len(percentiles):
        raise errors.invalid_argument("Reducer.percentile: outputNames must be as many as percentiles.")
    return Reducer("percentile", percentiles=tuple(map(float, percentiles)), names=tuple(outputNames or ()))


LIBRARY: Final[Library] = {
    "ImageCollection.mosaic": mosaic,
    "ImageCollection.reduce": _reduce_collection,
    "Image.reduce": _reduce_bands,
    **{f"reduce.{name}": _composite(name) for name in COMPOSITES},
    **{f"Reducer.{name}": _reducer(name) for name in (*_REDUCTIONS, "toList")},
    "Reducer.percentile": _percentiles,
    "Reducer.repeat": lambda reducer, count: replace(reducer, repeated=int(count)),
}
