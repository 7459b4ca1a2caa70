"""Several images as one, mosaicked by the service: the first valid pixel wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from downloader.expression import call, canonical, constant
from downloader.image import Image

__all__ = ["mosaic_expression"]


def mosaic_expression(images: Sequence[Image], bands: Sequence[str], resampling: str = "nearest") -> str:
    """An expression that mosaics images, the first valid pixel winning; canonical JSON.

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
    return canonical({"result": "0", "values": {"0": node}})


def _load(image: str, resampling: str) -> dict[str, Any]:
    load = call("Image.load", id=constant(image))
    return load if resampling == "nearest" else call("Image.resample", image=load, mode=constant(resampling))
