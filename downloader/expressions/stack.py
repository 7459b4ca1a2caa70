"""Many images in one answer: their bands behind one another, under short names of our own."""

from __future__ import annotations

from collections.abc import Sequence

from downloader.model.expression import add_bands, document_of, graph_of, image_load, select


def pinned_expression(asset: str, update_time: str) -> str:
    """Return canonical JSON of an image as it was at an update time; an empty time leaves it open."""
    return document_of(image_load(asset, update_time), "source")


def stacked_expression(images: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    """Return canonical JSON of an image that has the bands of all images, in their order; what they share stands once.

    Args:
        images: (serialised expression, bands that it has and are wanted, their names in the stack) of each; no two names
            are the same. Bands keep their own projections: the request's grid pulls each.

    Raises:
        JobError: it is longer, or nested deeper, than the service takes.
    """
    parts = [select(graph_of(expression), own, names) for expression, own, names in images]
    return document_of(add_bands(parts), "request.depth")
