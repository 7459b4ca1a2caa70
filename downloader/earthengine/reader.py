"""From a listing's documents to images."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downloader.earthengine.catalogue import parse_image

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from downloader.image import Band, Image

__all__ = ["ImageReader"]


class ImageReader:
    """Makes images of a listing's documents, sharing what they have in common.

    Thousands of images have a handful of band lists, which take nine tenths of the time and memory of reading them.
    """

    _KEPT: Final = 1_000

    def __init__(
        self,
        bands: Iterable[str] | None = None,
        keep: Collection[str] | None = None,
        *,
        footprints: bool = False,
    ) -> None:
        """Read images.

        Args:
            bands: those that must be usable, as for `EarthEngineCatalogue.image`.
            keep: properties to keep; None keeps all.
            footprints: whether to keep the images' outlines.
        """
        self._wanted = None if bands is None else frozenset(bands)
        self._keep = keep
        self._footprints = footprints
        self._known: dict[str, tuple[Band, ...]] = {}

    def read(self, document: Mapping[str, Any]) -> Image:
        """The image of a document.

        Raises:
            JobError: one of the wanted bands cannot be used.
        """
        name = str(document.get("name") or "")
        key = json.dumps(document.get("bands"))
        bands = self._known.get(key)
        # listImages may leave the type out, which is clear (contract §3.5).
        plain = {**document, "type": "IMAGE", "bands": [] if bands is not None else document.get("bands")}
        if self._keep is not None:
            properties = document.get("properties")
            own = properties if isinstance(properties, dict) else {}
            plain["properties"] = {key: own[key] for key in self._keep if key in own}
        image = parse_image(plain, name, self._wanted)
        if self._footprints and isinstance(document.get("geometry"), dict):
            image = replace(image, footprint=document["geometry"])
        if bands is not None:
            return replace(image, bands=bands)
        if len(self._known) < self._KEPT:
            self._known[key] = image.bands
        return image
