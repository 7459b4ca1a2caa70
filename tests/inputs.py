"""Images as inputs of what is computed."""

from __future__ import annotations

from collections.abc import Mapping

from downloader.expressions.recipe import InputImage
from downloader.model.expression import image_load


def input_image(
    asset: str,
    update_time: str = "",
    *,
    partners: Mapping[str, tuple[str, str]] | None = None,
    recipe: int = 0,
    lacks: frozenset[str] = frozenset(),
) -> InputImage:
    """The version of an asset that has this update time; `partners` are (id, update time) by collection."""
    loads = {collection: image_load(*which) for collection, which in (partners or {}).items()}
    return InputImage(image_load(asset, update_time), loads, recipe, lacks)
