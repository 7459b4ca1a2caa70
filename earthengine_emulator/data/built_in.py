"""The emulator's own catalogue."""

from __future__ import annotations

from earthengine_emulator.catalogue.catalogue import Catalogue
from earthengine_emulator.catalogue.model import PUBLIC, Container
from earthengine_emulator.data import collections, sentinel2, synthetic


def catalogue() -> Catalogue:
    """Return a catalogue of all assets whose pixels are formulas."""
    built = Catalogue([Container(f"{PUBLIC}LANDSAT", "FOLDER")])
    for module in (sentinel2, synthetic, collections):
        for asset in module.assets():
            built.add(asset)
    return built
