"""Chips of images that are masked and computed, each against what is made of the bands as they are stored."""

from __future__ import annotations

import numpy as np
import pytest

import downloader
from downloader.errors import DriftError, IncompleteError, JobError
from downloader.mosaic.verify.verify import verify
from tests.e2e.test_samples import chips_job, scattered, write_points
from tests.harness import cli, same_bits, write_job

SURFACE, SCORES = "COPERNICUS/S2_SR_HARMONIZED", "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
PERIOD = {"start": "2017-04-01", "end": "2017-06-01"}
COUNT = 12


def points(tmp_path, count=COUNT):
    rows = [(*place, f"2017-04-{1 + 5 * (n % 5):02d}") for n, place in enumerate(scattered(count, 5))]
    return write_points(tmp_path / "points.csv", rows, "lon,lat,date")


def chips(emulator, tmp_path, path="chips.zarr", mosaic=None, **source):
    values = chips_job(
        emulator, tmp_path, chip=16, source={"collection": SURFACE, "pick": "nearest", **PERIOD, **source}
    )
    return values | {"mosaic": {"path": str(tmp_path / path), **(mosaic or {})}}


def run(values, **options):
    return downloader.download(values, progress=False, **options).open(chunks=None, mask_and_scale=False)


@pytest.fixture
def stored(emulator, tmp_path):
    """Bands as they are stored, chip by chip."""
    points(tmp_path)
    return run(chips(emulator, tmp_path, "raw.zarr", {"mask": "any"}, bands=["B4", "B8"]))


def test_masks_scales_formulas_and_types_of_chips(emulator, tmp_path, stored):
    """By the cloud scores of each chip's own image; NaN where they are below 0.6."""
    made = chips(
        emulator,
        tmp_path,
        mask="clouds",
        scale="catalog",
        bands=["red", {"ndvi": "(nir - red) / (nir + red)"}],
    )
    said = cli("plan", write_job(tmp_path, made)).out
    assert "computed  12 samples: mask, scale: catalog, red is B4, ndvi: (nir - red) / (nir + red)" in said
    found = run(made)
    assert found.image_id.values.tolist() == stored.image_id.values.tolist()
    assert len(set(found.image_id.values)) == 5
    np.testing.assert_array_equal(found.transform.values, stored.transform.values)
    images = [f"{SCORES}/{name.rpartition('/')[2]}" for name in stored.image_id.values.tolist()]
    rows = list(zip(stored.lon.values.tolist(), stored.lat.values.tolist(), images, strict=True))
    write_points(tmp_path / "scores.csv", rows, "lon,lat,image")
    asked = chips_job(
        emulator,
        tmp_path,
        "scores.csv",
        16,
        source={"images": images, "pick": "nearest", "bands": ["cs_cdf"]},
    )
    clear = run(asked | {"mosaic": {"path": str(tmp_path / "scores.zarr")}})["cs_cdf"].values >= 0.6
    assert 0.05 < clear.mean() < 0.95
    red, nir = (stored[band].values * 1e-4 for band in ("B4", "B8"))
    wanted = {"red": red, "ndvi": (nir - red) / (nir + red)}
    for band, values in wanted.items():
        assert found[band].dtype == "<f4"
        np.testing.assert_allclose(found[band].values, np.where(clear, values, np.nan), rtol=2e-6, atol=1e-7)
    assert downloader.download(made, progress=False).requests == 0
    assert verify(tmp_path / "chips.zarr").is_clean
    with pytest.raises(DriftError, match=r"source.mask: clouds → none"):
        run({**made, "source": {key: value for key, value in made["source"].items() if key != "mask"}})


def test_a_rule_of_ones_own_and_integers_keep_a_mask(emulator, tmp_path, stored):
    made = chips(
        emulator, tmp_path, mosaic={"mask": "any"}, mask={"band": "B8", "below": 900}, bands=[{"both": "B4 + B8"}], dtype="uint16"
    )  # fmt: skip
    found = run(made)
    kept = stored["B8"].values >= 900
    assert 0.05 < kept.mean() < 0.95
    same_bits(found["mask"].values, kept.astype("u1"), "mask")
    both = stored["B4"].values + stored["B8"].values
    same_bits(np.where(kept, found["both"].values, 0), np.where(kept, both, 0).astype("<u2"), "both")


def test_one_asset_serves_all_points(emulator, tmp_path):
    write_points(tmp_path / "points.csv", scattered(4, 9))
    source = {"asset": f"{SURFACE}/20170401T184921_20170401T184921_T10SEG"}
    raw = chips_job(emulator, tmp_path, source={**source, "bands": ["B4"]})
    stored = run(raw | {"mosaic": {"path": str(tmp_path / "raw.zarr")}})["B4"].values
    found = run(chips_job(emulator, tmp_path, source={**source, "bands": [{"twice": "2 * red"}]}))
    np.testing.assert_array_equal(found["twice"].values, 2 * stored.astype("i8"))


def test_a_chip_whose_image_has_no_score_fails_alone_until_it_has_one(emulator, tmp_path):
    points(tmp_path)
    gone = f"projects/earthengine-public/assets/{SCORES}/20170401T184921_20170401T184921_T10SEG"
    emulator.control("configure", {"assets": {gone: None}})
    made = chips(emulator, tmp_path, mask="clouds", bands=["B4"], dtype="float32")
    with pytest.raises(IncompleteError) as caught:
        run(made)
    assert {tile.cause for tile in caught.value.report.failed} == {"no image"}
    assert "has no partner of the same index" in caught.value.report.failed[0].message
    assert 0 < len(caught.value.report.failed) < COUNT
    emulator.control("reset", {})
    assert downloader.download(made, progress=False).tiles_stored == COUNT
    emulator.control("configure", {"assets": {gone: {"updateTime": "2031-01-01T00:00:00Z"}}})
    with pytest.raises(DriftError, match=r"CLOUD_SCORE_PLUS.*updateTime"):
        run(made)


def test_colours_and_slips_of_bands(emulator, tmp_path, stored):
    found = run(chips(emulator, tmp_path, bands=["red", "nir"]))
    np.testing.assert_array_equal(found["red"].values, stored["B4"].values)
    with pytest.raises(JobError, match=r"source.bands: .*'B04' \(did you mean B4\?\)"):
        run(chips(emulator, tmp_path, "slip.zarr", bands=["B04"]))
    with pytest.raises(JobError, match=r"'near_infrared' \(did you mean nir, which is B8\?\)"):
        run(chips(emulator, tmp_path, "slip.zarr", bands=["near_infrared"]))


def test_points_whose_images_lack_a_band_fail_alone(emulator, tmp_path):
    """Scenes of Sentinel-1 have VV and VH, VV, or HH and HV."""
    source = {
        "collection": "COPERNICUS/S1_GRD",
        "start": "2023-01-01",
        "end": "2023-04-01",
        "pick": "nearest",
        "bands": ["VV"],
    }
    rows = [(-122.45, 37.605, "2023-01-03"), (-122.0, 37.0, "2023-01-03")]
    write_points(tmp_path / "points.csv", rows, "lon,lat,date")
    with pytest.raises(IncompleteError) as caught:
        run(
            chips_job(emulator, tmp_path, chip=8, source=source, grid={"crs": "EPSG:32610", "resolution": 10})
        )
    (failed,) = caught.value.report.failed
    assert "line 3: no image of COPERNICUS/S1_GRD" in failed.message


def test_one_asset_by_its_cloud_score(emulator, tmp_path):
    write_points(tmp_path / "points.csv", scattered(3, 9))
    source = {"asset": f"{SURFACE}/20170406T184921_20170406T184921_T10SEG", "mask": "clouds", "bands": ["B4"]}
    found = run(chips_job(emulator, tmp_path, source={**source, "dtype": "float32"}))
    assert found.sizes["sample"] == 3
    assert np.isfinite(found["B4"].values).any()
