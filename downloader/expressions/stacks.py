"""Stacks: many images in one answer, their bands side by side under fixed names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from downloader.model.expression import add_bands, select


def stack_name(slice_: int, band: int) -> str:
    """Return the name of a band in a stack: `s0b0` is the first band of the first image."""
    return f"s{slice_}b{band}"


def stack_graph(images: Sequence[dict[str, Any]], bands: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the graph of one image that has the bands of all images, in order.

    Args:
        images: graphs of the images.
        bands: of each image the names of the bands to take.
    """
    return add_bands(
        [
            select(image, names, [stack_name(number, position) for position in range(len(names))])
            for number, (image, names) in enumerate(zip(images, bands, strict=True))
        ]
    )
