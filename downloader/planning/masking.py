"""The service's own masks as bands beside the pixels: which there are, and the expression that brings both at once.

An answer in NPY has no mask: masked pixels come as some number (contract §4.3). So `mosaic.mask` asks for the mask as
further bands of the same request. Pixels are what `getPixels` gives: the expression only selects them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from downloader.expression import call, canonical, constant
from downloader.image import Band

__all__ = ["masked_expression", "with_masks"]

_PUBLIC: Final = ("projects/earthengine-public/assets/", "projects/earthengine-legacy/assets/")
"""What an expression leaves out before the names of these assets (contract §1.3)."""


def with_masks(bands: tuple[Band, ...], how: str) -> tuple[Band, ...]:
    """The bands of one grid, and behind them those of their masks: uint8, 1 valid, 0 masked.

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


@lru_cache(maxsize=4096)
def masked_expression(
    asset: str, expression: str, bands: tuple[str, ...], masks: tuple[tuple[str, tuple[str, ...]], ...]
) -> str:
    """Canonical JSON of an expression that computes pixels and masks of one image together.

    Args:
        asset: full name of the image; empty where `expression` computes it.
        expression: serialised; empty where an asset is read.
        bands: ids of the pixels asked for, as they are.
        masks: (id, bands that it tells of) of the masks asked for.
    """
    values: dict[str, Any] = {}
    if expression:
        document = json.loads(expression)
        values = dict(document["values"])  # numbered, so that no name below is among them
        image: dict[str, Any] = {"valueReference": document["result"]}
    else:
        values["image"] = call("Image.load", id=constant(_load_id(asset)))
        image = {"valueReference": "image"}
    parts = [_select(image, bands)] if bands else []
    single = [(name, of[0]) for name, of in masks if len(of) == 1]
    if single:
        valid = _valid(image, [band for _, band in single])
        parts.append(_select(valid, [band for _, band in single], [name for name, _ in single]))
    for name, of in masks:
        if len(of) > 1:
            parts.append(_select(_every([_valid(image, [band]) for band in of]), [0], [name]))
    node = parts[0]
    for part in parts[1:]:
        node = call("Image.addBands", dstImg=node, srcImg=part)
    values["result"] = node
    return canonical({"result": "result", "values": values})


def _valid(image: dict[str, Any], bands: Sequence[str]) -> dict[str, Any]:
    """1 where a band is valid, if only in part of a coarser pixel, and 0 where it is masked; not masked itself."""
    mask = call("Image.mask", image=_select(image, bands))
    zero = call("Image.constant", value=constant(0))
    return call("Image.toUint8", value=call("Image.gt", image1=mask, image2=zero))


def _every(images: list[dict[str, Any]]) -> dict[str, Any]:
    """1 where all are; a tree of little depth, as the service bounds it."""
    while len(images) > 1:
        pairs = zip(images[::2], images[1::2], strict=False)
        joined = [call("Image.and", image1=one, image2=other) for one, other in pairs]
        images = joined + images[len(joined) * 2 :]
    return call("Image.toUint8", value=images[0])


def _select(
    image: dict[str, Any], bands: Sequence[str | int], names: Sequence[str] | None = None
) -> dict[str, Any]:
    renamed = {} if names is None else {"newNames": constant(list(names))}
    return call("Image.select", input=image, bandSelectors=constant(list(bands)), **renamed)


def _load_id(name: str) -> str:
    for prefix in _PUBLIC:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
