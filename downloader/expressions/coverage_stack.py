"""Coverage of many images in one answer: where each has pixels, and where its mask keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from downloader.expressions.masks import keep_graph
from downloader.expressions.recipe import InputImage, Recipe, collection_graph, loaded
from downloader.model.expression import add_bands, call, constant, document_of, number, select


def coverage_bands(count: int) -> tuple[tuple[str, str], ...]:
    """Return the names of the bands of a stack of so many images: (covered, clear) of each, in their order."""
    return tuple((f"covered{number}", f"clear{number}") for number in range(count))


def coverage_expression(images: Sequence[InputImage], recipes: Sequence[Recipe], key: str) -> str:
    """Return canonical JSON of an image with two bands of bytes for each image, named by `coverage_bands`.

    `covered` is 1 where every band that the recipe's formulas use is valid, `clear` where moreover every rule of the mask holds.
    Both are valid everywhere, beyond the images' edges too.

    Args:
        images: all of them have the bands and partners that their recipes need.
        recipes: as for `computed_expression`.
        key: key of the job file, for the message.

    Raises:
        JobError: the expression is longer, or nested deeper, than the service takes.
    """
    nodes = [loaded(image, recipes[image.recipe], recipes[image.recipe].bands) for image in images]
    collection = collection_graph(
        nodes, [image.recipe for image in images], lambda recipe, image: _coverage(recipes[recipe], image)
    )
    names = [name for pair in coverage_bands(len(images)) for name in pair]
    # The service composes the names of a stack's bands; their order is that of the images.
    stack = select(call("ImageCollection.toBands", collection=collection), range(len(names)), names)
    return document_of(stack, key)


def _coverage(recipe: Recipe, image: dict[str, Any]) -> dict[str, Any]:
    bands = list(dict.fromkeys(name for band in recipe.bands for name in band.formula.bands))
    mask = call("Image.mask", image=select(image, bands))
    least = call("Image.reduce", image=mask, reducer=call("Reducer.min"))
    covered = _everywhere(call("Image.gt", image1=least, image2=number(0)))
    clear = covered
    if recipe.mask:
        clear = call("Image.and", image1=covered, image2=_everywhere(keep_graph(image, recipe.mask)))
    return add_bands([select(covered, [0], ["covered"]), select(clear, [0], ["clear"])])


def _everywhere(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image that is 0 where it was masked, beyond its edges too."""
    filled = call("Image.unmask", input=image, value=number(0), sameFootprint=constant(False))
    return call("Image.toUint8", value=filled)
