"""The oracle against itself: whole windows against the formula in plain integers."""

from __future__ import annotations

import numpy as np
import pytest

from tests import oracle

FOLDER = f"{oracle.PUBLIC}EMULATOR/"
EXAMPLES = [
    (oracle.QUICKSTART, "B4", 4075, 5111),
    (oracle.QUICKSTART, "B8", 10960, 10970),
    (oracle.QUICKSTART_B, "B11", 31, 2900),
    (oracle.QUICKSTART, "QA20", 0, 0),
    (oracle.QUICKSTART_B, "QA60", 1815, 40),
    (f"{oracle.PUBLIC}COPERNICUS/S2_SR_HARMONIZED/20170401T184921_20170401T184921_T10SFG", "SCL", 77, 99),
    *[(f"{FOLDER}MASKED", kind, 140, 30) for kind in oracle.ALL_KINDS],
    (f"{FOLDER}SERIES/20150101", "nir", 280, 240),
    (f"{FOLDER}GRID", "b2", 2990, 1990),
    (f"{oracle.PUBLIC}LANDSAT/LC08/C02/T1_L2/LC08_043034_20190112", "SR_B5", 170, 90),
    (f"{oracle.PUBLIC}LANDSAT/LC08/C02/T1_L2/LC08_043034_20190112", "QA_PIXEL", 170, 90),
    (f"{oracle.PUBLIC}LANDSAT/LT05/C02/T1_L2/LT05_042034_20090107", "QA_PIXEL", 400, 900),
    (f"{oracle.PUBLIC}LANDSAT/LT05/C02/T1_L2/LT05_042034_20090107", "QA_RADSAT", 400, 900),
    (f"{oracle.PUBLIC}LANDSAT/LC08/C02/T1_L2/LC08_044034_20190103", "ST_B10", 400, 900),
    (
        f"{oracle.PUBLIC}GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/20170406T184921_20170406T184921_T10SEG",
        "cs",
        8,
        9,
    ),
    (f"{oracle.PUBLIC}COPERNICUS/DEM/GLO30/Copernicus_DSM_COG_10_N37_00_W122_00_DEM", "DEM", 3590, 40),
    (f"{oracle.PUBLIC}ECMWF/ERA5/DAILY/20200101", "total_precipitation", 300, 200),
]


@pytest.mark.parametrize(("image", "band", "column", "row"), EXAMPLES)
def test_windows_are_made_of_pixels(image, band, column, row):
    window = oracle.oracle_window(image, band, column, row, 9, 8, fill=0)
    for r in range(8):
        for c in range(9):
            value = oracle.pixel(image, band, column + c, row + r)
            assert window[r, c] == np.asarray(0 if value is None else value).astype(window.dtype)


def test_masked_and_valid_pixels_are_both_met():
    assert {oracle.pixel(f"{FOLDER}MASKED", "u2", c, 300) is None for c in (0, 100, 200, 1200)} == {
        True,
        False,
    }
