"""Bands of many images that are made in one pass: the pixels that each has by itself."""

from __future__ import annotations

import numpy as np
import pytest

from earthengine_emulator.data.built_in import catalogue
from earthengine_emulator.data.sentinel2 import SURFACE, granules
from tests.oracle import PUBLIC


@pytest.mark.parametrize(
    "window", [(1000, 2000, 40, 50), (0, 0, 1, 1), (10970, 10940, 10, 40), (31, 31, 2, 2)]
)
@pytest.mark.parametrize("bands", [("B4", "B8"), ("B11", "SCL"), ("B1",)])
def test_bands_of_many_images_are_those_of_each(window, bands):
    built = catalogue()
    names = [image.name for image in granules(SURFACE) if image.name.endswith("10SEG")][:5]
    images = [built.get(name) for name in names]
    column, row, width, height = (max(0, value // (6 if bands == ("B1",) else 2)) for value in window)
    window = (column, row, max(1, width), max(1, height))
    pairs = []
    for image in images:
        index = {band.id: k for k, band in enumerate(image.bands)}
        pairs += [(image.source, index[band]) for band in bands]
    kinds: dict[object, list] = {}
    for source, band in pairs:
        kinds.setdefault(source.alike(band), []).append((source, band))
    assert None not in kinds
    for own in kinds.values():
        made = own[0][0].together(own, window)
        for k, (source, band) in enumerate(own):
            alone, valid = source.read(band, *window)
            assert valid is None
            np.testing.assert_array_equal(made[..., k], alone)


def test_a_band_with_a_mask_is_made_alone():
    image = catalogue().get(f"{PUBLIC}EMULATOR/PASSES/20200110T183000")
    assert image.source.alike(0) is None
