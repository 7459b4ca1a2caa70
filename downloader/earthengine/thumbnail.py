"""Fetch a thumbnail, a stretched PNG that the service makes of an image, as the API's quickstart does (docs/contract.md §4.6)."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from downloader.datasets.colours import meant_by_colour
from downloader.datasets.facts import dataset_facts
from downloader.earthengine import error_table
from downloader.earthengine.documents import parse_image
from downloader.earthengine.geojson import plain_geometry
from downloader.earthengine.names import asset_name
from downloader.errors import JobError, TileError
from downloader.model.image import unknown_bands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.earthengine.client import EarthEngine


_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_HEADROOM_BYTES: Final = 2**17
_COLOUR: Final = re.compile(r"#?(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{3})|[A-Za-z]+")

MAX_SIDE: Final = 4096
"""Most pixels along a side: four channels of a square of them are as much as the service sends in one answer."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Mapping of numbers to colours: v' = clamp((v − min) / (max − min), 0, 1), then v' ** (1 / gamma)."""

    low: tuple[float, ...] = (0.0,)
    """Value shown black: one for all bands, or one for each."""
    high: tuple[float, ...] = (3000.0,)
    """Value shown white, or the last colour of the palette."""
    gamma: float | None = None
    """Above 1 brightens; None is 1."""
    palette: tuple[str, ...] = ()
    """Colours of one band, from low to high: RRGGBB or CSS names."""

    def options(self, bands: int) -> dict[str, Any]:
        """Return `visualizationOptions` of a request for so many bands. Raises JobError where it cannot be applied to them."""
        if bands not in {1, 3}:
            raise JobError(f"bands: a thumbnail shows one band, or three as red, green and blue, not {bands}")
        for what, values in (("min", self.low), ("max", self.high)):
            if len(values) not in {1, bands}:
                raise JobError(
                    f"{what}: give one value, or one for each of the {bands} bands, not {len(values)}"
                )
            if not all(map(math.isfinite, values)):
                raise JobError(f"{what}: needs a finite number")
        low, high = (values * (bands // len(values)) for values in (self.low, self.high))
        pairs = list(zip(low, high, strict=True))
        if any(low == high for low, high in pairs):
            raise JobError("min and max: are equal, which leaves nothing between black and white")
        options: dict[str, Any] = {
            "ranges": [{"min": _plain(low), "max": _plain(high)} for low, high in pairs]
        }
        if len(set(pairs)) == 1:
            del options["ranges"][1:]
        if self.gamma is not None:
            if not (self.gamma > 0 and math.isfinite(self.gamma)):
                raise JobError(f"gamma: {self.gamma:g} is not above 0")
            options["gamma"] = {"value": self.gamma}
        if self.palette:
            if bands != 1:
                raise JobError(
                    f"palette: colours one band, and there are {bands}; leave it out, or name one band"
                )
            if (wrong := next((one for one in self.palette if not _COLOUR.fullmatch(one)), None)) is not None:
                raise JobError(
                    f"palette: {wrong[:40]!r} is no colour; write RRGGBB, such as 1a9850, or a CSS name"
                )
            options["paletteColors"] = [colour.removeprefix("#") for colour in self.palette]
        return options


async def fetch_thumbnail(
    client: EarthEngine,
    asset: str,
    bands: Sequence[str] | None,
    stretch: Stretch,
    *,
    size: int = 256,
    region: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a PNG of `size` × `size` pixels of the box around an image's footprint, or around `region`.

    Args:
        client: who asks.
        asset: id or name of an image.
        bands: one, or three as red, green and blue; None takes the first three, or the first.
        stretch: how numbers become colours.
        size: pixels along each side.
        region: GeoJSON, in place of the footprint.

    Raises:
        JobError: it is no image or has no footprint, a band that it lacks, a stretch that is none.
        AuthenticationError: it may not be read.
        StoppedError: the service did not answer for too long.
    """
    if not 1 <= size <= MAX_SIDE:
        raise JobError(f"size: {size} pixels; take 1 to {MAX_SIDE}")
    name = asset_name(asset)
    document = await client.call("GET", name, subject=asset)
    image = parse_image(document, name, bands or ())
    known = [band.id for band in image.bands]
    names = list(bands or known[: 3 if len(known) > 2 else 1])
    if unknown := [name for name in names if name not in known]:
        meant = meant_by_colour(dataset_facts(image.id), unknown, known)
        raise unknown_bands(image.id, unknown, known, meant)
    options = stretch.options(len(names))
    if region is None:
        region = document.get("geometry")
        if not isinstance(region, dict):
            raise JobError(f"{asset}: the catalogue states no footprint; name a region to show")
    body = {
        "fileFormat": "PNG",
        "bandIds": names,
        "region": plain_geometry(region, f"{asset}: region"),
        "grid": {"dimensions": {"width": size, "height": size}},
        "visualizationOptions": options,
    }
    if client.workload_tag:
        body["workloadTag"] = client.workload_tag

    async def attempt() -> bytes:
        reply = await client.exchange(
            "POST",
            client.url(client.high_volume, f"{name}:getPixels"),
            body=body,
            max_bytes=5 * size * size + _HEADROOM_BYTES,
            timeouts=client.timeouts,
        )
        png = bytes(reply.body)
        if png_size(png) != (size, size):
            raise TileError(error_table.unusable(reply, f"no PNG of {size} × {size} pixels"))
        return png

    return await client.persist(attempt, f"{asset}: its thumbnail")


def png_size(content: bytes) -> tuple[int, int] | None:
    """Return (width, height) as a PNG's header states them; None if it is no whole PNG."""
    if not (content.startswith(_MAGIC) and content[12:16] == b"IHDR" and content.endswith(b"IEND\xaeB`\x82")):
        return None
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _plain(value: float) -> float:
    """Return a whole number without a fraction, as the quickstart writes them."""
    return int(value) if value == int(value) else value
