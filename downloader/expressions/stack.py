"""Many images in one answer: their bands behind one another, under short names of our own."""

from __future__ import annotations

from functools import lru_cache

from downloader.expressions.mask_bands import with_validity
from downloader.model.expression import add_bands, document_of, graph_of, image_load, select


@lru_cache(maxsize=4096)
def pinned_expression(asset: str, update_time: str) -> str:
    """Return canonical JSON of an image as it was at an update time; an empty time leaves it open."""
    return document_of(image_load(asset, update_time), "source")


@lru_cache(maxsize=64)
def stacked_expression(
    images: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...],
    bands: tuple[str, ...],
    masks: tuple[tuple[str, tuple[str, ...]], ...] = (),
    validity: tuple[tuple[str, tuple[str, ...]], ...] = (),
) -> str:
    """Return canonical JSON of an image of bands of images, and of their masks; what they share stands once.

    The last few are kept: places that have the same images ask for the same.

    Args:
        images: (serialised expression, bands that it has and are wanted, their names in the stack) of each; no two names
            are the same. Bands keep their own projections: the request's grid pulls each.
        bands: names in the stack that are asked for.
        masks: (name, names in the stack of the bands that it tells of) of the masks asked for.
        validity: (name, up to eight names) of the bytes asked for whose bit k tells of the k-th band.

    Raises:
        JobError: it is longer, or nested deeper, than the service takes.
    """
    parts = []
    for expression, own, names in images:
        graph = graph_of(expression)
        parts.append(graph if own == names else select(graph, own, names))
    key = "request.depth" if len(images) > 1 else "mosaic.mask"
    return document_of(with_validity(add_bands(parts), bands, masks, validity), key)
