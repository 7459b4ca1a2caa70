"""Pictures inside a page: quick looks as data, small enough to be mailed."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

    from downloader.previews import Preview

__all__ = ["Figure", "data_uri", "figure"]

SIZE: Final = 640
"""Pixels along the longer side of a quick look."""

MOST_TILES: Final = 6_000
"""Tiles, over all bands, that a quick look may read: some five seconds. Of larger mosaics it is coarser."""

_SHOWN: Final = 320
"""Pixels of the page that a small picture is blown up to."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture and its words."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str
    is_coarse: bool = False
    """Whether its pixels should be seen as squares."""


def data_uri(image: Image) -> str:
    """The picture as a `data:` URL; photographs of the Earth take a fifth of a PNG as WebP."""
    from PIL import features

    kind = "WEBP" if features.check("webp") else "PNG"
    if image.mode == "LA":
        image = image.convert("RGBA")
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **({"quality": 88, "method": 4} if kind == "WEBP" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure(picture: Preview) -> Figure:
    """A quick look as the page shows it."""
    image = picture.image
    scale = max(1, _SHOWN // max(image.width, image.height))
    bands = ", ".join(picture.bands)
    how = "in red, green and blue" if len(picture.bands) == 3 else "in grey"
    where = f" of group {picture.group}" if picture.group else ""
    what = picture.what.removesuffix(", ")
    return Figure(
        data_uri(image),
        image.width * scale,
        image.height * scale,
        f"Quick look{where}, {what + ', ' if what else ''}bands {bands} {how}; transparent where nothing is stored.",
        str(picture),
        scale > 1,
    )
