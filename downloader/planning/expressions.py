"""One image computed by the service from many: the expression of `source.composite`, built without any client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from downloader.model.expression import call, canonical, checked, constant, image_load
from downloader.model.image import Band, Image, asset_id

_ARGUMENT = "_MAPPING_VAR_0_0"
_REDUCERS = {"median": "reduce.median", "mean": "reduce.mean", "mosaic": "ImageCollection.mosaic"}


def composite_expression(
    images: Sequence[str],
    *,
    reduce: str,
    mask: tuple[str, Sequence[int]] | None,
    index: tuple[str, str] | None,
) -> str:
    """Return canonical JSON of a reduced collection.

    The images are named one by one, so that the composite means the same whatever joins the collection later.

    Args:
        images: ids, in the order of time; of a mosaic the latest valid pixel is on top, as the service has it.
        reduce: `median`, `mean` or `mosaic`.
        mask: a quality band and the bits that leave a pixel out; None keeps all pixels.
        index: two bands whose normalised difference is added as band `nd`; None adds none.
    """
    loads = [image_load(image) for image in images]
    values: dict[str, Any] = {}
    collection: dict[str, Any] = call("ImageCollection.fromImages", images={"arrayValue": {"values": loads}})
    if mask is not None:
        values["masked"] = _masked(*mask)
        function = {"functionDefinitionValue": {"argumentNames": [_ARGUMENT], "body": "masked"}}
        collection = call("Collection.map", collection=collection, baseAlgorithm=function)
    values["composite"] = call(_REDUCERS[reduce], collection=collection)
    composite: dict[str, Any] = {"valueReference": "composite"}
    result = composite
    if index is not None:
        difference = call("Image.normalizedDifference", input=composite, bandNames=constant(list(index)))
        named = call("Image.select", input=difference, bandSelectors=constant([0]), newNames=constant(["nd"]))
        result = call("Image.addBands", dstImg=composite, srcImg=named)
    values["result"] = result
    return checked(canonical({"result": "result", "values": values}), "source.composite")


def _masked(band: str, bits: Sequence[int]) -> dict[str, Any]:
    """Return an image without the pixels whose quality band has any of the bits."""
    image = {"argumentReference": _ARGUMENT}
    quality = call("Image.select", input=image, bandSelectors=constant([band]))
    pattern = call("Image.constant", value=constant(sum(1 << bit for bit in set(bits))))
    found = call("Image.bitwiseAnd", image1=quality, image2=pattern)
    clear = call("Image.eq", image1=found, image2=call("Image.constant", value=constant(0)))
    return call("Image.updateMask", image=image, mask=clear)


def resample_expression(asset: str, mode: str) -> str:
    """Return canonical JSON of an image that is interpolated where another grid is asked for: `bilinear` or `bicubic`."""
    node = call("Image.resample", image=image_load(asset), mode=constant(mode))
    return canonical({"result": "0", "values": {"0": node}})


def mosaic_expression(images: Sequence[Image], bands: Sequence[str], resampling: str = "nearest") -> str:
    """Return an expression that mosaics images, the first valid pixel winning; canonical JSON.

    `ImageCollection.mosaic` puts the last on top, so they go in backwards. Bands that not all of the images have are
    mosaicked of those that have them.

    Args:
        images: the one that wins first.
        bands: that are asked for.
        resampling: how the service makes pixels of another grid.
    """
    having: dict[tuple[int, ...], list[str]] = {}
    own = [{band.id for band in image.bands} for image in images]
    for band in bands:
        which = tuple(k for k in range(len(images)) if band in own[k])
        if which:
            having.setdefault(which, []).append(band)
    parts = []
    for which, names in having.items():
        loads = [_load(images[k].id, resampling) for k in reversed(which)]
        if len(having) > 1:
            loads = [call("Image.select", input=load, bandSelectors=constant(names)) for load in loads]
        collection = call("ImageCollection.fromImages", images={"arrayValue": {"values": loads}})
        parts.append(call("ImageCollection.mosaic", collection=collection))
    node = parts[0]
    for part in parts[1:]:
        node = call("Image.addBands", dstImg=node, srcImg=part)
    return checked(canonical({"result": "0", "values": {"0": node}}), "source.group_by")


def _load(image: str, resampling: str) -> dict[str, Any]:
    load = image_load(image)
    return load if resampling == "nearest" else call("Image.resample", image=load, mode=constant(resampling))


def with_masks(bands: tuple[Band, ...], how: str) -> tuple[Band, ...]:
    """Return the bands of one grid, and behind them those of their masks: uint8, 1 valid, 0 masked.

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
    """Return canonical JSON of an expression that computes pixels and masks of one image together.

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
        values["image"] = image_load(asset_id(asset))
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
    """Return an unmasked image: 1 where a band is valid, if only in part of a coarser pixel, 0 where it is masked."""
    mask = call("Image.mask", image=_select(image, bands))
    zero = call("Image.constant", value=constant(0))
    return call("Image.toUint8", value=call("Image.gt", image1=mask, image2=zero))


def _every(images: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an image that is 1 where all are; a tree of little depth, since the service limits depth."""
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
