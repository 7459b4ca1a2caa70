"""One image computed by the service from many: the expression of `source.composite`, built without any client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from downloader.model.expression import call, canonical, checked, constant, image_load
from downloader.model.image import Image

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
