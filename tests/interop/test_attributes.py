"""What the catalogue says of bands, as xarray reads it: pixels stay as stored, physical units where they are asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from downloader.datasets.attributes import band_attributes
from downloader.datasets.facts import BandFacts
from downloader.model.grid import Window
from downloader.mosaic.format.layout import MosaicSettings, described_bands
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.overviews.overviews import overviews
from downloader.mosaic.reader import open_group
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.verify import verify
from downloader.planning import ImageList
from tests.mosaics import UTM, band_pixels, day, fill, one_group, series

LANDSAT = "LANDSAT/LC08/C02/T1_L2"


def landsat(bands=("SR_B4", "QA_PIXEL"), **facts):
    """The plan of an image; with facts, of a series that has them."""
    if facts:
        plan = series([day(1, bands=bands)], bands=bands)
        return replace(
            plan, listed=ImageList(plan.listed.named, plan.listed.period, {"collection": LANDSAT, **facts})
        )
    plan = one_group(bands=bands, lattice=UTM)
    return replace(plan, image=replace(plan.image, id=f"{LANDSAT}/LC08_044034_20140318"))


async def make(path, plan):
    settings = MosaicSettings(described=described_bands(plan))
    async with open_for_writing(path, plan, settings, service="earth-engine") as mosaic:
        await fill(mosaic, plan)


async def test_numbers_stay_as_stored_and_units_come_when_asked_for(tmp_path):
    plan = landsat()
    await make(tmp_path / "m", plan)
    stored = band_pixels(plan.groups[0], 0)
    raw = open_group(tmp_path / "m")
    assert raw["SR_B4"].dtype == np.uint16
    np.testing.assert_array_equal(raw["SR_B4"].values, stored)
    assert raw["SR_B4"].attrs["scale_factor"] == 2.75e-05
    physical = open_group(tmp_path / "m", mask_and_scale=True)
    assert physical["SR_B4"].dtype == np.float32
    wanted = (stored * 2.75e-05 - 0.2).astype("f4")
    assert (np.abs(physical["SR_B4"].values - wanted) <= np.spacing(np.abs(wanted))).all(), "within one step"
    assert physical["QA_PIXEL"].dtype == np.uint16
    np.testing.assert_array_equal(physical["QA_PIXEL"].values, band_pixels(plan.groups[0], 1))


async def test_attributes_of_bands_and_of_the_data_set(tmp_path):
    await make(tmp_path / "m", landsat())
    found = xr.open_zarr(tmp_path / "m", mask_and_scale=False)
    assert found.attrs["title"].startswith("USGS Landsat 8 Level 2")
    assert found.attrs["institution"] == "USGS"
    assert found.attrs["license"]
    assert found["SR_B4"].attrs["long_name"] == "Band 4 (red) surface reflectance"
    assert found["SR_B4"].attrs["center_wavelength"] == 0.655
    flags = found["QA_PIXEL"].attrs
    assert len(flags["flag_masks"]) == len(flags["flag_values"]) == len(flags["flag_meanings"].split())


async def test_the_mosaic_keeps_what_it_said_and_overviews_say_it_too(tmp_path):
    plan = landsat()
    await make(tmp_path / "m", plan)
    overviews(tmp_path / "m")
    assert open_group(tmp_path / "m", level=2)["SR_B4"].attrs["scale_factor"] == 2.75e-05
    assert not [one.key for one in verify(tmp_path / "m").lost if one.key.endswith("zarr.json")]
    (tmp_path / "m" / "SR_B4" / "zarr.json").unlink()
    repair_mosaic(tmp_path / "m")
    found = xr.open_zarr(tmp_path / "m", mask_and_scale=False, consolidated=False)
    assert found["SR_B4"].attrs["scale_factor"] == 2.75e-05


def test_one_image_in_physical_units_states_no_scale():
    plan = replace(landsat(), facts={"scale": "catalog"})
    assert not {"scale_factor", "add_offset"} & described_bands(plan)["SR_B4"].keys()


def test_what_is_done_to_images_changes_what_is_said():
    plain = described_bands(landsat(every="image"))["SR_B4"]
    assert (plain["scale_factor"], plain["add_offset"]) == (2.75e-05, -0.2)
    physical = described_bands(landsat(every="month", scale="catalog", reduce="median"))
    assert not {"scale_factor", "add_offset"} & physical["SR_B4"].keys()
    assert "flag_masks" not in physical.get("QA_PIXEL", {}), "between classes there is nothing"
    assert "flag_masks" in described_bands(landsat(every="month", reduce="first"))["QA_PIXEL"]
    assert "add_offset" not in described_bands(landsat(every="month", reduce="std"))["SR_B4"]
    counted = described_bands(landsat(every="month", reduce="count"))["SR_B4"]
    assert counted == {"long_name": "number of images, Band 4 (red) surface reflectance", "units": "1"}
    own = described_bands(landsat(("red", "nd"), every="month", **{"bands.nd": "(a - b) / (a + b)"}))
    assert own["nd"] == {"long_name": "(a - b) / (a + b)"}
    assert own["red"]["long_name"] == "Band 4 (red) surface reflectance"


def scales():
    """Every (scale, offset) that the catalogue states, None where it states one of them."""
    from zipfile import ZipFile

    import downloader.datasets as datasets

    with ZipFile(Path(datasets.__path__[0]) / "facts.zip") as archive:
        documents = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")]
    found = {(band.get("scale"), band.get("offset")) for one in documents for band in one["bands"]}
    return sorted(found - {(None, None)}, key=str)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4"])
async def test_units_as_they_are_opened_are_those_that_the_service_computes(tmp_path, dtype):
    """For each scale and offset of the catalogue, within one step of float32 of what `scale: catalog` stores."""
    pairs = scales()
    assert len(pairs) > 50
    bands = tuple(f"b{number}" for number in range(len(pairs)))
    plan = one_group(bands, dtype=f"<{dtype}", window=Window(0, 0, 200, 150), lattice=UTM, shard=1)
    words = [band_attributes(BandFacts("b", scale=scale, offset=offset)) for scale, offset in pairs]
    settings = MosaicSettings(described=dict(zip(bands, words, strict=True)))
    async with open_for_writing(tmp_path / "m", plan, settings, service="earth-engine") as mosaic:
        await fill(mosaic, plan)
    opened = open_group(tmp_path / "m", chunks=None, mask_and_scale=True)
    plain = xr.open_zarr(tmp_path / "m", chunks=None)
    for number, (scale, offset) in enumerate(pairs):
        stored = band_pixels(plan.groups[0], number).astype("f8")
        physical = stored * (1 if scale is None else scale) + (offset or 0)
        wanted = physical.astype("f4")
        step = np.spacing(np.abs(wanted))
        found = opened[bands[number]]
        assert found.dtype == np.float32
        assert (np.abs(found.values - wanted) <= step).all(), (scale, offset)
        assert (np.abs(plain[bands[number]].values - physical) <= 2 * step).all(), (scale, offset)
