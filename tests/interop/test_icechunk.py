"""The recipe for Icechunk, as the page has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.docs.blocks import blocks_of
from tests.harness import ROOT
from tests.interop.test_export import make
from tests.mosaics import band_pixels


async def test_a_copy_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = await make(tmp_path / "out/scene.zarr")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "recipes.md"
    (block,) = (one for one in blocks_of(page) if one.elsewhere == "tests/interop/test_icechunk.py")
    names: dict = {}
    exec(compile(block.code, str(block), "exec"), names)
    copy, repository = names["copy"], names["repository"]
    for number, band in enumerate(("B2", "B3")):
        assert copy[band].dtype == np.uint16
        np.testing.assert_array_equal(copy[band].values, band_pixels(plan.groups[0], number))
    assert copy.rio.crs.to_epsg() == 32610
    assert next(entry.message for entry in repository.ancestry(branch="main")) == "a scene"
