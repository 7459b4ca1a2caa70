"""Compose one image from frozen images: each by its recipe, then reduced pixel by pixel, then cast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from downloader.errors import JobError
from downloader.expressions.recipe import (
    InputImage,
    Recipe,
    collection_graph,
    each_graph,
    in_decibels,
    loaded,
)
from downloader.expressions.reducers import Reducer, reduce_graph
from downloader.model.expression import add_bands, call, constant, document_of, number, select

_TYPES: Final = {
    "u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32", "f4": "float", "f8": "double",
}  # fmt: skip
"""NumPy's name of a type → that of `Image.cast`."""


def computed_expression(
    images: Sequence[InputImage], recipes: Sequence[Recipe], reducer: Reducer | None, key: str
) -> str:
    """Return canonical JSON of an image with the bands of the recipes, each of its type.

    Args:
        images: frozen inputs in the order in which the first or last wins. Each band is computed of the images that have the
            bands it needs; `medoid`, `least` and `most` take only images that have all. A band that no image has is masked.
        recipes: one for each collection, all with bands of the same names.
        reducer: how the images become one; None takes the only image.
        key: key of the job file, for the message.

    Raises:
        JobError: the expression is longer, or nested deeper, than the service takes; `std` of decibels.
    """
    bands = recipes[0].bands
    result = _reduced(images, recipes, reducer, key)
    types = {band.name: _TYPES[band.dtype.str[1:]] for band in bands}
    if reducer is not None and reducer.name == "mean":
        decibels = {band.name for band in bands if band.is_decibel}
        result = in_decibels(result, list(types), decibels)
    result = call("Image.cast", image=result, bandTypes=constant(types), bandOrder=constant(list(types)))
    return document_of(result, key)


def _reduced(
    images: Sequence[InputImage], recipes: Sequence[Recipe], reducer: Reducer | None, key: str
) -> dict[str, Any]:
    """Return the reduced image, its bands in any order."""
    bands = recipes[0].bands
    if reducer is not None and reducer.name == "std" and any(band.is_decibel for band in bands):
        raise JobError(
            "std of bands in decibels has no meaning of its own; write mean, median or p90", key=key
        )
    together = reducer is not None and reducer.name in {"medoid", "least", "most"}
    having: dict[tuple[int, ...], list[int]] = {}
    for place in range(len(bands)):
        needed = range(len(bands)) if together else [place]
        which = tuple(n for n, image in enumerate(images) if _has(image, recipes[image.recipe], needed))
        having.setdefault(which, []).append(place)
    parts = []
    for which, places in having.items():
        names = [bands[place].name for place in places]
        if which:
            parts.append(_of_some([images[n] for n in which], recipes, reducer, places))
        else:
            nothing = call("Image.updateMask", image=number(0), mask=number(0))
            parts += [select(nothing, [0], [name]) for name in names]
    return add_bands(parts)


def _has(image: InputImage, recipe: Recipe, places: Sequence[int]) -> bool:
    if not {rule.of for rule in recipe.mask if rule.of} <= set(image.partners):
        return False
    return not image.lacks & set(recipe.of([recipe.bands[place] for place in places]))


def _of_some(
    images: Sequence[InputImage], recipes: Sequence[Recipe], reducer: Reducer | None, places: Sequence[int]
) -> dict[str, Any]:
    """Return some of the bands, reduced from images that all have what they need."""
    wanted = [[recipe.bands[place] for place in places] for recipe in recipes]
    names = [band.name for band in wanted[0]]
    nodes = [loaded(image, recipes[image.recipe], wanted[image.recipe]) for image in images]
    if reducer is None:
        return each_graph(nodes[0], recipes[images[0].recipe], wanted[images[0].recipe])

    def prepare(recipe: int, image: dict[str, Any]) -> dict[str, Any]:
        linear_power = reducer.name == "mean"
        return _whole_masks(each_graph(image, recipes[recipe], wanted[recipe], linear_power=linear_power))

    order = -1 if reducer.name == "first" else 1  # `mosaic` puts the last on top
    collection = collection_graph(nodes[::order], [image.recipe for image in images][::order], prepare)
    return reduce_graph(collection, reducer, names)


def _whole_masks(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image with masks of 0 or 1: `mosaic` blends pixels whose mask is a fraction, and `mean` weighs them."""
    valid = call("Image.gt", image1=call("Image.mask", image=image), image2=number(0))
    return call("Image.mask", image=image, mask=valid)
