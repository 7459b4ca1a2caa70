"""The emulator's own catalogue."""

from __future__ import annotations

from functools import partial

from earthengine_emulator.catalogue.catalogue import Catalogue
from earthengine_emulator.catalogue.model import PUBLIC, Container
from earthengine_emulator.data import collections, gridded, landsat, sentinel1, sentinel2, synthetic, yearly


def catalogue() -> Catalogue:
    """Return a catalogue of all assets whose pixels are formulas; images of large collections are made when they are asked for."""
    built = Catalogue([Container(f"{PUBLIC}LANDSAT", "FOLDER")])
    for module in (sentinel2, sentinel1, synthetic, collections, landsat, gridded, yearly):
        for asset in module.assets():
            built.add(asset)
    for name in (sentinel2.SURFACE, sentinel2.TOP, sentinel2.SCORES):
        built.add_later(f"{PUBLIC}{name}", partial(sentinel2.granules, name))
    for sensor in landsat.SENSORS:
        built.add_later(f"{PUBLIC}LANDSAT/{sensor}/C02/T1_L2", partial(landsat.scenes, sensor))
    built.add_later(sentinel1.COLLECTION, sentinel1.scenes)
    built.add_later(gridded.DEM, gridded.tiles)
    built.add_later(gridded.ERA5, gridded.days)
    built.add_later(yearly.MODIS, yearly.days)
    built.add_later(yearly.EMBEDDINGS, yearly.years)
    built.add_later(synthetic.SERIES, synthetic.series)
    return built
