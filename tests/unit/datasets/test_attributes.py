"""CF attributes made of the catalogue's facts."""

from __future__ import annotations

import json
import zipfile
from contextlib import nullcontext
from importlib.resources import files

import pytest

from downloader.datasets.attributes import band_attributes, dataset_attributes, udunits
from downloader.datasets.facts import BandFacts, dataset_facts


def test_a_reflectance_band():
    band = dataset_facts("LANDSAT/LC08/C02/T1_L2").band("SR_B4")
    assert band_attributes(band) == {
        "long_name": "Band 4 (red) surface reflectance",
        "scale_factor": 2.75e-05,
        "add_offset": -0.2,
        "center_wavelength": 0.655,
    }
    assert "scale_factor" not in band_attributes(band, physical=True)


def test_classes_become_flag_values():
    found = band_attributes(dataset_facts("COPERNICUS/S2_SR_HARMONIZED").band("SCL"))
    assert found["flag_values"] == list(range(1, 12))
    assert len(found["flag_meanings"].split()) == 11
    assert "Vegetation" in found["flag_meanings"].split()


def test_bits_become_masks_and_values():
    found = band_attributes(dataset_facts("LANDSAT/LC08/C02/T1_L2").band("QA_PIXEL"))
    assert len(found["flag_masks"]) == len(found["flag_values"]) == len(found["flag_meanings"].split())
    assert all(
        value & ~mask == 0 for mask, value in zip(found["flag_masks"], found["flag_values"], strict=True)
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("K", "K"), ("&deg;C", "degC"), ("Dimensionless", "1"), ("W/m^2", "W/m2"), ("kg m^-2 s^-2", "kg m-2 s-2"),
        ("W m^-2 sr^-1 &micro;m^-1", "W m-2 sr-1 µm-1"), ("deg", "degree"), ("%", "%"), ("Number of people/ha", "Number of people/ha"),
    ],
)  # fmt: skip
def test_units(given, wanted):
    assert udunits(given) == wanted


def test_every_band_has_attributes_that_json_and_netcdf_take(monkeypatch):
    archive = zipfile.ZipFile(str(files("downloader.datasets") / "facts.zip"))
    # Opened once: its directory takes longer to read than a dataset.
    monkeypatch.setattr(zipfile, "ZipFile", lambda _: nullcontext(archive))
    for name in [n.removesuffix(".json") for n in archive.namelist() if n != "SOURCE"]:
        facts = dataset_facts(name)
        for band in facts.bands:
            found = band_attributes(band)
            json.dumps(found)
            assert all(
                isinstance(v, str | int | float) or all(isinstance(x, int) for x in v) for v in found.values()
            ), (name, band)
        assert dataset_attributes(facts)["license"]
    archive.close()


def test_an_empty_band_has_none():
    assert band_attributes(BandFacts("x")) == {}
