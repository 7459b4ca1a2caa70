"""Previews as `data:` URLs, small enough to be mailed within a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from downloader.previews import Preview


SIZE: Final = 640
"""Pixels along the longer side of a preview."""

MOST_TILES: Final = 6_000
"""Tiles, over all bands, that a preview may read: some five seconds. A larger mosaic is shown coarser."""

_SHOWN: Final = 320
"""Pixels on the page that a small picture is enlarged to."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its caption."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str
    is_coarse: bool = False
    """True if its pixels are shown as squares."""


def figure(picture: Preview) -> Figure:
    """Return a preview as the page shows it; as WebP it takes a fifth of a PNG."""
    image, buffer = picture.image, io.BytesIO()
    image.save(buffer, format="WEBP", quality=88, method=4)
    scale = max(1, _SHOWN // max(image.width, image.height))
    bands = ", ".join(picture.bands)
    how = "in red, green and blue" if len(picture.bands) == 3 else "in grey"
    where = f" of group {picture.group}" if picture.group else ""
    what = picture.what.removesuffix(", ")
    return Figure(
        f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        image.width * scale,
        image.height * scale,
        f"Quick look{where}, {what + ', ' if what else ''}bands {bands} {how}; transparent where nothing is stored.",
        str(picture),
        scale > 1,
    )
