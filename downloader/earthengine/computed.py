"""What the service says of an image that it computes: `value:compute` of the expression (contract §4.8)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.crs import Crs
from downloader.earthengine.catalogue import band_dtype
from downloader.earthengine.names import NO_PROJECT
from downloader.errors import JobError
from downloader.grid import AffineTransform, PixelGrid
from downloader.image import Band, Image

if TYPE_CHECKING:
    from downloader.earthengine.client import EarthEngine

__all__ = ["computed_image"]

_PRECISIONS: Final = {"int": "INT", "float": "FLOAT", "double": "DOUBLE"}


async def computed_image(client: EarthEngine, expression: str, name: str) -> Image:
    """The bands, types and grids that the service reports for an expression.

    Args:
        client: the service.
        expression: canonical JSON.
        name: what the image is called.

    Raises:
        JobError: the expression is no image, or the service refuses it, with the service's own words.
        AuthenticationError: these credentials may not compute.
    """
    path = f"projects/{client.project or NO_PROJECT}/value:compute"
    answer = await client.call("POST", path, body={"expression": json.loads(expression)}, subject=name)
    document = answer.get("result")
    if not isinstance(document, Mapping) or document.get("type") != "Image":
        kind = document.get("type") if isinstance(document, Mapping) else type(document).__name__
        raise JobError(f"source.expression: computes {kind}, and only an image has pixels")
    bands = tuple(_band(entry) for entry in document.get("bands") or ())
    if not bands:
        raise JobError("source.expression: computes an image without bands")
    return Image(name, name, bands, properties=dict(document.get("properties") or {}))


def _band(entry: Mapping[str, Any]) -> Band:
    where = f"source.expression: band {entry.get('id')}"
    kind: Mapping[str, Any] = entry.get("data_type") or {}
    precision = _PRECISIONS.get(str(kind.get("precision")))
    limits = {name: kind[name] for name in ("min", "max") if isinstance(kind.get(name), int | float)}
    dtype = band_dtype({"precision": precision, "range": limits} if limits else {"precision": precision})
    if dtype is None:
        raise JobError(f"{where}: has a type that no pixel has, {dict(kind)}")
    try:
        a, b, c, d, e, f = (float(number) for number in entry["crs_transform"])
        crs = Crs.parse(str(entry["crs"]))
        transform = AffineTransform(a, b, c, d, e, f)
    except (KeyError, TypeError, ValueError) as error:
        raise JobError(f"{where}: its grid cannot be read ({error})") from None
    size: list[Any] = list(entry.get("dimensions") or ())
    is_bounded = len(size) == 2 and all(isinstance(n, int | float) and 0 < n < math.inf for n in size)
    width, height = (int(size[0]), int(size[1])) if is_bounded else (1, 1)
    grid = PixelGrid(crs, transform, width, height)
    return Band(str(entry["id"]), np.dtype(dtype), grid, is_bounded=is_bounded)
