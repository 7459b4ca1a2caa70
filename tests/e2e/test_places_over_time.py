"""Points over time, end to end: every image of each point in its window, each chip against the oracle."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

import downloader
from downloader.errors import DriftError, IncompleteError, JobError, RefusedError, StoppedError
from downloader.mosaic.verify.verify import verify
from tests.harness import cli, job, key_of, ledger_lines, same_bits, start, wait_until, write_job
from tests.interop.test_stac import validated
from tests.oracle import PASSES, PUBLIC, oracle_valid, oracle_window

FOLDER = f"{PUBLIC}EMULATOR/PASSES/"
X, Y, PIXEL = 560000, 4180000, 20
NAMES = sorted(PASSES)
RED = [name for name in NAMES if "red" in PASSES[name][1].split()]
PLACES = {
    "middle": (400, 350),
    "corner": (40, 50),
    "edge": (-250, 110),
    "right": (950, 700),
    "none": (-900, 100),
}
"""Point → column and row on the lattice of the images."""


def write_places(path, places=PLACES, date=None):
    """Points in the middle of their pixels."""
    rows = ["id,x,y,kind" + (",date" if date else "")]
    for n, (name, (column, row)) in enumerate(places.items()):
        at = f"{name},{X + PIXEL * (column + 0.5)},{Y - PIXEL * (row + 0.5)},{n}"
        rows.append(at + (f",{date}" if date else ""))
    path.write_text("\n".join(rows) + "\n")
    return path


def over_time(emulator, folder, chip=8, points=None, mosaic=None, **source):
    values = {"collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-03-01", "bands": ["red"]}
    region = {
        "points": {"file": str(folder / "points.csv"), "chip": chip, **(points or {})},
        "crs": "EPSG:32610",
    }
    made = job(emulator, folder / "places.zarr", source=values | source, region=region)
    made["mosaic"] |= {"mask": "per-band", **(mosaic or {})}
    return made


def images_at(column, row, names=RED):
    """The images whose grid holds a pixel, by time."""
    found = []
    for name in names:
        left, top = PASSES[name][0]
        if left <= column < left + 700 and top <= row < top + 600:
            found.append(name)
    return found


def chip_of(name, column, row, chip, band="red"):
    """(pixels, valid) of a chip by the oracle; nothing beyond the image's edge is valid."""
    left, top = PASSES[name][0]
    pixels = np.zeros((chip, chip), {"red": "<u2", "nir": "<i2"}[band])
    valid = np.zeros((chip, chip), bool)
    first, upper = column - chip // 2, row - chip // 2
    west, north = max(first, left), max(upper, top)
    east, south = min(first + chip, left + 700), min(upper + chip, top + 600)
    here = np.s_[north - upper : south - upper, west - first : east - first]
    part = (west - left, north - top, east - west, south - north)
    pixels[here] = oracle_window(FOLDER + name, band, *part)
    valid[here] = oracle_valid(FOLDER + name, band, *part)
    return pixels, valid


def check(path, places=PLACES, chip=8, names=RED):
    """Every chip of every step, its time, image and mask; nothing where a point has no more images."""
    found = zarr.open_group(path, mode="r")
    steps = max(len(images_at(*at, names)) for at in places.values())
    assert found["red"].shape == (len(places), steps, chip, chip)
    assert found["red"].metadata.dimension_names == ("sample", "step", "y", "x")
    for n, (column, row) in enumerate(places.values()):
        wanted = images_at(column, row, names)
        for k in range(steps):
            if k >= len(wanted):
                assert found["coverage/tiles"][n, k, 0, 0] == 3
                assert found["image_id"][n, k] == ""
                assert found["time"][n, k] == -(2**63)
                assert not found["red"][n, k].any()
                assert not found["red_mask"][n, k].any()
                continue
            pixels, valid = chip_of(wanted[k], column, row, chip)
            assert found["image_id"][n, k] == f"EMULATOR/PASSES/{wanted[k]}"
            assert found["coverage/tiles"][n, k, 0, 0] == 1
            same_bits(found["red"][n, k], pixels, f"{n} {k}")
            np.testing.assert_array_equal(found["red_mask"][n, k], valid)
            moment = np.datetime64(int(found["time"][n, k]), "us")
            assert str(moment).replace("-", "").replace(":", "").startswith(wanted[k])
    return found


@pytest.mark.parametrize("profile", ["sharded", "plain"])
@pytest.mark.parametrize("chip", [1, 8])
def test_every_image_of_each_point(emulator, tmp_path, chip, profile):
    write_places(tmp_path / "points.csv")
    values = over_time(emulator, tmp_path, chip, mosaic={"profile": profile})
    report = downloader.download(values, progress=False)
    assert report.state == "complete"
    assert any("1 point without an image: none" in notice for notice in report.notices)
    check(tmp_path / "places.zarr", chip=chip)
    listed = [r for r in emulator.control("requests?since=0")["requests"] if "list" in r["method"].lower()]
    assert len(listed) == 1, "once over all points"
    assert verify(report.mosaic).is_clean
    assert downloader.download(values, progress=False).requests == 0
    opened = report.open(chunks=None)
    assert opened.red.dims == ("sample", "step", "y", "x")
    assert opened.time.dims == opened.image_id.dims == opened.cloud_share.dims == ("sample", "step")
    assert opened.kind.values.tolist() == [0, 1, 2, 3, 4]
    assert np.isnat(opened.time.values[4]).all()
    assert opened.transform.dims == ("sample", "affine")


def test_windows_of_dates_and_a_list_of_images(emulator, tmp_path):
    """Around midnight of 21 January: from eleven days before, which are taken, to eleven and a half after."""
    write_places(tmp_path / "points.csv", date="2020-01-21")
    values = over_time(emulator, tmp_path, points={"before": "11d", "after": "11.5d"})
    del values["source"]["start"], values["source"]["end"]
    downloader.download(values, progress=False)
    names = [name for name in RED if "20200110" <= name < "20200201T12"]
    assert "20200201T235000" not in names
    check(tmp_path / "places.zarr", names=names)
    values = over_time(
        emulator, tmp_path, points={"before": "1d", "after": "1d"}, start="2020-01-20", end="2020-01-21"
    )
    values["mosaic"]["path"] = str(tmp_path / "clipped.zarr")
    downloader.download(values, progress=False)
    check(tmp_path / "clipped.zarr", names=[name for name in RED if name.startswith("20200120")])
    values = over_time(emulator, tmp_path)
    values["source"] = {"images": [f"EMULATOR/PASSES/{name}" for name in reversed(RED[:4])], "bands": ["red"]}
    values["mosaic"]["path"] = str(tmp_path / "list.zarr")
    downloader.download(values, progress=False)
    check(tmp_path / "list.zarr", names=RED[:4])


def test_appended_points_extend_and_changed_ones_are_refused(emulator, tmp_path):
    first = dict(list(PLACES.items())[:3])
    write_places(tmp_path / "points.csv", first)
    values = over_time(emulator, tmp_path)
    downloader.download(values, progress=False)
    check(tmp_path / "places.zarr", first)
    since = emulator.control("requests?since=0")["requests"][-1]["number"]
    write_places(tmp_path / "points.csv")
    downloader.download(values, progress=False)
    check(tmp_path / "places.zarr")
    asked = [r for r in emulator.control(f"requests?since={since}")["requests"] if r.get("size") == [8, 8]]
    assert [len(r["bands"]) for r in asked] == [2 * len(images_at(*PLACES["right"]))], "only the new ones"
    assert verify(tmp_path / "places.zarr").is_clean
    write_places(tmp_path / "points.csv", {**PLACES, "corner": (41, 50)})
    with pytest.raises(DriftError, match=r"points\[2\]: corner at .* → corner at"):
        downloader.download(values, progress=False)
    write_places(tmp_path / "points.csv")
    with pytest.raises(
        DriftError,
        match=r"start and end: 2020-01-01T00:00:00Z…2020-03-01T00:00:00Z → 2020-01-01T00:00:00Z…2020-02-01.*not all of it",
    ):
        downloader.download(over_time(emulator, tmp_path, end="2020-02-01"), progress=False)
    write_places(tmp_path / "points.csv", date="2020-01-10")
    with pytest.raises(DriftError, match="images of a point: all of its period → one, and no axis of steps"):
        downloader.download(over_time(emulator, tmp_path, pick="nearest"), progress=False)


def test_a_point_with_more_images_than_the_mosaic_has_steps_brings_more_steps(emulator, tmp_path):
    few = {"right": PLACES["right"]}
    write_places(tmp_path / "points.csv", few)
    values = over_time(emulator, tmp_path)
    downloader.download(values, progress=False)
    check(tmp_path / "places.zarr", few)
    more = {**few, "middle": PLACES["middle"]}
    write_places(tmp_path / "points.csv", more)
    assert downloader.download(values, progress=False).requests == 2, "two shards of the new point's steps"
    check(tmp_path / "places.zarr", more)
    assert verify(tmp_path / "places.zarr").is_clean


@pytest.mark.parametrize("profile", ["sharded", "plain"])
def test_a_longer_period_and_more_points_grow_both_axes(emulator, tmp_path, profile):
    """Dates follow after those that a point has, in the same shards; what is stored is not asked for again."""
    mosaic, settings = tmp_path / "places.zarr", {"profile": profile}
    first = dict(list(PLACES.items())[:3])
    write_places(tmp_path / "points.csv", first)
    downloader.download(over_time(emulator, tmp_path, end="2020-01-16", mosaic=settings), progress=False)
    check(mosaic, first, names=[name for name in RED if name < "20200116"])
    write_places(tmp_path / "points.csv")
    longer = over_time(emulator, tmp_path, mosaic=settings)
    report = downloader.download(longer, progress=False)
    later = sum(len(images_at(*at)) for at in PLACES.values()) - report.tiles_before
    assert report.tiles_stored - report.tiles_before == later
    check(mosaic)
    assert verify(mosaic).is_clean
    if profile == "sharded":
        assert zarr.open_array(mosaic / "red", mode="r").shards[1] == 4
    shutil.rmtree(mosaic / ".downloader")
    assert downloader.download(longer, progress=False).requests == 0
    check(mosaic)
    before = downloader.download(
        over_time(emulator, tmp_path, start="2019-12-01", mosaic=settings), progress=False
    )
    assert before.requests == 0
    with pytest.raises(DriftError, match="which is not all of it"):
        downloader.download(longer, progress=False)


def test_a_mosaic_that_was_left_between_its_record_and_its_arrays_is_not_read_by_number(emulator, tmp_path):
    """Killed as steps were added: chip 9 would be another one by the arrays than by the record."""
    write_places(tmp_path / "points.csv")
    report = downloader.download(over_time(emulator, tmp_path), progress=False)
    for path in (tmp_path / "places.zarr/zarr.json", tmp_path / "places.zarr/red/zarr.json"):
        document = json.loads(path.read_text())
        inlined = document.get("consolidated_metadata", {}).get("metadata", {}).get("red", document)
        inlined["shape"][1] = 5
        path.write_text(json.dumps(document))
    with pytest.raises(RefusedError, match="was left while its samples were extended; run its job again"):
        downloader.export(report.mosaic, tmp_path / "a.tif", slice=9, bands=["red"])
    with pytest.raises(RefusedError, match="run its job again"):
        report.table(tmp_path / "t.csv", stats=["mean"])
    assert downloader.download(over_time(emulator, tmp_path), progress=False).requests == 0
    check(tmp_path / "places.zarr")


def test_dates_beyond_a_shard_lie_in_the_next_one(emulator, tmp_path):
    places = {f"p{n}": (60 + 11 * n, 260 + 7 * n) for n in range(3)}
    write_places(tmp_path / "points.csv", places)
    made = {"chunks": {"time": 2}}
    downloader.download(over_time(emulator, tmp_path, end="2020-01-11", mosaic=made), progress=False)
    assert zarr.open_array(tmp_path / "places.zarr/red", mode="r").shards[1] == 2
    for end in ("2020-01-21", "2020-02-02", "2020-03-01"):
        downloader.download(over_time(emulator, tmp_path, end=end, mosaic=made), progress=False)
        check(tmp_path / "places.zarr", places, names=[n for n in RED if n < end.replace("-", "")])
        assert verify(tmp_path / "places.zarr").is_clean
    array = zarr.open_array(tmp_path / "places.zarr/red", mode="r")
    assert (array.chunks[:2], array.shards[:2]) == ((1, 2), (1, 2))


def test_a_killed_run_continues_and_a_lost_folder_is_rebuilt(emulator, tmp_path):
    emulator.control("configure", {"latency_ms": 30})
    places = {f"p{n}": (60 + 11 * n, 100 + 7 * n) for n in range(40)}
    write_places(tmp_path / "points.csv", places)
    file = write_job(tmp_path, over_time(emulator, tmp_path))
    mosaic = tmp_path / "places.zarr"
    for wanted in (3, 9):
        process = start("run", file)
        wait_until(lambda wanted=wanted: ledger_lines(mosaic) >= wanted, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    emulator.control("configure", {"latency_ms": 0})
    ended = cli("run", file)
    assert ended.status == 0, ended
    check(mosaic, places)
    shutil.rmtree(mosaic / ".downloader")
    assert cli("verify", mosaic, *key_of(emulator), "--repair").status == 0
    again = cli("run", file)
    assert again.status == 0, again
    check(mosaic, places)
    assert verify(mosaic).is_clean


def test_all_that_reads_a_mosaic_knows_steps(emulator, tmp_path):
    write_places(tmp_path / "points.csv")
    values = over_time(emulator, tmp_path)
    file = write_job(tmp_path, values)
    said = cli("plan", file)
    line = f"5 samples of 7 steps, cut from {len(RED)} images (EMULATOR/PASSES), chips of 8 pixels a side"
    assert line in said.out, said
    downloader.plan(values).map(tmp_path / "map.geojson")
    features = json.loads((tmp_path / "map.geojson").read_text())["features"]
    assert [one["properties"]["state"] for one in features] == ["todo"] * 4 + ["stored"]
    assert cli("run", file).status == 0
    mosaic = tmp_path / "places.zarr"
    assert f"{len(RED)} images in 5 samples of 7 steps" in cli("status", mosaic).out
    shown = cli("preview", mosaic, "-o", tmp_path / "p.png", "--bands", "red")
    assert shown.status == 0, shown
    made = cli("export", mosaic, "-o", tmp_path / "a.tif", "--slice", 7 + 2, "--bands", "red")
    assert made.status == 0, made
    with rasterio.open(tmp_path / "a.tif") as chip:
        name = images_at(*PLACES["corner"])[2]
        pixels, valid = chip_of(name, *PLACES["corner"], 8)
        np.testing.assert_array_equal(chip.read(1), pixels)
        np.testing.assert_array_equal(chip.read_masks(1) > 0, valid)
        assert chip.tags()["IMAGE_ID"] == f"EMULATOR/PASSES/{name}"
        assert chip.tags()["SAMPLE_ID"] == "corner"
        assert chip.transform.c == X + PIXEL * (40 - 4)
    made = cli("export", mosaic, "-o", tmp_path / "all/{sample}.tif", "--bands", "red")
    assert made.status == 0, made
    count = sum(len(images_at(*at)) for at in PLACES.values())
    assert len(list((tmp_path / "all").iterdir())) == count
    with rasterio.open(tmp_path / "all/corner_2.tif") as chip:
        np.testing.assert_array_equal(chip.read(1), pixels)
    made = cli("export", mosaic, "-o", tmp_path / "dates/{sample}_{time}.tif", "--bands", "red")
    assert made.status == 0, made
    names = {file.stem for file in (tmp_path / "dates").iterdir()}
    assert "corner_20200115T1830" in names
    assert len(names) == count
    made = cli("export", mosaic, "-o", tmp_path / "a.nc", "--slice", 7 + 2, "--bands", "red")
    assert made.status == 0, made
    with xr.open_dataset(tmp_path / "a.nc", mask_and_scale=False) as chips:
        np.testing.assert_array_equal(chips.red.squeeze(), pixels)
    document = downloader.stac(mosaic)
    validated(document, extensions=2)
    assert document["properties"]["end_datetime"] == "2020-02-02T00:10:00Z"
    assert document["properties"]["cube:dimensions"]["step"] == {"type": "step", "extent": [0, 6], "step": 1}
    report = downloader.download(values, progress=False)
    assert "35 chips" in report.to_html()
    table = report.table(tmp_path / "t.parquet", stats=["mean", "max"]).to_pandas()
    rows = [(n, k) for n, at in enumerate(PLACES.values()) for k in range(len(images_at(*at)))]
    assert len(table) == len(rows), "a step without an image has no row"
    for row, (n, k) in zip(table.itertuples(), rows, strict=True):
        place = list(PLACES.values())[n]
        name = images_at(*place)[k]
        pixels, valid = chip_of(name, *place, 8)
        assert (row.sample_id, row.kind, row.image_id) == (list(PLACES)[n], n, f"EMULATOR/PASSES/{name}")
        assert row.red_valid == pytest.approx(valid.mean())
        if valid.any():
            assert row.red_mean == pytest.approx(pixels[valid].mean())
            assert row.red_max == pixels[valid].max()


@pytest.mark.parametrize(
    ("date", "before", "after"),
    [("2020-01-10", "999999999d", "999999999999999d"), ("0001-01-01", "1d", "999999d"), ("9999-12-31", "999999999d", "1d")],
)  # fmt: skip
def test_windows_beyond_all_dates_take_every_image(emulator, tmp_path, date, before, after):
    write_places(tmp_path / "points.csv", {"middle": PLACES["middle"]}, date=date)
    values = over_time(emulator, tmp_path, points={"before": before, "after": after}, start=None, end=None)
    assert downloader.plan(values).plan.images == len(images_at(*PLACES["middle"]))


def test_a_plan_counts_what_is_asked_and_names_points_without_an_image(emulator, tmp_path):
    write_places(tmp_path / "points.csv", {name: PLACES[name] for name in ("none", "middle")})
    said = cli("plan", write_job(tmp_path, over_time(emulator, tmp_path)))
    row = next(line for line in said.out.splitlines() if line.startswith("/ ")).split()
    count = str(len(images_at(*PLACES["middle"])))
    assert row[-4:-2] == [count, "1"], said
    assert f"tiles     {count} in 1 request" in said.out
    assert f"stacks    up to {count} dates of a point in one computed request" in said.out
    assert "1 point without an image: none" in said.out


def test_all_dates_of_a_point_come_in_one_request(emulator, tmp_path):
    write_places(tmp_path / "points.csv")
    report = downloader.download(over_time(emulator, tmp_path), progress=False)
    assert report.requests == sum(bool(images_at(*at)) for at in PLACES.values())
    check(tmp_path / "places.zarr")
    alone = over_time(emulator, tmp_path / "alone")
    alone["region"]["points"]["file"] = str(tmp_path / "points.csv")
    report = downloader.download(alone | {"request": {"depth": 1}}, progress=False)
    assert report.requests == report.tiles_stored
    check(tmp_path / "alone/places.zarr")
    emulator.control("reset", {})
    assert downloader.download(over_time(emulator, tmp_path), progress=False).requests == 0


def scenes(emulator, folder, **source):
    """Six places in Sentinel-2's three tiles, two of them where tiles overlap."""
    rows = ["id,lon,lat"]
    rows += [f"p{k},{lon},{lat}" for k, (lon, lat) in enumerate(
        [(-122.3, 37.5), (-122.1, 37.2), (-121.8, 37.4), (-121.81, 37.6), (-121.3, 37.3), (-122.5, 38.2)]
    )]  # fmt: skip
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    values = {"start": "2017-04-01", "end": "2017-09-01", "bands": ["B4"], "mask": "clouds", **source}
    values.setdefault("collection", "COPERNICUS/S2_SR_HARMONIZED")
    region = {"points": {"file": str(folder / "points.csv"), "chip": 16}}
    made = job(emulator, folder / "m.zarr", source=values, region=region)
    made["mosaic"]["mask"] = "any"
    return made


def test_the_clearest_images_of_each_place_and_season(emulator, tmp_path):
    """Counted on a coarse grid of about the chip's pixels, so that of nearly equal ones another may be taken."""
    (tmp_path / "all").mkdir()
    every = scenes(emulator, tmp_path / "all")
    with pytest.raises(IncompleteError) as caught:  # one image has no cloud scores; it is not picked
        downloader.download(every, progress=False)
    whole = caught.value.report.open(chunks=None, missing="ignore")
    picked = scenes(emulator, tmp_path, pick={"clearest": 2, "per": "season"})
    report = downloader.download(picked, progress=False)
    found = report.open(chunks=None)
    assert found.sizes["step"] == 4, "two of each of two seasons"
    for n in range(6):
        clear = {
            str(image): (float(valid), time)
            for image, time, valid in zip(
                whole.image_id.values[n],
                whole.time.values[n],
                whole.mask.values[n].mean(axis=(1, 2)),
                strict=True,
            )
            if image
        }
        own = [str(image) for image in found.image_id.values[n]]
        assert own == sorted(own, key=lambda image: clear[image][1])
        seasons: dict[int, list[str]] = {}
        for image, (_, time) in clear.items():
            seasons.setdefault((time.astype("datetime64[M]").astype(int) + 1) // 3, []).append(image)
        assert len(seasons) == 2
        for images in seasons.values():
            taken = [clear[image][0] for image in images if image in own]
            assert len(taken) == 2
            assert min(taken) >= sorted((clear[image][0] for image in images), reverse=True)[1] - 0.15
        for step, image in enumerate(own):
            there = whole.image_id.values[n].tolist().index(image)
            np.testing.assert_array_equal(found.B4.values[n, step], whole.B4.values[n, there])
    assert downloader.download(picked, progress=False).requests == 0
    picked["source"]["end"] = "2017-12-01"
    grown = downloader.download(picked, progress=False).open(chunks=None)
    np.testing.assert_array_equal(grown.image_id.values[:, :4], found.image_id.values)
    assert grown.sizes["step"] == 6, "of autumn too"


def test_several_collections_in_the_order_of_time(emulator, tmp_path):
    both = ["COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED"]
    values = scenes(emulator, tmp_path, collection=both, months=[4, 6], mask=None)
    del values["source"]["mask"]
    downloader.download(values, progress=False)
    found = downloader.open(tmp_path / "m.zarr", chunks=None)
    names = [str(name) for name in found.image_id.values[0] if name]
    days = {name.rsplit("/", 1)[1][:8] for name in names}
    assert {day[4:6] for day in days} == {"04", "06"}
    assert len(names) == 2 * len(days), "of each day one of each collection"
    assert {name.rsplit("/", 1)[0] for name in names} == set(both)
    times = found.time.values[0][: len(names)]
    assert (np.diff(times) >= np.timedelta64(0)).all()
    for step, name in enumerate(names[:4]):
        column, row = (
            round((float(found.centre_x[0]) - 499980) / 10 - 0.5) - 8,
            round((4200000 - float(found.centre_y[0])) / 10 - 0.5) - 8,
        )
        same_bits(found.B4.values[0, step], oracle_window(PUBLIC + name, "B4", column, row, 16, 16), name)


def test_a_date_that_fails_is_found_in_its_stack_and_recorded_alone(emulator, tmp_path):
    write_places(tmp_path / "points.csv", {name: PLACES[name] for name in ("middle", "right")})
    values = over_time(emulator, tmp_path)
    with pytest.raises(StoppedError):
        downloader.download(values | {"limits": {"concurrency": 1, "max_requests": 1}}, progress=False)
    gone = images_at(*PLACES["right"])[1]
    emulator.control("configure", {"assets": {FOLDER + gone: None}})
    with pytest.raises(IncompleteError) as caught:
        downloader.download(values, progress=False)
    steps = max(len(images_at(*PLACES[name])) for name in ("middle", "right"))
    assert [tile.slice for tile in caught.value.report.failed] == [steps + 1]
    cells = zarr.open_group(tmp_path / "places.zarr", mode="r")["coverage/tiles"][..., 0, 0]
    assert (cells == 4).nonzero()[0].tolist() == [1]
    assert (cells == 4).nonzero()[1].tolist() == [1]
    emulator.control("reset", {})
    downloader.download(values, progress=False)
    check(tmp_path / "places.zarr", {name: PLACES[name] for name in ("middle", "right")})


def test_an_image_that_is_gone_is_found_once_for_all_places(emulator, tmp_path):
    places = {f"p{n}": (60 + 11 * n, 260 + 7 * n) for n in range(30)}
    write_places(tmp_path / "points.csv", places)
    values = over_time(emulator, tmp_path)
    with pytest.raises(StoppedError):
        downloader.download(values | {"limits": {"concurrency": 1, "max_requests": 1}}, progress=False)
    emulator.control("configure", {"assets": {f"{FOLDER}20200115T183000": None}})
    with pytest.raises(IncompleteError) as caught:
        downloader.download(values | {"limits": {"concurrency": 2}}, progress=False)
    report = caught.value.report
    failed = {tile.slice for tile in report.failed}
    assert len(failed) == sum("20200115T183000" in images_at(*at) for at in places.values()) - 1
    # Around the hole two requests a place, and what it took to find it in the first ones.
    assert report.requests <= 2 * len(places) + 20
    emulator.control("reset", {})
    downloader.download(values, progress=False)
    check(tmp_path / "places.zarr", places)


def test_a_step_of_which_nothing_can_be_made_stays_a_failed_one(emulator, tmp_path):
    """An image without cloud scores, in the middle of the others: these keep their places, whatever runs come."""

    def fetched(path, end, *, requests=None):
        values = scenes(emulator, tmp_path, end=end)
        values["mosaic"]["path"] = str(tmp_path / path)
        with pytest.raises(IncompleteError) as caught:
            downloader.download(values, progress=False)
        report = caught.value.report
        assert "20170506T184921_20170506T184921_T10SEG has no partner of the same index" in str(report)
        assert "leave the image out by source.filter" in str(report)
        assert requests is None or report.requests == requests
        return report.open(chunks=None, missing="ignore")

    fetched("m.zarr", "2017-05-20")
    fetched("m.zarr", "2017-05-20", requests=0)
    grown, whole = fetched("m.zarr", "2017-06-10"), fetched("whole.zarr", "2017-06-10")
    for name in ("image_id", "time", "B4", "mask"):
        np.testing.assert_array_equal(grown[name].values, whole[name].values, err_msg=name)
    cells = zarr.open_group(tmp_path / "m.zarr", mode="r")["coverage/tiles"][..., 0, 0]
    failed = np.char.endswith(
        np.array(grown.image_id.values.tolist()), "20170506T184921_20170506T184921_T10SEG"
    )
    np.testing.assert_array_equal(cells == 4, failed)
    assert failed.any()


def test_a_list_of_images_grows_and_a_shorter_one_is_refused(emulator, tmp_path):
    write_places(tmp_path / "points.csv", {"middle": PLACES["middle"]})

    def fetched(names):
        values = over_time(emulator, tmp_path)
        values["source"] = {"images": [f"EMULATOR/PASSES/{name}" for name in names], "bands": ["red"]}
        downloader.download(values, progress=False)
        found = zarr.open_group(tmp_path / "places.zarr", mode="r")
        assert [name.rpartition("/")[2] for name in found["image_id"][0]] == sorted(names)
        for k, name in enumerate(sorted(names)):
            same_bits(found["red"][0, k], chip_of(name, *PLACES["middle"], 8)[0], name)

    fetched(RED[:3])
    with pytest.raises(DriftError, match=rf"image EMULATOR/PASSES/{RED[1]}.*→ not in this job"):
        fetched([RED[0], RED[2]])
    fetched(RED[:4])


def test_images_without_the_band_are_left_out_and_told(emulator, tmp_path):
    places = {"middle": PLACES["middle"]}
    write_places(tmp_path / "points.csv", places)
    report = downloader.download(over_time(emulator, tmp_path, bands=["nir"]), progress=False)
    assert any("left out: " in notice and "nir" in notice for notice in report.notices)
    names = zarr.open_group(tmp_path / "places.zarr", mode="r")["image_id"][0]
    wanted = images_at(*PLACES["middle"], [name for name in NAMES if "nir" in PASSES[name][1].split()])
    assert [name.rpartition("/")[2] for name in names] == wanted


def test_a_step_whose_mask_came_late_is_fetched_in_its_place(emulator, tmp_path):
    values = scenes(emulator, tmp_path, end="2017-05-01")
    image = "20170411T184921_20170411T184921_T10SEG"
    score = f"{PUBLIC}GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/{image}"
    emulator.control("configure", {"assets": {score: None}})
    with pytest.raises(IncompleteError):
        downloader.download(values, progress=False)
    emulator.control("reset", {})
    found = downloader.download(values, progress=False).open(chunks=None)
    assert any(str(name).endswith(image) for name in found.image_id.values[0])
    values["mosaic"]["path"] = str(tmp_path / "whole.zarr")
    whole = downloader.download(values, progress=False).open(chunks=None)
    for name in ("image_id", "time", "B4", "mask"):
        np.testing.assert_array_equal(found[name].values, whole[name].values, err_msg=name)


@pytest.mark.parametrize(
    ("columns", "points", "said"),
    [
        ("id,x,y,image\na,568010,4172990,20200110T183000", {}, "line 2, column image: names one image"),
        ("id,x,y\na,568010,4172990", {"before": "3d"}, r"line 2: has no date, from which region\.points\.before"),
        ("id,x,y\na,500000,4000000", {}, "none of the 1 points has an image; of the first: points.csv, line 2: no image of"),
        ("id,x,y,date\na,568010,4172990,2019-01-01", {"before": "3d"}, "no point's window holds a moment"),
    ],
)  # fmt: skip
def test_wrong_values_are_answered_with_their_fix(emulator, tmp_path, columns, points, said):
    (tmp_path / "points.csv").write_text(columns + "\n")
    with pytest.raises(JobError, match=said):
        downloader.download(over_time(emulator, tmp_path, points=points), progress=False)
    assert not (tmp_path / "places.zarr").exists()


def test_formulas_of_every_step(emulator, tmp_path):
    places = {"middle": PLACES["middle"], "corner": PLACES["corner"]}
    write_places(tmp_path / "points.csv", places)
    values = over_time(emulator, tmp_path, bands=[{"sum": "red + nir"}], end="2020-01-19")
    found = downloader.download(values, progress=False).open(chunks=None)
    for n, place in enumerate(places.values()):
        names = [name for name in images_at(*place) if name < "20200119"]
        for k, name in enumerate(names):
            red, valid = chip_of(name, *place, 8)
            nir, also = chip_of(name, *place, 8, "nir")
            np.testing.assert_array_equal(found["sum_mask"].values[n, k], valid & also)
            both = valid & also
            np.testing.assert_array_equal(found["sum"].values[n, k][both], (red.astype("i8") + nir)[both])


def test_chips_open_before_they_are_there(emulator, tmp_path):
    write_places(tmp_path / "points.csv")
    values = over_time(emulator, tmp_path)
    lazy = downloader.open(values, chunks=None)
    assert lazy.red.dims == ("sample", "step", "y", "x")
    name = images_at(*PLACES["corner"])[2]
    pixels, valid = chip_of(name, *PLACES["corner"], 8)
    same_bits(lazy.red[1, 2].values, pixels, "one chip")
    np.testing.assert_array_equal(lazy.red_mask.values[1, 2], valid)
    found = lazy.red.isel(sample=[0, 3], step=slice(0, 3), y=slice(2, 5)).values
    for row, place in enumerate(("middle", "right")):
        for k, name in enumerate(images_at(*PLACES[place])[:3]):
            same_bits(found[row, k], chip_of(name, *PLACES[place], 8)[0][2:5], f"{place} {k}")
    together = lazy.red.isel(
        sample=xr.DataArray([0, 1], dims="p"), step=xr.DataArray([1, 0], dims="p")
    ).values
    for row, (place, k) in enumerate((("middle", 1), ("corner", 0))):
        same_bits(together[row], chip_of(images_at(*PLACES[place])[k], *PLACES[place], 8)[0], place)
    downloader.download(values, progress=False)
    check(tmp_path / "places.zarr")
