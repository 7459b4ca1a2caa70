"""Measure how much of the region each image covers and how much of that is clear, many images in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from downloader.errors import JobError, TileError
from downloader.expressions.coverage_stack import coverage_bands, coverage_expression
from downloader.expressions.recipe import InputImage, Recipe
from downloader.flow.concurrent import for_each
from downloader.model.image import Image
from downloader.planning import BandType, PixelRequest
from downloader.planning.image_shares import CoarseGrid, ImageShare
from downloader.protocols import Catalogue

_IMAGES: Final = 64
"""Images of one request: 128 bands of bytes, a fifth of the values that the service computes at once."""

_BYTE: Final = np.dtype("u1")


async def measure(
    catalogue: Catalogue,
    images: Sequence[tuple[Image, InputImage]],
    recipes: Sequence[Recipe],
    coarse: CoarseGrid,
    key: str,
    known: Mapping[str, ImageShare] | None = None,
) -> dict[str, ImageShare]:
    """Return image id → its shares of the region.

    Args:
        catalogue: the service.
        images: each with its graph.
        recipes: bands and masks that are counted.
        coarse: grid and weights.
        key: key of the job file, for messages.
        known: shares that were counted before at the same scale; those of images that did not change are not asked for again.

    Raises:
        JobError: the service refuses the expression, or cannot compute it for one image.
        AuthenticationError, StoppedError: as `Catalogue.pixels`.
    """
    found = {
        image.id: known[image.id]
        for image, _ in images
        if known and image.id in known and known[image.id].update_time == image.update_time
    }
    asked = [pair for pair in images if pair[0].id not in found]
    count = -(-len(asked) // _IMAGES)
    batches = [asked[number::count] for number in range(count)]

    async def ask(batch: Sequence[tuple[Image, InputImage]]) -> None:
        names = coverage_bands(len(batch))
        request = PixelRequest(
            "",
            coarse.grid,
            tuple(BandType(name, _BYTE) for pair in names for name in pair),
            coverage_expression([graph for _, graph in batch], recipes, key),
        )
        try:
            pixels = await catalogue.pixels(request, f"cover of {batch[0][0].id} and others")
        except TileError as error:
            if len(batch) == 1:
                raise JobError(f"{batch[0][0].id} cannot be measured: {error}", key=key) from error
            for half in (batch[::2], batch[1::2]):
                await ask(half)
            return
        for (image, _), (covered, clear) in zip(batch, names, strict=True):
            found[image.id] = coarse.share((image.id, image.update_time), pixels[covered], pixels[clear])

    await for_each(batches, ask)
    return {image.id: found[image.id] for image, _ in images}
