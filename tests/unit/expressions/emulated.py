"""Small images of numpy arrays, and what the emulator computes of them: the service's side of the tests of graphs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from earthengine_emulator.catalogue.catalogue import Catalogue, asset_name
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Image, Lattice
from earthengine_emulator.compute import functions
from earthengine_emulator.compute.expression import Expression
from earthengine_emulator.pixels import sampling
from earthengine_emulator.pixels.pyramid import Pyramids

CRS = "EPSG:32610"
TIME = "2024-01-01T00:00:00Z"


@dataclass(frozen=True)
class Pixels:
    """Masked arrays as the source of an image."""

    bands: tuple[np.ma.MaskedArray, ...]

    def read(self, band, column, row, width, height):
        part = self.bands[band][row : row + height, column : column + width]
        return np.ma.getdata(part), ~np.ma.getmaskarray(part)


def emulated_image(name: str, bands: dict[str, np.ma.MaskedArray]) -> Image:
    """An asset with these bands, 10 m apart at the origin of its zone."""
    height, width = next(iter(bands.values())).shape
    lattice = Lattice(CRS, width, height, (10, 0, 0, 0, -10, 0))
    kinds = {band: PIXEL_TYPES[values.dtype.str[1:]] for band, values in bands.items()}
    return Image(
        asset_name(name),
        tuple(Band(band, kinds[band], lattice) for band in bands),
        Pixels(tuple(bands.values())),
        TIME,
    )


def compute(
    expression: str, images: dict[str, dict[str, np.ma.MaskedArray]], grid: Lattice | None = None
) -> dict[str, np.ma.MaskedArray]:
    """Every band of a computed image, on the grid of the images or another."""
    library = functions.library(Catalogue(emulated_image(name, bands) for name, bands in images.items()))
    result = Expression(json.loads(expression), library).value()
    assert isinstance(result, Image)
    height, width = next(iter(next(iter(images.values())).values())).shape
    grid = grid or Lattice(CRS, width, height, (10, 0, 0, 0, -10, 0))
    found = {}
    for place, band in enumerate(result.bands):
        values, valid = sampling.reader(Pyramids(), result, place, grid).rows(0, grid.height)
        mask = False if valid is None else ~valid
        found[band.id] = np.ma.array(values.astype(band.type.dtype), mask=np.broadcast_to(mask, values.shape))
    return found
