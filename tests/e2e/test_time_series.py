"""Collections as time series, end to end: every pixel against the oracle, and what a mosaic that grows may not touch.

The expected cube is painted here from the oracle and the corners of the emulator's images; nothing of it comes from
the package.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import downloader
from downloader.errors import DriftError, IncompleteError, JobError
from downloader.mosaic.verify.verify import verify
from tests.harness import (
    cli,
    command,
    end,
    getpixels,
    job,
    kill_after,
    ledger_lines,
    running,
    same_bits,
    snapshot,
    wait_until,
    write_job,
)
from tests.mosaics import coverage_of
from tests.oracle import PASSES, PUBLIC, oracle_valid, oracle_window, scene

FOLDER = f"{PUBLIC}EMULATOR/PASSES/"
X, Y, PIXEL = 560000, 4180000, 20
LEFT, TOP, WIDTH, HEIGHT = -100, -60, 900, 700
"""The region, in pixels of the common lattice."""
REGION = {
    "bbox": [
        X + PIXEL * LEFT, Y - PIXEL * (TOP + HEIGHT), X + PIXEL * (LEFT + WIDTH), Y - PIXEL * TOP,
    ],
    "crs": "EPSG:32610",
}  # fmt: skip
NODATA = {"red": 65535, "nir": -9999, "cloud": 255}


def passes(emulator, path, **source):
    values = {
        "collection": "EMULATOR/PASSES",
        "start": "2020-01-01",
        "end": "2020-03-01",
        "bands": ["red", "nir"],
        "on_missing_band": "nodata",
    }
    if "images" in source:
        values = {"bands": ["red", "nir"], "on_missing_band": "nodata"}
    bands = source.get("bands", values["bands"])
    nodata = {band: NODATA[band] for band in bands}
    return job(emulator, path, source=values | source, region=REGION, mosaic={"nodata": nodata})


def run(values, **options):
    return downloader.download(values, progress=False, **options)


def painted(names, band):
    """Plane and what is covered: the first valid pixel of the images; zero where all are masked."""
    plane = np.zeros((HEIGHT, WIDTH), {"red": "<u2", "nir": "<i2", "cloud": "|u1"}[band])
    seen = np.zeros(plane.shape, bool)
    covered = np.zeros(plane.shape, bool)
    for name in names:
        (column, row), bands, _ = PASSES[name]
        if band not in bands.split():
            continue
        left, top = max(column, LEFT), max(row, TOP)
        right, bottom = min(column + 700, LEFT + WIDTH), min(row + 600, TOP + HEIGHT)
        here = np.s_[top - TOP : bottom - TOP, left - LEFT : right - LEFT]
        part = (left - column, top - row, right - left, bottom - top)
        valid = oracle_valid(FOLDER + name, band, *part) & ~seen[here]
        plane[here] = np.where(valid, oracle_window(FOLDER + name, band, *part), plane[here])
        seen[here] |= valid
        covered[here] = True
    return plane, covered


def tiles(covered):
    """Of each tile, whether an image reaches into it."""
    edge = [-n % 256 for n in covered.shape]
    padded = np.pad(covered, ((0, edge[0]), (0, edge[1])))
    return padded.reshape(padded.shape[0] // 256, 256, padded.shape[1] // 256, 256).any(axis=(1, 3))


def reach(names):
    """What the images cover, masked or not: tiles that none of them touches are not asked for."""
    out = np.zeros((HEIGHT, WIDTH), bool)
    for column, row in (PASSES[name][0] for name in names):
        out[
            max(row - TOP, 0) : max(row + 600 - TOP, 0), max(column - LEFT, 0) : max(column + 700 - LEFT, 0)
        ] = True
    return out


def check(path, slices, bands=("red", "nir")):
    """Every pixel of every slice of a mosaic, in its own order along the axis."""
    found = xr.open_zarr(path, chunks=None, mask_and_scale=False)
    assert found.sizes["time"] == len(slices)
    for index, names in enumerate(slices):
        wanted = tiles(reach(names))
        np.testing.assert_array_equal(coverage_of(path)[index], np.where(wanted, 1, 3))
        stored = wanted.repeat(256, 0).repeat(256, 1)[:HEIGHT, :WIDTH]
        for band in bands:
            plane, covered = painted(names, band)
            if not covered.any():
                plane[:] = NODATA[band]
            plane[~stored] = NODATA[band]
            same_bits(found[band].values[index], plane, f"slice {index} {band}")
    return found


ALL = [[name] for name in PASSES]


def test_every_image_of_a_collection(emulator, tmp_path):
    """One lattice and seven places on it; a band that one lacks; ids, times and properties along the axis."""
    path = tmp_path / "m.zarr"
    report = run(passes(emulator, path, properties=["ORBIT", "CLOUD_COVER", "NOTE"]))
    found = check(path, ALL)
    assert report.state == "complete"
    times = [np.datetime64(f"{n[:4]}-{n[4:6]}-{n[6:8]}T{n[9:11]}:{n[11:13]}:{n[13:]}") for n in PASSES]
    np.testing.assert_array_equal(found.time.values, np.array(times, "M8[ns]"))
    assert found.image_id.values.tolist() == [f"EMULATOR/PASSES/{name}" for name in PASSES]
    assert found.ORBIT.values.tolist() == [44, 44, 87, 44, 44, 87, 87]
    assert found.NOTE.values.tolist() == ["", "", "dusk", "", "", "dusk", "dusk"]
    assert found.x.values[0] == X + PIXEL * (LEFT + 0.5)
    assert found.y.values[-1] == Y - PIXEL * (TOP + HEIGHT - 0.5)
    opened = report.open(mask_and_scale=True)
    assert set(opened.data_vars) == {"red", "nir"}
    assert np.isnan(opened.nir.sel(time="2020-01-20T18:30:00").values).all()
    assert verify(path).is_clean


def test_what_lies_outside_an_image_is_not_asked_for(emulator, tmp_path):
    run(passes(emulator, tmp_path / "m.zarr"))
    for record in getpixels(emulator):
        name = record["resource"].rpartition("/")[2]
        column, row, width, height = record["window"]
        (left, top), bands, _ = PASSES[name]
        assert set(record["bands"]) <= set(bands.split()), record
        assert column + width > 0, record
        assert row + height > 0, record
        assert column < 700, record
        assert row < 600, record
        assert (column + left - LEFT) % 256 == (row + top - TOP) % 256 == 0


@pytest.mark.parametrize(
    ("every", "slices"),
    [
        ("day", [ALL[0] + ALL[1], ALL[2], ALL[3] + ALL[4], ALL[5], ALL[6]]),
        ("solar_day", [ALL[0] + ALL[1], ALL[2], ALL[3] + ALL[4], ALL[5] + ALL[6]]),
        ("ORBIT", [ALL[0] + ALL[1] + ALL[3] + ALL[4], ALL[2] + ALL[5] + ALL[6]]),
    ],
)
def test_images_of_a_slice_are_mosaicked_first_valid_pixel_first(emulator, tmp_path, every, slices):
    """By the service, with its masks; images that lack a band leave the place to the others."""
    path = tmp_path / "m.zarr"
    run(passes(emulator, path, every=every, reduce="first"))
    check(path, slices)
    methods = {r["method"] for r in emulator.control("requests?since=0")["requests"]}
    assert any(method.endswith("computePixels") for method in methods)


def test_a_longer_period_appends_and_fetches_nothing_again(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    run(passes(emulator, path, start="2020-01-12", end="2020-01-21", properties=["ORBIT"]))
    check(path, ALL[2:5])
    before = {k: v for k, v in snapshot(path).items() if k.startswith(("red/c", "nir/c"))}
    emulator.control("reset", {})
    report = run(passes(emulator, path, properties=["ORBIT"]))
    assert report.tiles_before > 0
    new = {ALL[k][0] for k in (0, 1, 5, 6)}
    assert {r["resource"].rpartition("/")[2] for r in getpixels(emulator)} == new
    after = snapshot(path)
    assert {key: after[key] for key in before} == before
    check(path, [*ALL[2:5], *ALL[:2], *ALL[5:]])
    opened = report.open(chunks=None)
    assert opened.indexes["time"].is_monotonic_increasing
    assert opened.ORBIT.values.tolist() == [44, 44, 87, 44, 44, 87, 87]
    assert verify(path).is_clean
    with pytest.raises(DriftError, match="which is not all of it"):
        run(passes(emulator, path, end="2020-01-21"))


def test_late_arrivals_wait_to_be_accepted(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    late = FOLDER + ALL[2][0]
    emulator.control("configure", {"assets": {late: None}})
    run(passes(emulator, path))
    emulator.control("reset", {})
    told = run(passes(emulator, path))
    assert told.requests == 0
    (notice,) = told.notices
    assert notice.startswith(f"EMULATOR/PASSES/{ALL[2][0]}: inside the period that the mosaic covers")
    job_file = write_job(tmp_path, passes(emulator, path))
    ended = cli("run", job_file, "--accept", "new-images")
    assert ended.status == 0, ended
    check(path, [*ALL[:2], *ALL[3:], ALL[2]])


def test_an_image_that_vanishes_between_runs_is_recorded(emulator, tmp_path):
    """Its tiles fail with the cause, all others are fetched; what was stored of another that vanished stays."""
    path = tmp_path / "m.zarr"
    run(passes(emulator, path, bands=["red"]))
    gone = [FOLDER + ALL[k][0] for k in (0, 4)]
    emulator.control("configure", {"assets": dict.fromkeys(gone)})
    ended = cli("run", write_job(tmp_path, passes(emulator, path)), "--report", tmp_path / "report.json")
    assert ended.status == 3, ended
    report = json.loads((tmp_path / "report.json").read_text())
    assert {tile["image"] for tile in report["failed"]} == {name.removeprefix(PUBLIC) for name in gone}
    assert {tuple(tile["bands"]) for tile in report["failed"]} == {("nir",)}
    assert {tile["cause"] for tile in report["failed"]} == {"asset not found"}
    assert "cannot be read any more" in " ".join(report["notices"])
    found = xr.open_zarr(path, chunks=None, mask_and_scale=False)
    for index in (0, 4):
        same_bits(found.red.values[index], covered_only(ALL[index], "red"), "what was stored stays")
    same_bits(found.nir.values[5], covered_only(ALL[5], "nir"), "the others went on")
    asked = [r for r in getpixels(emulator) if r["resource"] in gone and r["bands"] == ["nir"]]
    tiles_gone = sum(tiles(reach(ALL[index])).sum() for index in (0, 4))
    assert len(asked) < 2 * tiles_gone
    emulator.control("reset", {})
    assert run(passes(emulator, path)).state == "complete"
    check(path, ALL)


def covered_only(names, band):
    plane, _ = painted(names, band)
    stored = tiles(reach(names)).repeat(256, 0).repeat(256, 1)[:HEIGHT, :WIDTH]
    plane[~stored] = NODATA[band]
    return plane


@pytest.mark.parametrize(
    ("fault", "cause"), [("permission-403", "403 asset"), ("not-found-404", "asset not found")]
)
def test_row_13_one_image_of_a_collection_is_refused(emulator, tmp_path, fault, cause):
    """Recorded with its cause; asked for no more than a few times; the others go on, and a rerun tries just it."""
    path = tmp_path / "m.zarr"
    gone = ALL[3][0]
    emulator.control("configure", {"faults": [{"fault": fault, "asset": FOLDER + gone}]})
    values = passes(emulator, path) | {"limits": {"concurrency": 2}}
    with pytest.raises(IncompleteError) as caught:
        run(values)
    failed = caught.value.report.failed
    assert {tile.image for tile in failed} == {f"EMULATOR/PASSES/{gone}"}
    assert len(failed) == tiles(reach(ALL[3])).sum() > 3
    assert {tile.cause for tile in failed} == {cause}
    assert set(np.unique(coverage_of(path)[3])) <= {3, 4}
    assert set(np.unique(np.delete(coverage_of(path), 3, axis=0))) <= {1, 3}
    assert 1 <= sum(r["resource"] == FOLDER + gone for r in getpixels(emulator)) <= 3
    emulator.control("configure", {"faults": []})
    before = len(getpixels(emulator))
    assert run(values).state == "complete"
    assert {r["resource"] for r in getpixels(emulator)[before:]} == {FOLDER + gone}
    check(path, ALL)


def in_mid_run(emulator, tmp_path, assets, *options):
    """A run in whose middle assets change or go away."""
    path = tmp_path / "m.zarr"
    emulator.control("configure", {"latency_ms": 80})
    values = passes(emulator, path) | {"limits": {"concurrency": 1}, "request": {"tiles": 1}}
    with running("run", write_job(tmp_path, values), *options) as process:
        wait_until(lambda: ledger_lines(path) > 2, process)
        emulator.control("configure", {"assets": assets, "latency_ms": 0})
        return path, end(process)


def test_a_filter_that_cannot_be_read_costs_no_request(emulator, tmp_path):
    """Key, line, value and fix are told of the job file alone."""
    wanted = {"collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-03-01", "filter": "A == 1"}
    for verb in ("plan", "run"):
        ended = command(
            verb, write_job(tmp_path, job(emulator, tmp_path / "m.zarr", source=wanted, region=REGION))
        )
        assert ended.status == 2, ended
        assert "source.filter: character 3 of the filter 'A == 1'" in ended.err
        assert "(write =)" in ended.err
    assert emulator.control("requests?since=0")["requests"] == []


def test_row_57_an_image_is_deleted_in_mid_job(emulator, tmp_path):
    path, ended = in_mid_run(emulator, tmp_path, {FOLDER + ALL[5][0]: None})
    assert ended.status == 3, ended
    found = xr.open_zarr(path, chunks=None, mask_and_scale=False)
    assert (coverage_of(path)[5] == 4).all()
    same_bits(found.red.values[6], covered_only(ALL[6], "red"), "the last one")
    assert f"of EMULATOR/PASSES/{ALL[5][0]}: 404" in ended.out
    emulator.control("reset", {})
    assert run(passes(emulator, path)).state == "complete"
    check(path, ALL)


@pytest.mark.parametrize(("options", "status"), [((), 5), (("--accept", "updates"), 0)])
def test_row_17_an_image_changes_in_mid_job(emulator, tmp_path, options, status):
    """Told when the run ends, by name; kept where that is accepted, and then the next run agrees."""
    assets = {FOLDER + ALL[1][0]: {"updateTime": "2024-02-02T00:00:00Z"}}
    path, ended = in_mid_run(emulator, tmp_path, assets, *options)
    assert ended.status == status, ended
    assert f"EMULATOR/PASSES/{ALL[1][0]} changed while it was fetched" in ended.out + ended.err
    again = cli("run", tmp_path / "job.yaml")
    assert again.status == status, again
    check(path, ALL)


@pytest.mark.parametrize("fault", ["empty-page", "many-pages", "missing-field", "repeated-token"])
def test_row_18_a_listing_that_misbehaves(emulator, tmp_path, fault):
    """The right images, or a clear end; never a shorter series without a word."""
    path = tmp_path / "m.zarr"
    emulator.control(
        "configure", {"faults": [{"fault": fault, "times": 20 if fault == "empty-page" else None}]}
    )
    ended = cli("run", write_job(tmp_path, passes(emulator, path)))
    if fault == "repeated-token":
        assert ended.status == 4, ended
        assert "page token" in ended.err
        assert not path.exists()
    else:
        assert ended.status == 0, ended
        check(path, ALL)


def test_an_image_that_changes_is_named_and_settled_alone(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    run(passes(emulator, path))
    changed = FOLDER + ALL[2][0]
    emulator.control("configure", {"assets": {changed: {"updateTime": "2024-01-01T00:00:00Z"}}})
    ended = cli("run", write_job(tmp_path, passes(emulator, path)))
    assert ended.status == 5, ended
    assert (
        f"image EMULATOR/PASSES/{ALL[2][0]}.updateTime: 2021-06-01T12:00:00Z → 2024-01-01T00:00:00Z"
        in ended.err
    )
    assert "--accept updates" in ended.err
    kept = run(passes(emulator, path), accept=["updates"])
    assert kept.requests == 0
    emulator.control("configure", {"assets": {changed: {"updateTime": "2025-01-01T00:00:00Z"}}})
    before = len(getpixels(emulator))
    again = run(passes(emulator, path, on_update="refetch"))
    assert {record["resource"] for record in getpixels(emulator)[before:]} == {changed}
    assert again.tiles_before == again.tiles - tiles(reach(ALL[2])).sum()
    check(path, ALL)


def test_two_zones_are_refused_and_the_grid_that_is_proposed_works(emulator, tmp_path):
    values = job(
        emulator,
        tmp_path / "m.zarr",
        source={"collection": "EMULATOR/ZONES", "start": "2020-01-01", "end": "2021-01-01"},
        region={"bbox": [-120.06, 37.72, -120.01, 37.75]},
    )
    with pytest.raises(JobError) as caught:
        run(values)
    lines = str(caught.value).splitlines()
    assert (
        "  EPSG:32611, pixels of 30 × 30 m, pixel edges at (0, 0): EMULATOR/ZONES/20200306T182000 red"
        in lines
    )
    import yaml

    pasted = yaml.safe_load(lines[-1])
    report = run(values | pasted)
    assert report.state == "complete"
    found = report.open(chunks=None)
    assert found.sizes["time"] == 3
    from pyproj import Transformer

    x, y = np.meshgrid(found.x.values, found.y.values)
    for index, (crs, corner) in enumerate((("32610", 740010), ("32611", 230010), ("32610", 740010))):
        there = Transformer.from_crs("EPSG:32610", f"EPSG:{crs}", always_xy=True).transform(x, y)
        columns = np.floor((there[0] - corner) / 30).astype(int)
        rows = np.floor((4190010 - there[1]) / 30).astype(int)
        name = found.image_id.values[index]
        whole = oracle_window(PUBLIC + name, "red", 0, 0, 800, 700)
        inside = (columns >= 0) & (columns < 800) & (rows >= 0) & (rows < 700)
        expected = np.where(inside, whole[rows.clip(0, 699), columns.clip(0, 799)], 0)
        shown = found.red.values[index]
        assert (shown == expected).mean() > 0.999, "pixels on an edge may fall to either side"
    assert scene(PUBLIC + found.image_id.values[1])


def test_plan_and_status_tell_of_images_and_times(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    job_file = write_job(tmp_path, passes(emulator, path, every="solar_day", reduce="first"))
    planned = cli("plan", job_file)
    assert planned.out.startswith(
        "EMULATOR/PASSES, 7 images in 4 slices, 2020-01-10T18:30:00Z … 2020-02-01T23:50:00Z, EPSG:32610"
    )
    document = cli("plan", job_file, "--json").document
    assert [len(part["images"]) for part in document["slices"]] == [2, 1, 2, 2]
    run(job_file)
    assert "7 images in 4 slices" in cli("status", path).out
    assert cli("status", path, "--json").document["slices"] == 4
    for time, shown in (("latest", "2020-02-01"), ("0", "2020-01-10"), ("2020-01-15", "2020-01-15")):
        said = cli("preview", path, "-o", tmp_path / "p.png", "--bands", "red", "--time", time)
        assert f", {shown}, bands red" in said.out
    refused = cli("preview", path, "-o", tmp_path / "p.png", "--time", "2031")
    assert refused.status == 2
    assert "from 2020-01-10T18:30 to 2020-02-01T23:50" in refused.err


def test_kills_during_an_append_cost_nothing_old(emulator, tmp_path):
    """SIGKILL while a longer period is fetched; each time the mosaic reads as the old one or the new one."""
    path = tmp_path / "m.zarr"
    run(passes(emulator, path, end="2020-01-16"))
    before = snapshot(path)
    emulator.control("configure", {"latency_ms": 60})
    values = passes(emulator, path) | {"limits": {"concurrency": 3}}
    job_file = write_job(tmp_path, values)
    for lines in (0, 1, 4):
        kill_after(job_file, path, lines, 0.02)
        found = xr.open_zarr(path, chunks=None, mask_and_scale=False)
        assert found.sizes["time"] in (3, 7)
        for index in range(3):
            same_bits(found.red.values[index], covered_only(ALL[index], "red"), "an old slice")
    assert run(job_file).state == "complete"
    check(path, ALL)
    after = snapshot(path)
    old = [key for key in before if key.startswith(("red/c", "nir/c"))]
    assert {key: after[key] for key in old} == {key: before[key] for key in old}


def test_damage_to_a_series_is_found_and_mended(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    job_file = write_job(tmp_path, passes(emulator, path, every="day", reduce="first", properties=["NOTE"]))
    run(job_file)
    (path / "image_id/c/0").unlink()
    (path / "NOTE/zarr.json").write_text("{")
    shard = path / "red/c/2/0/0"
    shard.write_bytes(shard.read_bytes()[:-9])
    before = len(getpixels(emulator)) + len(computed(emulator))
    ended = cli("verify", job_file, "--repair", "--json")
    assert ended.status == 0, ended
    lost = {one["object"] for one in ended.document["lost"]}
    assert lost == {"image_id/c/0", "NOTE/zarr.json"}
    assert len(getpixels(emulator)) + len(computed(emulator)) == before + 1
    check(path, [ALL[0] + ALL[1], ALL[2], ALL[3] + ALL[4], ALL[5], ALL[6]])
    compared = cli("verify", job_file, "--resample", "12", "--json").document
    assert compared["resample"]["differences"] == []
    assert compared["resample"]["notices"] == []


def computed(emulator):
    """Pixel requests for expressions, but for the canaries'."""
    records = emulator.control("requests?since=0")["requests"]
    return [r for r in records if r["method"].endswith("computePixels") and r["size"] != [1, 1]]
