"""Masks as bands: their names, and the graph that computes pixels and masks of an image together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from downloader.model.expression import add_bands, call, joined_by, number, select
from downloader.model.image import Band


def with_masks(bands: tuple[Band, ...], how: str) -> tuple[Band, ...]:
    """Return the bands of one grid, followed by those of their masks: uint8, 1 valid, 0 masked.

    Args:
        bands: of the source.
        how: `none`; `per-band`, which adds `B2_mask` for `B2`; `any`, which adds one `mask` that is 0 wherever one of
            the bands is masked. A name that a band has already gets a trailing `_`.
    """
    if how == "none" or not bands:
        return bands
    names = {band.id for band in bands}

    def mask(name: str, of: tuple[Band, ...]) -> Band:
        while name in names:
            name += "_"
        names.add(name)
        return Band(name, np.dtype("u1"), of[0].grid, mask_of=tuple(band.id for band in of))

    if how == "any":
        return (*bands, mask("mask", bands))
    return (*bands, *(mask(f"{band.id}_mask", (band,)) for band in bands))


def with_validity(
    image: dict[str, Any],
    bands: Sequence[str],
    masks: Sequence[tuple[str, tuple[str, ...]]],
    validity: Sequence[tuple[str, tuple[str, ...]]] = (),
) -> dict[str, Any]:
    """Return a node of the bands of an image with what tells where they are valid.

    Masks of as many bands are computed together, band by band, however many there are. No two share a band.

    Args:
        image: graph of the image.
        bands: ids of the pixels asked for, as they are.
        masks: (id, bands that it tells of) of the masks asked for.
        validity: (id, up to eight bands) of the bytes asked for whose bit k tells of the k-th band.
    """
    parts = [select(image, bands)] if bands else []
    for told, joined in ((masks, _every), (validity, _packed)):
        for count in dict.fromkeys(len(of) for _, of in told):
            own = [(name, of) for name, of in told if len(of) == count]
            places = [str(place) for place in range(len(own))]
            valid = [
                select(_valid(image, one), one, places) for one in zip(*(of for _, of in own), strict=True)
            ]
            parts.append(select(joined(valid), places, [name for name, _ in own]))
    return add_bands(parts)


def _valid(image: dict[str, Any], bands: Sequence[str]) -> dict[str, Any]:
    """Return an unmasked image: 1 where a band is valid, if only in part of a coarser pixel, 0 where it is masked."""
    mask = call("Image.mask", image=select(image, bands))
    return call("Image.toUint8", value=call("Image.gt", image1=mask, image2=number(0)))


def _packed(images: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an unmasked byte whose bit k is that of the k-th image, for each of their bands."""
    weighed = [
        call("Image.multiply", image1=image, image2=number(1 << place)) for place, image in enumerate(images)
    ]
    return call("Image.toUint8", value=joined_by("Image.add", weighed))


def _every(images: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an image that is 1 where all are, for each of their bands."""
    return call("Image.toUint8", value=joined_by("Image.and", images)) if len(images) > 1 else images[0]
