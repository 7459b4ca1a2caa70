"""Facts of public datasets: the archive, look-ups by image and collection."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from downloader.datasets.facts import dataset_facts, near_datasets

SOURCE = Path(__file__).parents[3].parent / "shared" / "data" / "catalog-facts.json"


def test_an_image_finds_its_collection():
    facts = dataset_facts("COPERNICUS/S2_SR_HARMONIZED/20200101T184751_20200101T184924_T10SEG")
    assert facts is not None
    assert facts.id == "COPERNICUS/S2_SR_HARMONIZED"
    red = facts.band("B4")
    assert red is not None
    assert (red.label, red.scale, red.wavelength_um) == ("Red", 0.0001, 0.6645)
    assert dataset_facts(f"projects/earthengine-public/assets/{facts.id}") == facts


def test_of_nested_datasets_the_longest_name_counts():
    assert (
        dataset_facts("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/x").id
        == "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
    )


@pytest.mark.parametrize(
    "asset", ["projects/mine/assets/dem", "users/me/x", "", "COPERNICUS", "../facts", "SOURCE"]
)
def test_other_assets_have_no_facts(asset):
    assert dataset_facts(asset) is None


def test_scales_and_offsets_of_landsat():
    facts = dataset_facts("LANDSAT/LC08/C02/T1_L2")
    assert (facts.band("SR_B4").scale, facts.band("SR_B4").offset) == (2.75e-05, -0.2)
    assert (facts.band("ST_B10").scale, facts.band("ST_B10").offset) == (0.00341802, 149)
    assert facts.band("QA_PIXEL").scale is None
    assert facts.band("QA_PIXEL").is_categorical


def test_every_dataset_loads():
    with zipfile.ZipFile(str(files("downloader.datasets") / "facts.zip")) as archive:
        names = [name.removesuffix(".json") for name in archive.namelist() if name != "SOURCE"]
    loaded = [dataset_facts(name) for name in names]
    assert len(loaded) == 1018
    assert sum(len(facts.bands) for facts in loaded) == 16_729
    assert [facts.id for facts in loaded] == names


@pytest.mark.skipif(not SOURCE.exists(), reason="the document of facts is not beside this checkout")
def test_the_archive_is_what_the_script_writes(tmp_path):
    root = Path(__file__).parents[3]
    (tmp_path / "scripts").mkdir()
    (tmp_path / "downloader" / "datasets").mkdir(parents=True)
    script = tmp_path / "scripts" / "make-dataset-facts"
    script.write_text((root / "scripts" / "make-dataset-facts").read_text())
    subprocess.run([sys.executable, script, SOURCE], check=True, capture_output=True)
    written = tmp_path / "downloader" / "datasets" / "facts.zip"
    with (
        zipfile.ZipFile(written) as new,
        zipfile.ZipFile(str(files("downloader.datasets") / "facts.zip")) as old,
    ):
        assert {n: new.read(n) for n in new.namelist()} == {n: old.read(n) for n in old.namelist()}
        assert "Apache-2.0" in json.loads(old.read("SOURCE"))


def test_a_wrong_id_finds_the_right_one() -> None:
    """Longer ids first: the harmonised collection took the old one's place."""
    assert near_datasets("COPERNICUS/S2_SR")[0] == "COPERNICUS/S2_SR_HARMONIZED"
    assert (
        near_datasets("projects/earthengine-public/assets/LANDSAT/LC08/C02/T1_L3")[0]
        == "LANDSAT/LC08/C02/T1_L2"
    )
    assert near_datasets("users/me/mine") == []
    assert near_datasets("") == []
    assert len(near_datasets("COPERNICUS")) <= 3
