"""Many small samples, end to end: every chip against the oracle, places against the image's own grid."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pyproj
import pytest
import rasterio
import zarr

import downloader
from downloader.errors import DriftError, IncompleteError, JobError
from downloader.exports.stac import _around_samples
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.mosaic.verify.verify import verify
from tests.harness import ROOT, cli, job, key_of, ledger_lines, same_bits, start, wait_until, write_job
from tests.interop.test_stac import validated
from tests.mosaics import coverage_of
from tests.oracle import PUBLIC, QUICKSTART, oracle_valid, oracle_window, scene

SCENE = QUICKSTART.removeprefix(PUBLIC)
EARLIER = "COPERNICUS/S2/20170420T184921_20170420T190203_T10SEG"
CORNERS = {"10m": (10, 499980, 4200000), "20m": (20, 499980, 4200000), "60m": (60, 499980, 4200000)}
TO_UTM = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32610", always_xy=True)


def scattered(count, seed=1):
    """(lon, lat) inside the quickstart's scene, away from its edges."""
    rng = random.Random(seed)
    return [
        (round(rng.uniform(-122.9, -122.0), 6), round(rng.uniform(37.05, 37.85), 6)) for _ in range(count)
    ]


def write_points(path, rows, header="lon,lat"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def chips_job(emulator, folder, file="points.csv", chip=32, **sections):
    points = {"points": {"file": str(folder / file), "chip": chip}}
    sections["region"] = points | sections.get("region", {})
    sections.setdefault("source", {"asset": SCENE, "bands": ["B2", "B4"]})
    return job(emulator, folder / "chips.zarr", **sections)


def expected(image, band, lon, lat, chip, resolution=10, fill=0):
    """The chip around a point by the oracle; what reaches over the image's edge is `fill`."""
    x, y = TO_UTM.transform(lon, lat)
    column = int((x - 499980) // resolution) - chip // 2
    row = int((4200000 - y) // resolution) - chip // 2
    wide, tall = scene(image).bands[band][2:]
    left, top = max(column, 0), max(row, 0)
    right, bottom = min(column + chip, wide), min(row + chip, tall)
    part = oracle_window(image, band, left, top, right - left, bottom - top)
    whole = np.full((chip, chip), fill, part.dtype)
    whole[top - row : bottom - row, left - column : right - column] = part
    return whole, (499980 + column * resolution, 4200000 - row * resolution)


def test_every_chip_lies_around_its_point(emulator, tmp_path):
    points = scattered(150)
    write_points(
        tmp_path / "points.csv",
        [(*p, n * 2, n / 4, f"kind {n % 3}") for n, p in enumerate(points)],
        "lon,lat,age,cover,kind",
    )
    report = downloader.download(chips_job(emulator, tmp_path), progress=False)
    found = report.open(chunks=None)
    assert dict(found.sizes) == {"sample": 150, "y": 32, "x": 32, "affine": 6}
    for n, (lon, lat) in enumerate(points):
        for band in ("B2", "B4"):
            wanted, (x, y) = expected(QUICKSTART, band, lon, lat, 32)
            same_bits(found[band].values[n], wanted, f"{band} of {n}")
        np.testing.assert_array_equal(found.transform.values[n], [10, 0, x, 0, -10, y])
        assert (found.centre_x.values[n], found.centre_y.values[n]) == (x + 165, y - 165)
        px, py = TO_UTM.transform(lon, lat)
        assert abs(px - found.centre_x.values[n]) <= 5, "the pixel that holds the point"
        assert abs(py - found.centre_y.values[n]) <= 5
    assert set(found.crs.values) == {"EPSG:32610"}
    assert found.lon.values.tolist() == [lon for lon, _ in points], "file order kept"
    assert found.lat.values.tolist() == [lat for _, lat in points]
    assert found.age.dtype == np.dtype("i8")
    assert found.age.values.tolist() == [n * 2 for n in range(150)]
    assert found.cover.values.tolist() == [n / 4 for n in range(150)]
    assert found.kind.values[4] == "kind 1"
    assert found.sample_id.values.tolist() == [str(n + 1) for n in range(150)]
    assert set(found.image_id.values) == {SCENE}
    assert str(found.time.values[0]).startswith("2017-04-30T19:03:51")
    assert set(found.data_vars) == {"B2", "B4"}, "all else are coordinates"
    array = zarr.open_array(f"{report.mosaic}/B2", mode="r")
    assert array.chunks == (1, 32, 32)
    assert array.shards == (2, 32, 32), "64 shards at least"
    assert verify(report.mosaic).is_clean


def test_coarser_bands_get_smaller_chips_around_the_same_point(emulator, tmp_path):
    points = scattered(5)
    write_points(tmp_path / "points.csv", points)
    source = {"asset": SCENE, "bands": ["B2", "B5", "B1"]}
    report = downloader.download(chips_job(emulator, tmp_path, source=source, chip=64), progress=False)
    tree = report.open_tree(chunks=None)
    for group, band, chip in (("10m", "B2", 64), ("20m", "B5", 32), ("60m", "B1", 11)):
        found = tree[group]
        assert found[band].shape == (5, chip, chip)
        for n, (lon, lat) in enumerate(points):
            wanted, (x, y) = expected(QUICKSTART, band, lon, lat, chip, CORNERS[group][0])
            same_bits(found[band].values[n], wanted, f"{band} of {n}")
            assert found["transform"].values[n].tolist() == [
                CORNERS[group][0],
                0,
                x,
                0,
                -CORNERS[group][0],
                y,
            ]


def test_a_chip_over_the_edge_is_stored_as_answered_and_its_mask_tells(emulator, tmp_path):
    x, y = 499980 + 35, 4200000 - 45
    (tmp_path / "points.csv").write_text(f"x;y\n{x};{y}\n")
    values = chips_job(emulator, tmp_path, region={"crs": "EPSG:32610"}, mosaic={"mask": "any"})
    values["mosaic"]["path"] = str(tmp_path / "chips.zarr")
    found = downloader.download(values, progress=False).open(chunks=None)
    lon, lat = found.lon.values[0], found.lat.values[0]
    wanted, _ = expected(QUICKSTART, "B2", lon, lat, 32)
    same_bits(found["B2"].values[0], wanted, "B2")
    valid = np.zeros((32, 32), "u1")
    valid[12:, 13:] = 1
    np.testing.assert_array_equal(found["mask"].values[0], valid)


def test_points_name_an_image_or_a_date(emulator, tmp_path):
    inside = [(-122.1, 37.4), (-122.2, 37.5), (-122.05, 37.45), (-122.1, 37.4), (2.0, 48.0)]
    named = [
        (EARLIER, ""),
        ("20170430T190351_20170430T190351_T10SEG", ""),
        ("", "2017-04-21"),
        ("", "2017-04-29T12:00:00Z"),
        ("", "2017-04-21"),
    ]
    write_points(
        tmp_path / "points.csv",
        [(f"s{n}", *p, *which) for n, (p, which) in enumerate(zip(inside, named, strict=True))],
        "ID,Longitude,Latitude,image,date",
    )
    source = {
        "collection": "COPERNICUS/S2",
        "start": "2017-04-01",
        "end": "2017-05-01",
        "pick": "nearest",
        "bands": ["B4"],
    }
    values = chips_job(emulator, tmp_path, source=source)
    with pytest.raises(IncompleteError) as caught:
        downloader.download(values, progress=False)
    report = caught.value.report
    assert [(tile.slice, tile.image) for tile in report.failed] == [(4, "s4")]
    assert (
        "line 6: no image of COPERNICUS/S2 from 2017-04-01 to 2017-05-01 covers the point (2, 48)"
        in report.failed[0].message
    )
    found = report.open(chunks=None, missing="ignore")
    assert found.image_id.values.tolist() == [EARLIER, SCENE, EARLIER, SCENE, ""]
    assert coverage_of(report.mosaic)[:, 0, 0].tolist() == [1, 1, 1, 1, 4]
    assert np.isnat(found.time.values[4])
    assert np.isnan(found.transform.values[4]).all()
    for n in range(4):
        image = PUBLIC + found.image_id.values[n]
        same_bits(found["B4"].values[n], expected(image, "B4", *inside[n], 32)[0], str(n))
    asked = len(emulator.control("requests?since=0")["requests"])
    with pytest.raises(IncompleteError):
        downloader.download(values, progress=False)
    later = emulator.control(f"requests?since={asked}")["requests"]
    assert not [r for r in later if r["method"].endswith("Pixels") and r.get("size") != [1, 1]], (
        "nothing is fetched again"
    )


def test_of_equally_near_images_the_first_by_id_is_taken(emulator, tmp_path):
    """Two images of 10 January overlap; 18:32:30 lies between them."""
    to = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True)
    lon, lat = to.transform(560000 + 20 * 500, 4180000 - 20 * 400)
    write_points(
        tmp_path / "points.csv",
        [(lon, lat, "2020-01-10T18:32:30Z"), (lon, lat, "2020-01-10T18:40:00Z")],
        "lon,lat,date",
    )
    source = {
        "collection": "EMULATOR/PASSES",
        "start": "2020-01-01",
        "end": "2020-03-01",
        "pick": "nearest",
        "bands": ["red"],
    }
    found = downloader.download(chips_job(emulator, tmp_path, source=source, chip=8), progress=False).open(
        chunks=None
    )
    ids = found.image_id.values.tolist()
    assert ids[0] < ids[1]
    assert all("20200110" in one for one in ids)


def test_points_of_several_systems_and_images(emulator, tmp_path):
    """Images of two UTM zones: each chip on its own image's grid, in its own CRS."""
    service = {"endpoint": emulator.url, "project": "p-test-1"}
    auth = {"key_file": str(emulator.key_file)}
    listed = [image.id for image in downloader.images("EMULATOR/ZONES", service=service, auth=auth)]
    grids = {one: downloader.inspect(one, service=service, auth=auth)["bands"][0] for one in listed}
    rows, places = [], []
    for n, one in enumerate(listed):
        grid = grids[one]["grid"]
        affine = grid["affineTransform"]
        column, row = 100 + 7 * n, 60 + 3 * n
        x = affine["translateX"] + affine["scaleX"] * (column + 0.5)
        y = affine["translateY"] + affine["scaleY"] * (row + 0.5)
        lon, lat = pyproj.Transformer.from_crs(grid["crsCode"], "EPSG:4326", always_xy=True).transform(x, y)
        rows.append((lon, lat, one))
        places.append((grid["crsCode"], column - 8, row - 8))
    write_points(tmp_path / "points.csv", rows, "lon,lat,image")
    band = grids[listed[0]]["id"]
    source = {
        "collection": "EMULATOR/ZONES",
        "start": "2000-01-01",
        "end": "2030-01-01",
        "pick": "nearest",
        "bands": [band],
    }
    found = downloader.download(chips_job(emulator, tmp_path, source=source, chip=16), progress=False).open(
        chunks=None
    )
    assert found.crs.values.tolist() == [crs for crs, *_ in places]
    assert len(set(found.crs.values)) == 2
    for n, (_, column, row) in enumerate(places):
        same_bits(found[band].values[n], oracle_window(PUBLIC + listed[n], band, column, row, 16, 16), str(n))


@pytest.mark.parametrize("grid", [{"resolution": 20}, {"crs": "EPSG:4326", "resolution": 0.0002}])
def test_another_grid(emulator, tmp_path, grid):
    points = scattered(3)
    write_points(tmp_path / "points.csv", points)
    source = {"asset": SCENE, "bands": ["B4", "B5"]}
    report = downloader.download(
        chips_job(emulator, tmp_path, source=source, grid=grid, chip=16), progress=False
    )
    found = report.open(chunks=None)
    assert found["B5"].shape == (3, 16, 16)
    for n, (lon, lat) in enumerate(points):
        a, _, c, _, e, f = found.transform.values[n]
        if grid.get("crs"):
            x, y = lon, lat
            assert found.crs.values[n] == "EPSG:4326"
            assert c / 0.0002 == pytest.approx(round(c / 0.0002), abs=1e-6)
        else:
            x, y = TO_UTM.transform(lon, lat)
            wanted, corner = expected(QUICKSTART, "B5", lon, lat, 16, 20)
            same_bits(found["B5"].values[n], wanted, "B5 on its own pixels")
            assert (c, f) == corner
        assert (int((x - c) // a), int((y - f) // e)) == (8, 8), "the point lies in pixel chip // 2"


def test_appended_points_extend_and_changed_ones_are_refused(emulator, tmp_path):
    points = scattered(80)
    rows = [(n, *p) for n, p in enumerate(points)]
    file = write_points(tmp_path / "points.csv", rows[:70], "id,lon,lat")
    values = chips_job(emulator, tmp_path)
    first = downloader.download(values, progress=False)
    before = first.open(chunks=None).load()
    asked = len(emulator.control("requests?since=0")["requests"])
    write_points(file, rows, "id,lon,lat")
    report = downloader.download(values, progress=False)
    later = emulator.control(f"requests?since={asked}")["requests"]
    assert sum(r["method"].endswith("getPixels") and r.get("size") == [32, 32] for r in later) == 10
    found = report.open(chunks=None)
    assert found.sizes["sample"] == 80
    np.testing.assert_array_equal(found["B2"].values[:70], before["B2"].values)
    for n in range(70, 80):
        same_bits(found["B2"].values[n], expected(QUICKSTART, "B2", *points[n], 32)[0], str(n))
    assert found.sample_id.values.tolist() == [str(n) for n in range(80)]
    assert verify(report.mosaic).is_clean
    rows[3] = (3, -122.5, 37.5)
    write_points(file, rows, "id,lon,lat")
    with pytest.raises(DriftError, match=r"points\[4\]: 3 at .* → 3 at \(-122.5, 37.5\)"):
        downloader.download(values, progress=False)
    write_points(file, rows[:60], "id,lon,lat")
    with pytest.raises(DriftError, match="not in this job"):
        downloader.download(values, progress=False)


def test_a_killed_run_continues_and_a_lost_folder_is_rebuilt(emulator, tmp_path):
    emulator.control("configure", {"latency_ms": 30})
    points = scattered(200)
    write_points(tmp_path / "points.csv", points)
    file = write_job(tmp_path, chips_job(emulator, tmp_path, limits={"concurrency": 4}))
    mosaic = tmp_path / "chips.zarr"
    kills = 0
    for wanted in (3, 8):
        process = start("run", file)
        wait_until(lambda wanted=wanted: ledger_lines(mosaic) >= wanted, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills == 2
    ended = cli("run", file)
    assert ended.status == 0, ended
    shutil.rmtree(mosaic / ".downloader")
    assert cli("verify", mosaic, *key_of(emulator), "--repair").status in (0, 3)
    emulator.control("configure", {"latency_ms": 0})
    again = cli("run", file)
    assert again.status == 0, again
    root = zarr.open_group(mosaic, mode="r")
    for n, (lon, lat) in enumerate(points):
        same_bits(root["B2"][n], expected(QUICKSTART, "B2", lon, lat, 32)[0], str(n))
    assert (root["coverage/tiles"][:] == 1).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("lon,lat\n", "holds no point"),
        ("a,b\n1,2\n", "needs lon and lat, or x and y"),
        ("lon,lat\n-122,x37\n", "line 2, column lat: 'x37' is no number"),
        ("lon,lat\n-122,\n", "line 2, column lat: nothing is no number"),
        ("lon,lat\n37.4,-122\n", "line 2: .* is no place on Earth"),
        ("lon,lat\n-122\n", "line 2: has 1 cells, the header 2"),
        ("lon,lat,lon\n1,2,3\n", "'lon' is given twice"),
        ("lon,lat,date\n-122,37,yesterday\n", "line 2, column date: 'yesterday' is no time"),
        ("lon,lat\n0,0\n", "none of the 1 samples can be fetched.*line 2.*lies outside"),
        (None, "there is no file"),
    ],
)  # fmt: skip
def test_bad_files_are_told_with_line_and_fix(emulator, tmp_path, content, said):
    if content is not None:
        (tmp_path / "points.csv").write_text(content)
    with pytest.raises(JobError, match=said):
        downloader.download(chips_job(emulator, tmp_path), progress=False)
    assert not (tmp_path / "chips.zarr").exists()


def test_what_a_job_of_samples_cannot_mean(emulator, tmp_path):
    write_points(tmp_path / "points.csv", scattered(1))
    collection = {
        "collection": "COPERNICUS/S2",
        "start": "2017-04-01",
        "end": "2017-05-01",
        "pick": "nearest",
    }
    with pytest.raises(JobError, match="line 2: names neither image nor date"):
        downloader.download(chips_job(emulator, tmp_path, source=collection), progress=False)
    with pytest.raises(JobError, match="every"):
        downloader.download(
            chips_job(emulator, tmp_path, source={**collection, "every": "day", "reduce": "first"}),
            progress=False,
        )
    with pytest.raises(JobError, match="at most 4,096"):
        downloader.download(chips_job(emulator, tmp_path, chip=5000), progress=False)


def test_geojson_and_one_image_of_all(emulator, tmp_path):
    to = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True)
    features = [
        {"type": "Feature", "id": f"f{n}", "geometry": {"type": "Point", "coordinates": list(to.transform(566000 + 900 * n, 4172000))}, "properties": {"n": n, "name": None if n == 1 else "x"}}
        for n in range(3)
    ]  # fmt: skip
    (tmp_path / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    source = {
        "collection": "EMULATOR/PASSES",
        "start": "2020-01-15",
        "end": "2020-01-16",
        "every": "all",
        "reduce": "last",
        "bands": ["red"],
    }
    values = chips_job(
        emulator, tmp_path, "points.geojson", source=source, chip=8, mosaic={"mask": "per-band"}
    )
    values["mosaic"]["path"] = str(tmp_path / "chips.zarr")
    report = downloader.download(values, progress=False)
    found = report.open(chunks=None)
    assert found.sample_id.values.tolist() == ["f0", "f1", "f2"]
    assert found.n.values.tolist() == [0, 1, 2]
    assert found.name.values.tolist() == ["x", "", "x"]
    image = f"{PUBLIC}EMULATOR/PASSES/20200115T183000"
    for n in range(3):
        column, row = (
            int(v)
            for v in (
                (found.transform.values[n][2] - 560000) / 20,
                (4180000 - found.transform.values[n][5]) / 20,
            )
        )
        same_bits(found["red"].values[n], oracle_window(image, "red", column, row, 8, 8), str(n))
        np.testing.assert_array_equal(
            found["red_mask"].values[n], oracle_valid(image, "red", column, row, 8, 8)
        )
    assert downloader.download(values, progress=False).requests == 0


def test_plan_and_status_and_preview_speak_of_samples(emulator, tmp_path):
    write_points(tmp_path / "points.csv", [*scattered(30), (0, 0)])
    file = write_job(
        tmp_path, chips_job(emulator, tmp_path, source={"asset": SCENE, "bands": ["B4", "B3", "B2"]})
    )
    said = cli("plan", file).out
    assert f"31 samples of 1 image ({PUBLIC}{SCENE}), chips of 32 pixels a side" in said
    assert "cannot be fetched: 31: points.csv, line 32" in said
    ended = cli("run", file, "--allow-failed")
    assert ended.status in (0, 3), ended
    assert "1 image in 31 samples" in cli("status", tmp_path / "chips.zarr").out
    shown = cli("preview", tmp_path / "chips.zarr", "-o", tmp_path / "p.png")
    assert shown.status == 0, shown
    assert "the first 31 of 31 samples" in shown.out


def test_the_recipe_of_the_docs(emulator, tmp_path):
    """docs/recipes.md and docs/samples.md: a data set of those chips that are there, pixels as the oracle has them."""

    def blocks(page: str) -> list[str]:
        return re.findall(
            r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL
        )

    points = [*scattered(6), (0, 0), *scattered(2, seed=3)]
    write_points(
        tmp_path / "points.csv",
        [(*p, "kiwi" if n % 2 else "fig") for n, p in enumerate(points)],
        "lon,lat,kind",
    )
    values = chips_job(emulator, tmp_path, source={"asset": SCENE, "bands": ["B4", "B3", "B2"]})
    with pytest.raises(IncompleteError) as caught:
        downloader.download(values, progress=False)
    scope: dict = {}
    (recipe,) = (block for block in blocks("recipes.md") if "class Chips" in block)
    exec(recipe[: recipe.index("\ntrain, test =")], scope)  # the page's own words
    chips = scope["Chips"](caught.value.report.mosaic, ["B4", "B3", "B2"], holdout=0, scale=1)
    assert len(chips) == 8
    there = [p for p in points if p != (0, 0)]
    for n in range(len(chips)):
        pixels, name = chips[n]
        assert pixels.shape == (3, 32, 32)
        np.testing.assert_array_equal(pixels[0], expected(QUICKSTART, "B4", *there[n], 32)[0])
        assert name == str(1 + points.index(there[n])), "the row of the file"
    learning, raster = blocks("samples.md")[-2:]
    body = (
        learning.replace('downloader.download("plots.yaml")', "report")
        .replace("report = report", "")
        .replace("report.open(chunks=None)", 'report.open(chunks=None, missing="ignore")')
        .replace('"out/plots.zarr"', "report.mosaic")
    )
    scope = {"report": caught.value.report}
    exec(body, scope)  # as above
    assert scope["x"].shape == (8, 3, 32, 32)
    assert list(scope["y"]) == ["fig" if points.index(p) % 2 == 0 else "kiwi" for p in there]
    np.testing.assert_array_equal(scope["first"][0], expected(QUICKSTART, "B4", *there[0], 32)[0])
    affine = pytest.importorskip("affine")
    exec(raster, scope)  # as above
    assert isinstance(scope["transform"], affine.Affine)
    assert scope["crs"] == "EPSG:32610"


@pytest.fixture
def two_images(emulator, tmp_path):
    """Six points of two images, stored."""
    points = scattered(6, seed=5)
    write_points(
        tmp_path / "points.csv",
        [(*p, EARLIER if n % 2 else SCENE) for n, p in enumerate(points)],
        "lon,lat,image",
    )
    source = {
        "collection": "COPERNICUS/S2",
        "start": "2017-04-01",
        "end": "2017-05-01",
        "pick": "nearest",
        "bands": ["B4"],
    }
    values = chips_job(emulator, tmp_path, source=source)
    downloader.download(values, progress=False)
    return points, values


def fetched(emulator, since):
    """Resources of the chips asked for after a record."""
    records = emulator.control(f"requests?since={since}")["requests"]
    return [r["resource"] for r in records if r["method"].endswith("Pixels") and r.get("size") == [32, 32]]


def last_record(emulator):
    return emulator.control("requests?since=0")["requests"][-1]["number"]


def test_an_image_that_changed_is_fetched_again_for_its_own_samples(emulator, two_images):
    _, values = two_images
    emulator.control(
        "configure", {"assets": {PUBLIC + EARLIER: {"updateTime": "2031-01-01T00:00:00.000000Z"}}}
    )
    with pytest.raises(DriftError, match=rf"image {EARLIER}\.updateTime"):
        downloader.download(values, progress=False)
    since = last_record(emulator)
    values["source"]["on_update"] = "refetch"
    report = downloader.download(values, progress=False)
    assert [EARLIER in one for one in fetched(emulator, since)] == [True] * 3
    assert verify(report.mosaic).is_clean


def test_an_image_that_is_gone_keeps_its_chips(emulator, tmp_path, two_images):
    points, values = two_images
    emulator.control("configure", {"assets": {PUBLIC + EARLIER: None}})
    report = downloader.download(values, progress=False)
    assert report.state == "complete"
    assert any(EARLIER in notice and "cannot be read any more" in notice for notice in report.notices)
    for n, (lon, lat) in enumerate(points):
        image = PUBLIC + (EARLIER if n % 2 else SCENE)
        chips = report.open(chunks=None)
        same_bits(chips["B4"].values[n], expected(image, "B4", lon, lat, 32)[0], str(n))


def test_chips_are_compared_and_mended_like_tiles(emulator, tmp_path, two_images):
    _, values = two_images
    file = write_job(tmp_path, values)
    assert cli("verify", file, "--resample", "4").status == 0
    damaged = next((tmp_path / "chips.zarr/B4/c").rglob("0"))
    damaged = (
        damaged
        if damaged.is_file()
        else next(p for p in (tmp_path / "chips.zarr/B4/c").rglob("*") if p.is_file())
    )
    content = bytearray(damaged.read_bytes())
    content[10] ^= 0xFF
    damaged.write_bytes(content)
    assert not verify(tmp_path / "chips.zarr").is_intact
    assert cli("verify", file, "--repair").status == 0
    assert verify(tmp_path / "chips.zarr").is_clean


@pytest.mark.parametrize("compressor", ["none", "zstd"])
def test_plain_profile(emulator, tmp_path, compressor):
    points = scattered(5)
    write_points(tmp_path / "points.csv", points)
    values = chips_job(emulator, tmp_path)
    values["mosaic"] |= {"profile": "plain", "compressor": compressor}
    report = downloader.download(values, progress=False)
    root = zarr.open_group(report.mosaic, mode="r")
    for n, (lon, lat) in enumerate(points):
        same_bits(root["B4"][n], expected(QUICKSTART, "B4", lon, lat, 32)[0], str(n))
    assert downloader.download(values, progress=False).requests == 0
    assert verify(report.mosaic).is_clean


def test_chips_are_exported_and_described_one_by_one(emulator, tmp_path):
    """Files are named by what the samples are called, and the outline holds every chip."""
    points = scattered(3)
    write_points(tmp_path / "points.csv", [(f"plot {n}", *p) for n, p in enumerate(points)], "id,lon,lat")
    report = downloader.download(chips_job(emulator, tmp_path), progress=False)
    names = [f"plot_{n}_{band}.tif" for band in ("B2", "B4") for n in range(3)]
    written = downloader.export(report.mosaic, tmp_path / "out/{sample}_{band}.tif")
    assert [one.file for one in written] == [str(tmp_path / "out" / name) for name in names]
    for n, (lon, lat) in enumerate(points):
        wanted, (x, y) = expected(QUICKSTART, "B4", lon, lat, 32)
        with rasterio.open(tmp_path / "out" / f"plot_{n}_B4.tif") as raster:
            same_bits(raster.read(1), wanted, f"chip {n}")
            assert (raster.transform.c, raster.transform.f) == (x, y)
    timed = downloader.export(report.mosaic, tmp_path / "out/{time}_{sample}.tif", bands=["B2"])
    assert timed[0].file.endswith("20170430T190351_plot_0.tif")
    with pytest.raises(
        JobError, match=r"several files would be named .*; put \{group\} or \{slice\} in the name"
    ):
        downloader.export(report.mosaic, tmp_path / "out/{time}.tif", bands=["B2"])
    document = downloader.stac(report.mosaic)
    validated(document, extensions=2)
    cube = document["properties"]["cube:dimensions"]
    assert cube["sample"] == {"type": "sample", "extent": [0, 2], "step": 1}
    assert cube["x"] == {"type": "pixel", "extent": [0, 31], "step": 1}
    west, south, east, north = document["bbox"]
    to_degrees = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True)
    for lon, lat in points:
        _, (x, y) = expected(QUICKSTART, "B4", lon, lat, 32)
        for corner in ((x, y), (x + 320, y - 320)):
            at = to_degrees.transform(*corner)
            assert west < at[0] < east
            assert south < at[1] < north
    assert east - west < max(lon for lon, _ in points) - min(lon for lon, _ in points) + 0.01


def test_a_box_around_chips_crosses_180_degrees():
    grid = PixelGrid(Crs("EPSG:4326"), AffineTransform(0.01, 0, 179, 0, -0.01, 0), 10, 10)

    def around(lon, lat):
        along = tuple(
            SimpleNamespace(name=name, values=values) for name, values in (("lon", lon), ("lat", lat))
        )
        return _around_samples(SimpleNamespace(group=SimpleNamespace(lattices=(None, grid)), along=along))

    both = around((179.9, -179.9, np.nan), (1.0, -1.0, np.nan))
    assert both.bounds[::2] == (pytest.approx(179.829, abs=1e-3), pytest.approx(180.171, abs=1e-3))
    assert around((179.9,), (1.0,)).area == pytest.approx(0.02, rel=0.01)
