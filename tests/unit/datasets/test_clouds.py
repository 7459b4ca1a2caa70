"""The table of cloud masks: its rules are rules, over bands and bits that the catalogue knows."""

from __future__ import annotations

import pytest

from downloader.datasets.clouds import CLOUD_MASKS, cloud_mask
from downloader.datasets.facts import dataset_facts

COLLECTIONS = [
    "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED", *(f"LANDSAT/{sensor}/C02/{tier}" for sensor in
    ("LT04", "LT05", "LE07", "LC08", "LC09") for tier in ("T1_L2", "T2_L2", "T1_TOA", "T2_TOA", "T1", "T2")),
    *(f"LANDSAT/LM0{n}/C02/T1" for n in range(1, 6)), *(f"MODIS/061/{name}" for name in
    ("MOD09GA", "MYD09GA", "MOD09A1", "MYD09A1", "MOD09Q1", "MYD09Q1", "MOD09GQ", "MYD09GQ")),
    "NASA/VIIRS/002/VNP09GA", "NASA/VIIRS/002/VNP09H1", "NASA/HLS/HLSL30/v002", "NASA/HLS/HLSS30/v002",
]  # fmt: skip


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_bands_of_the_rules_are_in_the_catalogue(collection):
    rules = cloud_mask(collection)
    assert rules
    for rule in rules:
        facts = dataset_facts(rule.get("of", collection))
        assert facts
        assert facts.band(rule["band"]), f"{facts.id} has no {rule['band']}"


@pytest.mark.parametrize(
    "collection",
    [
        "MODIS/061/MCD43A4",
        "MODIS/061/MOD13Q1",
        "COPERNICUS/S1_GRD",
        "ECMWF/ERA5/DAILY",
        "projects/p/assets/x",
    ],
)
def test_collections_without_a_mask(collection):
    assert cloud_mask(collection) is None


def test_every_entry_serves_some_collection():
    assert {id(cloud_mask(name)) for name in COLLECTIONS} == set(map(id, CLOUD_MASKS.values()))
