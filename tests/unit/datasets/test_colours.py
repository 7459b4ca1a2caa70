"""Colours of bands, by label and wavelength."""

from __future__ import annotations

import pytest

from downloader.datasets.colours import bands_of_colour, meant_by_colour
from downloader.datasets.facts import dataset_facts

S2, L5, L8 = "COPERNICUS/S2_SR_HARMONIZED", "LANDSAT/LT05/C02/T1_L2", "LANDSAT/LC08/C02/T1_L2"


@pytest.mark.parametrize(
    ("dataset", "colour", "bands"),
    [
        (S2, "blue", ("B2",)),
        (S2, "red", ("B4",)),
        (S2, "nir", ("B8",)),
        (S2, "rededge", ("B5", "B6", "B7", "B8A")),
        (S2, "swir1", ("B11",)),
        (S2, "swir2", ("B12",)),
        (L5, "red", ("SR_B3",)),
        (L5, "nir", ("SR_B4",)),
        (L5, "swir1", ("SR_B5",)),
        (L5, "thermal", ("ST_B6",)),
        (L8, "coastal", ("SR_B1",)),
        (L8, "blue", ("SR_B2",)),
        (L8, "red", ("SR_B4",)),
        (L8, "nir", ("SR_B5",)),
        (L8, "swir2", ("SR_B7",)),
        ("LANDSAT/LC08/C02/T1_TOA", "red", ("B4",)),
        ("MODIS/061/MOD09GA", "red", ("sur_refl_b01",)),
        ("MODIS/061/MOD09GA", "nir", ("sur_refl_b02",)),
        ("MODIS/061/MOD09GA", "swir2", ("sur_refl_b07",)),
        ("NASA/HLS/HLSS30/v002", "green", ("B3",)),
        ("NASA/HLS/HLSL30/v002", "nir", ("B5",)),
        ("COPERNICUS/S1_GRD", "red", ()),
        ("ECMWF/ERA5_LAND/DAILY_AGGR", "red", ()),
    ],
)
def test_colours(dataset, colour, bands):
    assert bands_of_colour(dataset_facts(dataset), colour) == bands


def test_quality_bands_have_no_colour():
    assert "SR_QA_AEROSOL" not in {
        b for c in ("coastal", "blue") for b in bands_of_colour(dataset_facts(L8), c)
    }


def test_colours_in_other_words():
    facts = dataset_facts(S2)
    known = [band.name for band in facts.bands]
    asked = ["NIR", "near_infrared", "Red", "red_edge", "SWIR 2", "B04", "thermal", "x"]
    assert meant_by_colour(facts, asked, known) == {
        "NIR": "nir, which is B8",
        "near_infrared": "nir, which is B8",
        "Red": "red, which is B4",
        "red_edge": "B5, B6, B7, B8A",
        "SWIR 2": "swir2, which is B12",
    }
    assert meant_by_colour(facts, ["NIR"], ["B4"]) == {}
    assert meant_by_colour(None, ["NIR"], known) == {}
