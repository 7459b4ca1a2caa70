"""Masks and nodata, end to end: the service's own masks beside pixels that stay as `getPixels` gives them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import zarr

import downloader
from downloader.errors import DriftError
from downloader.mosaic.verify.verify import verify
from tests.harness import job, same_bits, window
from tests.oracle import PUBLIC, oracle_valid, oracle_window

MASKED = "EMULATOR/MASKED"
TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8")
PART = (0, 100, 500, 700)
"""Column, row, width, height: across the masked border."""


def fetch(emulator, path, mask="per-band", asset=MASKED, bands=None, region=None, **mosaic):
    values = job(emulator, path, region=region or window(*PART), mosaic={"mask": mask, **mosaic})
    values["source"] = {"asset": asset, **({} if bands is None else {"bands": list(bands)})}
    return downloader.download(values, progress=False)


def fills(band, fill):
    """What the emulator puts into masked pixels of a band (docs/emulator.md)."""
    dtype = np.dtype({"i8": "<f8"}.get(band, band))
    if dtype.kind == "u" or fill == "zero":
        return 0
    if dtype.kind == "i":
        return {"min": np.iinfo(dtype).min, "-inf": np.iinfo(dtype).min, "nan": 0}.get(fill)
    return {"min": np.finfo(dtype).min, "-inf": -np.inf, "nan": np.nan}.get(fill)


def asked_for(record):
    """Bands of one pixel request."""
    body = record["body"]
    return (json.loads(body) if isinstance(body, str) else body)["bandIds"]


@pytest.fixture(params=["zero", "min", "missing", "-inf", "nan"])
def filled(request, emulator):
    emulator.control("configure", {"fill": request.param})
    return request.param, emulator


def test_masks_come_with_every_fill_and_pixels_stay_what_they_were(filled, tmp_path):
    fill, emulator = filled
    plain = fetch(emulator, tmp_path / "plain.zarr", "none")
    report = fetch(emulator, tmp_path / "masked.zarr")
    computed = [
        r for r in emulator.control("requests?since=0")["requests"] if r["method"].endswith("computePixels")
    ]
    assert computed
    for record in computed:
        asked = set(asked_for(record))
        masks = {f"{band}_mask" for band in asked if band in TYPES}
        assert asked >= masks, "pixels and their masks come in one request"
    pixels, both = (zarr.open_group(one.mosaic, mode="r") for one in (plain, report))
    for band in TYPES:
        wanted = fills(band, fill)
        if wanted is not None:
            same_bits(pixels[band][:], oracle_window(PUBLIC + MASKED, band, *PART, wanted), f"{band} alone")
        same_bits(both[band][:], pixels[band][:], f"{band} with masks")
        same_bits(
            both[f"{band}_mask"][:], oracle_valid(PUBLIC + MASKED, band, *PART).astype("u1"), f"{band}_mask"
        )
    valid = oracle_valid(PUBLIC + MASKED, "f4", *PART)
    assert 0 < valid.mean() < 1
    opened = report.open(chunks=None, mask_and_scale=True)
    for band in TYPES:
        np.testing.assert_array_equal(np.isfinite(opened[band].values), valid)
    assert opened["u2_mask"].dtype == np.dtype("u1")


def test_one_mask_for_all_is_masked_where_any_band_is(emulator, tmp_path):
    asset, part = "EMULATOR/SINUSOIDAL", (0, 0, 600, 300)
    report = fetch(emulator, tmp_path / "any.zarr", "any", asset, region=window(*part))
    found = report.open(chunks=None)
    bands = [name for name in found.data_vars if name != "mask"]
    each = [oracle_valid(PUBLIC + asset, band, *part) for band in bands]
    assert not all((one == each[0]).all() for one in each), "bands differ, or this shows nothing"
    np.testing.assert_array_equal(found["mask"].values, np.logical_and.reduce(each).astype("u1"))


def test_xarray_reads_masks_without_hints(emulator, tmp_path):
    report = fetch(emulator, tmp_path / "m.zarr", bands=("u2",), nodata=0)
    found = xr.open_zarr(report.mosaic)
    assert set(found.data_vars) == {"u2", "u2_mask"}
    mask = found["u2_mask"]
    assert mask.dtype == np.dtype("u1"), "no _FillValue, so nothing becomes NaN"
    assert mask.attrs["flag_meanings"].split() == ["masked", "valid"]
    assert list(mask.attrs["flag_values"]) == [0, 1]
    assert mask.attrs["mask_of"] == ["u2"]
    assert found["u2"].dtype == np.dtype("f4"), "0 is declared as nodata"


@pytest.mark.parametrize(
    ("band", "value"), [("u2", 0), ("i2", -32768), ("f4", "-.inf"), ("f8", ".nan"), ("f4", 1.5)]
)
def test_a_declared_nodata_value_is_nan_to_xarray(emulator, tmp_path, band, value):
    value = float(value) if isinstance(value, str) and value != ".nan" and value != "-.inf" else value
    number = {".nan": float("nan"), "-.inf": float("-inf")}.get(value, value)
    values = job(emulator, tmp_path / "n.zarr", region=window(*PART), mosaic={"nodata": {band: number}})
    values["source"] = {"asset": MASKED, "bands": [band]}
    report = downloader.download(values, progress=False)
    raw = report.open(chunks=None)[band].values
    seen = xr.open_zarr(report.mosaic, chunks=None)[band]
    missing = np.isnan(raw) if np.isnan(number) else raw == number
    np.testing.assert_array_equal(
        np.isnan(seen.values), missing | (np.isnan(raw) if raw.dtype.kind == "f" else False)
    )
    assert seen.encoding["_FillValue"] == number or np.isnan(number)


def test_masks_are_an_extension_and_their_change_is_drift(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    fetch(emulator, path, "none", bands=("u2", "f4"))
    before = {
        name: array[:] for name, array in zarr.open_group(path, mode="r").arrays() if name in {"u2", "f4"}
    }
    asked = len(emulator.control("requests?since=0")["requests"])
    fetch(emulator, path, "per-band", bands=("u2", "f4"))
    later = emulator.control(f"requests?since={asked}")["requests"]
    bands = {
        band
        for record in later
        if record["method"].endswith("Pixels") and record.get("size") != [1, 1]
        for band in asked_for(record)
    }
    assert bands == {"u2_mask", "f4_mask"}, "pixels are not fetched again"
    root = zarr.open_group(path, mode="r")
    for name, pixels in before.items():
        same_bits(root[name][:], pixels, name)
        same_bits(root[f"{name}_mask"][:], oracle_valid(PUBLIC + MASKED, name, *PART).astype("u1"), name)
    assert verify(path).is_clean
    for how in ("none", "any"):
        with pytest.raises(DriftError, match="u2_mask"):
            fetch(emulator, path, how, bands=("u2", "f4"))
    any_path = tmp_path / "any.zarr"
    fetch(emulator, any_path, "any", bands=("u2",))
    with pytest.raises(DriftError, match="mask of u2 → uint8, mask of u2, f4"):
        fetch(emulator, any_path, "any", bands=("u2", "f4"))


def test_groups_of_several_resolutions_have_masks_each(emulator, tmp_path):
    values = job(emulator, tmp_path / "g.zarr", region=window(0, 0, 300, 300), mosaic={"mask": "any"})
    values["source"]["bands"] = ["B2", "B3", "B5", "B1"]
    report = downloader.download(values, progress=False)
    assert report.groups == ("10m", "20m", "60m")
    tree = report.open_tree(chunks=None)
    for name in report.groups:
        mask = tree[name]["mask"]
        assert bool((mask == 1).all())


def test_a_series_has_masks_along_time_and_says_masked_outside_its_images(emulator, tmp_path):
    """Each image's own mask; bands that an image lacks, and tiles that it does not cover, are masked."""
    values = job(emulator, tmp_path / "s.zarr", mosaic={"mask": "per-band", "nodata": 0})
    values["source"] = {
        "collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-03-01",
        "bands": ["red", "nir"], "on_missing_band": "nodata",
    }  # fmt: skip
    values["region"] = {"bbox": [559000, 4168000, 570000, 4181000], "crs": "EPSG:32610"}
    report = downloader.download(values, progress=False)
    found = report.open(chunks=None)
    plain = {**values, "mosaic": {"path": str(tmp_path / "plain.zarr"), "nodata": 0}}
    other = downloader.download(plain, progress=False).open(chunks=None)
    for band in ("red", "nir"):
        same_bits(found[band].values, other[band].values, band)
        mask = found[f"{band}_mask"].values
        assert set(np.unique(mask)) == {0, 1}
        assert not found[band].values[mask == 0].any(), "masked pixels and holes are 0 here"
        holds = found[band].values != 0
        assert not (holds & (mask == 0)).any()
        # Of an unsigned band no valid pixel is 0 (docs/emulator.md); of a signed one few are.
        assert ((mask == 1) & ~holds).mean() <= (0 if band == "red" else 0.001)
    lacking = [k for k in range(found.sizes["time"]) if not found["nir_mask"].values[k].any()]
    assert lacking, "one image has no nir"
    assert all(found["red_mask"].values[k].any() for k in lacking)


def test_one_image_of_several_has_masks(emulator, tmp_path):
    values = job(emulator, tmp_path / "c.zarr", mosaic={"mask": "per-band"})
    values["source"] = {
        "collection": "EMULATOR/PASSES", "start": "2020-01-20T18:34:00Z", "end": "2020-01-21", "every": "all", "reduce": "last",
        "bands": ["red"],
    }  # fmt: skip
    values["region"] = {"bbox": [554900, 4168000, 563000, 4177900], "crs": "EPSG:32610"}
    found = downloader.download(values, progress=False).open(chunks=None)
    np.testing.assert_array_equal(found["red_mask"].values == 1, found["red"].values > 0)
    assert 0 < found["red_mask"].values.mean() < 1


def test_the_plan_says_what_can_be_told_apart(emulator, tmp_path):
    from tests.harness import cli, write_job

    values = job(emulator, "m.zarr", region=window(*PART))
    values["source"] = {"asset": MASKED, "bands": ["u2", "f4"]}
    file = write_job(tmp_path, values)
    said = cli("plan", file).out
    assert "u2: masked pixels arrive as 0 and look like valid zeros" in said
    assert "f4: masked pixels are nodata only if the service fills them with -9999" in said
    assert "Set mosaic.mask: any" in said
    masked = cli("plan", file, "--set", "mosaic.mask=any", "--json").document
    bands = {band["id"]: band for band in masked["groups"][0]["bands"]}
    assert bands["mask"]["mask_of"] == ["u2", "f4"]
    assert "stored mask" in bands["u2"]["masked_pixels"]
    key = ("--endpoint", emulator.url, "--key-file", emulator.key_file, "--project", "p-test-1")
    assert "look like valid zeros" in cli("inspect", MASKED, *key).out
    assert json.dumps(cli("inspect", MASKED, "--json", *key).document)


def test_computing_stops_at_the_upper_end_of_its_estimate(emulator, tmp_path):
    """Masks are computed: 256² pixels of a band cost up to 0.25 EECU-s by the estimate; the run goes on from there."""
    values = job(
        emulator,
        tmp_path / "m.zarr",
        region=window(0, 0, 1024, 1024),
        mosaic={"mask": "any"},
        source={"asset": MASKED, "bands": ["u2"]},
        request={"tiles": 1},
        limits={"max_eecu": 5.5 * 0.25 / 3600, "concurrency": 1},
    )
    tiles = downloader.plan(values).plan.count_tiles()
    assert tiles > 8
    document = downloader.plan(values).to_json()["compute"]
    assert document["requests"] == tiles
    assert document["eecu_hours"][1] == pytest.approx(tiles * 0.25 / 3600)
    with pytest.raises(
        downloader.StoppedError, match=r"limits\.max_eecu: .*the upper end of an estimate"
    ) as stopped:
        downloader.download(values, progress=False)
    report = stopped.value.report
    assert (report.tiles_stored, report.compute.requests) == (5, 5)
    assert "compute: 5 requests" in str(report)
    assert report.to_json()["compute"]["requests"] == 5
    del values["limits"]
    done = downloader.download(values, progress=False)
    assert (done.tiles_before, done.state, done.compute.requests) == (5, "complete", tiles - 5)


@pytest.mark.parametrize("executor", ["local", {"dask": {"workers": 1}}])
def test_what_repeats_may_cost_counts(emulator, tmp_path, executor):
    """Two bodies are cut, and the service may charge what it computed of them; a 503 costs nothing."""
    values = job(
        emulator,
        tmp_path / "m.zarr",
        region=window(0, 0, 1024, 1024),
        mosaic={"mask": "any"},
        source={"asset": MASKED, "bands": ["u2"]},
        request={"tiles": 1},
        limits={"max_eecu": 6.5 * 0.25 / 3600, "concurrency": 1},
        executor=executor,
    )
    faults = [
        {"fault": kind, "times": times, "above_pixels": 1, "on": "pixels"}
        for kind, times in (("short-body", 2), ("html-503", 1))
    ]
    emulator.configure(faults=faults)
    with pytest.raises(downloader.StoppedError, match=r"limits\.max_eecu: ") as stopped:
        downloader.download(values, progress=False)
    report = stopped.value.report
    assert report.retries == {"short body": 2, "503": 1}
    assert report.compute.low_h == pytest.approx(report.tiles_stored * 0.25 / 16 / 3600)
    assert report.compute.high_h == pytest.approx((report.tiles_stored + 2) * 0.25 / 3600)
    # Some requests are handed out before anything is known of repeats.
    assert 4 <= report.tiles_stored <= 6
