"""Choose, each image, over time, end to end: every pixel against numpy on the oracle's pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest

import downloader
from downloader.errors import DriftError
from downloader.mosaic.verify.verify import verify
from tests.e2e.test_expressions_run import AROUND, layers
from tests.harness import cli, getpixels, job, same_bits, write_job
from tests.oracle import PASSES

SOURCE = {
    "collection": "EMULATOR/PASSES",
    "start": "2020-01-01",
    "end": "2020-03-01",
    "mask": {"band": "cloud", "bits": [0, 3]},
    "on_missing_band": "nodata",
}
MONTHS = {"2020-01": slice(0, 5), "2020-02": slice(5, 7)}
"""Of the passes, in order of time."""


def run(values, **options):
    return downloader.download(values, progress=False, **options)


def clear(band):
    return layers(band, (0, 3))


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize(
    ("reduce", "oracle"),
    [
        ("median", lambda stack: np.nanmedian(stack, axis=0)),
        ("mean", lambda stack: np.nanmean(stack, axis=0)),
        ("std", lambda stack: np.nanstd(stack, axis=0)),
    ],
)
def test_an_index_of_each_month(emulator, tmp_path, reduce, oracle):
    """Masked, computed of each image, then reduced: float32, NaN where no image is clear."""
    source = {
        **SOURCE,
        "bands": [{"ratio": "(nir - red) / (nir + red)"}, {"both": "nir + red"}],
        "every": "month",
        "reduce": reduce,
    }
    values = job(emulator, tmp_path / "m.zarr", source=source, region=AROUND)
    found = run(values).open(chunks=None)
    assert found.image_id.values.tolist() == list(MONTHS)
    assert [str(time)[:10] for time in found.time.values] == ["2020-01-01", "2020-02-01"]
    red, nir = clear("red"), clear("nir")
    total = nir + red
    for index, members in enumerate(MONTHS.values()):
        for band, stack in (
            ("ratio", np.where(total == 0, np.nan, (nir - red) / np.where(total == 0, 1, total))),
            ("both", total),
        ):
            assert found[band].dtype == "<f4"
            np.testing.assert_allclose(
                found[band].values[index], oracle(stack[members]), rtol=2e-6, atol=1e-6, err_msg=band
            )
    assert getpixels(emulator) == []
    assert run(values).requests == 0


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_the_greatest_of_a_band_brings_the_others_along(emulator, tmp_path):
    source = {**SOURCE, "bands": ["red", "nir"], "every": "all", "reduce": {"most": "nir"}}
    values = job(
        emulator, tmp_path / "m.zarr", source=source, region=AROUND, mosaic={"mask": "any", "nodata": {"red": 0, "nir": 0}}
    )  # fmt: skip
    found = run(values).open(chunks=None)
    red, nir = clear("red"), clear("nir")
    there = ~np.isnan(red) & ~np.isnan(nir)
    which = np.where(there, nir, -np.inf).argmax(axis=0)
    valid = there.any(axis=0)
    same_bits(found["mask"].values, valid.astype("u1"), "mask")
    for band, stack, kind in (("red", red, "<u2"), ("nir", nir, "<i2")):
        wanted = np.take_along_axis(np.where(there, stack, 0), which[None], axis=0)[0].astype(kind)
        same_bits(np.where(valid, found[band].values, 0), wanted, band)


def test_each_image_masked_and_computed_keeps_its_time(emulator, tmp_path):
    source = {**SOURCE, "bands": ["red", {"twice": "2 * red"}], "dtype": "float64"}
    found = run(job(emulator, tmp_path / "m.zarr", source=source, region=AROUND)).open(chunks=None)
    red = clear("red")
    assert found.sizes["time"] == len(red)
    np.testing.assert_array_equal(found["red"].values, red)
    np.testing.assert_array_equal(found["twice"].values, 2 * red)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_months_grow_and_one_that_was_cut_is_computed_again(emulator, tmp_path):
    """The second run asks for what is new, and for the month that its end had cut; not for the others."""
    source = {**SOURCE, "bands": ["red"], "every": "month", "reduce": "median"}
    source["mask"] = {"band": "cloud", "bits": [0, 3]}
    path = tmp_path / "m.zarr"

    def values(end):
        return job(emulator, path, source={**source, "end": end}, region=AROUND, mosaic={"nodata": None})

    first = run(values("2020-02-02")).open(chunks=None)
    assert first.image_id.values.tolist() == list(MONTHS)
    stamp = {file: file.stat().st_mtime_ns for file in (path / "red/c/0").rglob("*") if file.is_file()}
    report = run(values("2020-03-01"))
    found = report.open(chunks=None)
    red = clear("red")
    for index, members in enumerate(MONTHS.values()):
        np.testing.assert_allclose(found["red"].values[index], np.nanmedian(red[members], axis=0), rtol=1e-7)
    assert stamp == {file: file.stat().st_mtime_ns for file in stamp}, "January is what it was"
    assert run(values("2020-03-01")).requests == 0
    with pytest.raises(DriftError, match=r"source.reduce: median → mean"):
        run(job(emulator, path, source={**source, "reduce": "mean"}, region=AROUND))
    with pytest.raises(DriftError, match=r"source.mask: .*bits \[0, 3\] → none"):
        run(job(emulator, path, source={**source, "mask": "none"}, region=AROUND))


def test_the_plan_says_what_is_computed_and_why(emulator, tmp_path):
    source = {**SOURCE, "bands": ["red"], "every": "month", "reduce": "median"}
    file = write_job(tmp_path, job(emulator, "m.zarr", source=source, region=AROUND))
    said = cli("plan", file).out
    assert "computed  2 slices: mask, reduce: median" in said
    raw = {key: value for key, value in SOURCE.items() if key != "mask"}
    file = write_job(tmp_path, job(emulator, "m.zarr", source={**raw, "bands": ["red"]}, region=AROUND, mosaic={"nodata": 0}))  # fmt: skip
    assert "computed" not in cli("plan", file).out


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_a_season_of_two_landsats_by_colours(emulator, tmp_path):
    """Clouds by the catalogue's bits, reflectances by its scale: as numpy makes it of the bands as they are stored."""
    source = {
        "collection": ["LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2"],
        "start": "2021-12-01", "end": "2022-06-01", "season": "MAM",
    }  # fmt: skip
    region = {"bbox": [577_800, 4_140_000, 579_000, 4_141_200], "crs": "EPSG:32610"}
    grid = {"crs": "EPSG:32610", "resolution": 30}
    asked = {"bands": ["SR_B5", "SR_B4", "QA_PIXEL", "QA_RADSAT"]}
    stored = job(emulator, tmp_path / "raw.zarr", source={**source, **asked}, region=region, grid=grid)
    raw = run({**stored, "mosaic": {**stored["mosaic"], "mask": "any"}}).open(
        chunks=None, mask_and_scale=False
    )
    made = {
        **source, "mask": "clouds", "scale": "catalog", "every": "season", "reduce": "median",
        "bands": [{"ndvi": "(nir - red) / (nir + red)"}],
    }  # fmt: skip
    found = run(job(emulator, tmp_path / "m.zarr", source=made, region=region, grid=grid)).open(chunks=None)
    assert found.image_id.values.tolist() == ["2022-MAM"]
    nir, red = (raw[band].values * 2.75e-05 - 0.2 for band in ("SR_B5", "SR_B4"))
    kept = (
        (raw["QA_PIXEL"].values & 0b11111 == 0) & (raw["QA_RADSAT"].values == 0) & (raw["mask"].values == 1)
    )
    assert 0.1 < kept.mean() < 0.9
    index = np.where(kept, (nir - red) / (nir + red), np.nan)
    np.testing.assert_allclose(found["ndvi"].values[0], np.nanmedian(index, axis=0), rtol=2e-6, atol=1e-6)


def test_images_are_chosen_by_what_they_cover_and_what_the_mask_leaves(emulator, tmp_path):
    """Shares counted on a coarse grid are near those of all pixels, and none is asked for twice."""
    there, kept = (~np.isnan(layers("red", bits)) for bits in ((), (3,)))
    covered, clear = there.mean(axis=(1, 2)), kept.sum(axis=(1, 2)) / there.sum(axis=(1, 2))
    chosen = (covered >= 0.4) & (clear >= 0.15)
    assert chosen.nonzero()[0].tolist() == [2, 5]
    assert ((covered >= 0.4) & ~chosen).any()
    assert ((clear >= 0.15) & ~chosen).any()
    source = {
        **SOURCE, "bands": ["red"], "mask": {"band": "cloud", "bits": [3]}, "min_cover": 0.4, "min_clear": 0.15,
    }  # fmt: skip

    def values(end="2020-03-01", path="m.zarr", **changes):
        return job(
            emulator, tmp_path / path, source={**source, "end": end, **changes}, region=AROUND, mosaic={"nodata": None}
        )  # fmt: skip

    def counted():
        """Bands of each request that counted shares."""
        records = emulator.control("requests?since=0")["requests"]
        return [len(r["bands"]) for r in records if r["method"].endswith("Pixels") and r["bands"][0] != "red"]

    file = write_job(tmp_path, values())
    document = json.loads(cli("plan", file, "--json").out)
    assert counted() == [14]
    shares = document["shares"]
    assert [one["id"] for one in shares] == [f"EMULATOR/PASSES/{name}" for name in PASSES]
    np.testing.assert_allclose([one["covered"] for one in shares], covered, atol=0.01)
    np.testing.assert_allclose([one["clear"] for one in shares], clear, atol=0.03)
    said = cli("plan", file).out
    assert "5 images of 7 left out, counted in pixels of 142 m" in said
    assert "20200115T183000      65%    19%  kept" in said
    assert "covers 32% of the region, less than min_cover 40%" in said
    assert "10% of what it covers is clear, less than min_clear 15%" in said
    before = len(counted())
    first = run(values("2020-02-01")).open(chunks=None)
    assert first.sizes["time"] == 1
    report = run(values())
    assert counted()[before:] == [10, 4]
    found = report.open(chunks=None)
    assert found.image_id.values.tolist() == [shares[index]["id"] for index in (2, 5)]
    red = layers("red", (3,))[chosen]
    np.testing.assert_array_equal(found["red"].values, np.where(np.isnan(red), 0, red))
    assert run(values()).requests == 0
    assert counted()[before:] == [10, 4]
    assert verify(tmp_path / "m.zarr").is_clean
    with pytest.raises(DriftError, match=r"source.min_clear: 0.15 → 0.2"):
        run(values(min_clear=0.2))
    with pytest.raises(DriftError, match=r"source.min_cover: 0.4 → not in this job"):
        run(values(min_cover=None))
    run(values("2020-01-12", "other.zarr", min_cover=None, min_clear=None))
    with pytest.raises(DriftError, match=r"source.min_cover: none → 0.4"):
        run(values("2020-01-12", "other.zarr", min_clear=None))
