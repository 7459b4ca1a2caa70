"""The land compresses as real scenes do: figures of speed and of sizes on disk rest on it."""

from __future__ import annotations

import numpy as np
import pytest
from numcodecs.blosc import Blosc

from earthengine_emulator.data import built_in
from tests.oracle import PUBLIC, QUICKSTART

CODEC = Blosc("lz4", 5, Blosc.BITSHUFFLE)
SURFACE = f"{PUBLIC}COPERNICUS/S2_SR_HARMONIZED/20170401T184921_20170401T184921_T10SEG"
CATALOGUE = built_in.catalogue()


def share_left(name, band, step):
    """Bytes that compression leaves of a byte, of every `step`-th chunk of 256×256 along both axes."""
    image = CATALOGUE.get(name)
    number = [one.id for one in image.bands].index(band)
    lattice = image.bands[number].lattice
    raw = left = 0
    for row in range(0, lattice.height - 256, 256 * step):
        for column in range(0, lattice.width - 256, 256 * step):
            pixels, _ = image.source.read(number, column, row, 256, 256)
            raw += pixels.nbytes
            left += len(CODEC.encode(np.ascontiguousarray(pixels)))
    return left / raw


@pytest.mark.parametrize("band", ["B2", "B3", "B4", "B8"])
def test_bands_of_reflectance_leave_60_to_66_percent(band):
    assert 0.60 <= share_left(QUICKSTART, band, 5) <= 0.66


@pytest.mark.parametrize(
    ("name", "band", "low", "high"),
    [(SURFACE, "SCL", 0.05, 0.12), (f"{PUBLIC}EMULATOR/DEGREES", "elevation", 0.25, 0.40)],
)
def test_classes_and_elevations_have_no_noise(name, band, low, high):
    assert low <= share_left(name, band, 3) <= high
