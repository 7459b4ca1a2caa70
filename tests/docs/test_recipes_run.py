"""The jobs by collection of docs/sources.md, run on the emulator over a small region."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import downloader
from tests.docs.blocks import blocks_of
from tests.harness import ROOT, job

PAGE = ROOT / "docs" / "sources.md"
SECTION = "## By collection"
PLACE = {"bbox": [-122.12, 37.42, -122.10, 37.44]}
PLACES = {
    "ECMWF/ERA5/DAILY": {"bbox": [-123, 37, -121, 38]},
    "COPERNICUS/S1_GRD": {"bbox": [-122.45, 37.60, -122.44, 37.61]},
}
"""Where a collection of the emulator lies elsewhere, or has few pixels."""


def recipes() -> dict[str, Any]:
    """Collection, or the first of several → the values of its block."""
    text = PAGE.read_text(encoding="utf-8")
    first = text.count("\n", 0, text.index(SECTION))
    last = text.count("\n", 0, text.index("\n## ", text.index(SECTION) + 5))
    found = {}
    for block in blocks_of(PAGE):
        if first < block.line <= last:
            values = YAML(typ="safe", pure=True).load(block.code)
            named = values["source"]["collection"]
            found[named if isinstance(named, str) else "LANDSAT"] = values
    return found


RECIPES = recipes()


def test_all_are_found():
    section = PAGE.read_text("utf-8").split(SECTION)[1].split("\n## ")[0]
    told = re.findall(r"^\*\*([^*]+)\*\*", section, re.MULTILINE)
    assert len(told) == len(RECIPES) + 1, "the DEM is a config"


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
@pytest.mark.parametrize("name", RECIPES)
def test_it_runs(emulator, tmp_path, name):
    values = job(emulator, tmp_path / "m.zarr", region=PLACES.get(name, PLACE), **RECIPES[name])
    source = values["source"]
    if name == "LANDSAT":  # the emulator has three of the five
        source["collection"] = [one for one in source["collection"] if not re.search("LT04|LE07", one)]
    if name == "COPERNICUS/S2_SR_HARMONIZED":  # one image has no cloud score
        source["filter"] = 'system:index != "20170506T184921_20170506T184921_T10SEG"'
    found = downloader.download(values, progress=False).open(chunks=None, mask_and_scale=False)
    for band in found.data_vars.values():
        assert band.dims == ("time", "y", "x")
        assert np.isfinite(band.values).any()
    if "S1_GRD" in name:
        assert found["VV"].dtype == np.float64
        assert -30 < np.nanmedian(found["VV"].values) < 10
    if "EMBEDDING" in name:
        assert len(found.data_vars) == 64
        assert found.sizes["time"] == 8
        assert found["A00"].dtype == np.float64
    if "MOD09A1" in name:
        assert found.sizes["time"] == 12
        assert "Sinusoidal" in found["spatial_ref"].attrs["crs_wkt"]
    if "ERA5" in name:
        assert -40 < found["celsius"].values.mean() < 40
