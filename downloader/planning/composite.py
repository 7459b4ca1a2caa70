"""One image computed by the service from many: the expression of `source.composite`, built without any client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from downloader.expression import call, canonical, constant

__all__ = ["composite_expression", "resample_expression"]

_ARGUMENT = "_MAPPING_VAR_0_0"
_REDUCERS = {"median": "reduce.median", "mean": "reduce.mean", "mosaic": "ImageCollection.mosaic"}


def composite_expression(
    images: Sequence[str],
    *,
    reduce: str,
    bands: Sequence[str] | None,
    mask: tuple[str, Sequence[int]] | None,
    index: tuple[str, str] | None,
) -> str:
    """Canonical JSON of a reduced collection.

    The images are named one by one, so that the composite means the same whatever joins the collection later.

    Args:
        images: ids, in the order of time; of a mosaic the latest valid pixel is on top, as the service has it.
        reduce: `median`, `mean` or `mosaic`.
        bands: to keep; None keeps all.
        mask: a quality band and the bits that leave a pixel out; None keeps all pixels.
        index: two bands whose normalised difference is added as `nd`; alone where `bands` is empty.
    """
    loads = [call("Image.load", id=constant(image)) for image in images]
    values: dict[str, Any] = {}
    collection: dict[str, Any] = call("ImageCollection.fromImages", images={"arrayValue": {"values": loads}})
    if mask is not None:
        values["masked"] = _masked(*mask)
        function = {"functionDefinitionValue": {"argumentNames": [_ARGUMENT], "body": "masked"}}
        collection = call("Collection.map", collection=collection, baseAlgorithm=function)
    values["composite"] = call(_REDUCERS[reduce], collection=collection)
    composite: Mapping[str, Any] = {"valueReference": "composite"}
    result = (
        composite
        if bands is None
        else call("Image.select", input=composite, bandSelectors=constant(list(bands)))
    )
    if index is not None:
        difference = call("Image.normalizedDifference", input=composite, bandNames=constant(list(index)))
        named = call("Image.select", input=difference, bandSelectors=constant([0]), newNames=constant(["nd"]))
        result = (
            named if bands is not None and not bands else call("Image.addBands", dstImg=result, srcImg=named)
        )
    values["result"] = result
    return canonical({"result": "result", "values": values})


def _masked(band: str, bits: Sequence[int]) -> dict[str, Any]:
    """An image without the pixels whose quality band has any of the bits."""
    image = {"argumentReference": _ARGUMENT}
    quality = call("Image.select", input=image, bandSelectors=constant([band]))
    pattern = call("Image.constant", value=constant(sum(1 << bit for bit in set(bits))))
    found = call("Image.bitwiseAnd", image1=quality, image2=pattern)
    clear = call("Image.eq", image1=found, image2=call("Image.constant", value=constant(0)))
    return call("Image.updateMask", image=image, mask=clear)


def resample_expression(asset: str, mode: str) -> str:
    """Canonical JSON of an image that is interpolated where another grid is asked for: `bilinear` or `bicubic`."""
    node = call("Image.resample", image=call("Image.load", id=constant(asset)), mode=constant(mode))
    return canonical({"result": "0", "values": {"0": node}})
