"""Many small images in one request: the same pixels, and a failure of one image is that image's alone."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import downloader
from downloader.errors import DriftError, IncompleteError, JobError, StoppedError
from downloader.model import expression
from downloader.mosaic.verify.verify import verify
from tests.harness import job, ledger_lines, running, same_bits, wait_until, write_job
from tests.mosaics import coverage_of
from tests.oracle import PUBLIC, oracle_window

DAYS = f"{PUBLIC}ECMWF/ERA5/DAILY/"
WIDE = {"bbox": [-40, 0, 35, 70]}
BANDS = ("mean_2m_air_temperature", "total_precipitation")


def days(emulator, path, end="2015-02-10", depth="auto", **sections):
    source = {"collection": "ECMWF/ERA5/DAILY", "start": "2015-01-01", "end": end, "bands": list(BANDS)}
    return job(
        emulator, path, source=source, request={"depth": depth},
        **{"limits": {"concurrency": 4}, "region": {"bbox": [-5, 45, -1, 48]}, **sections},
    )  # fmt: skip


def fetch(values):
    return downloader.download(values, progress=False)


def asked(emulator, method):
    records = emulator.control("requests?since=0")["requests"]
    return [r for r in records if r["method"].endswith(method) and r["size"] != [1, 1]]


def right(path, count, but=()):
    root = zarr.open_group(path, mode="r")
    for band in BANDS:
        array = root[band]
        assert array.shape == (count, 12, 16)
        for index in set(range(count)) - set(but):
            day = np.datetime64("2015-01-01") + index
            name = DAYS + str(day).replace("-", "")
            same_bits(array[index], oracle_window(name, band, 700, 168, 16, 12), f"{band} {day}")


def test_stacks_bring_the_pixels_that_are_read_one_by_one(emulator, tmp_path):
    stacks = fetch(days(emulator, tmp_path / "stacks.zarr"))
    assert stacks.requests < 20
    assert {r["size"][0] for r in asked(emulator, "computePixels")} == {16}
    assert asked(emulator, "getPixels") == []
    emulator.control("reset", {})
    single = fetch(days(emulator, tmp_path / "single.zarr", depth=1))
    assert single.requests == len(asked(emulator, "getPixels")) == 40
    assert asked(emulator, "computePixels") == []
    for name in ("stacks", "single"):
        right(tmp_path / f"{name}.zarr", 40)
        assert verify(tmp_path / f"{name}.zarr").is_clean


def test_how_images_are_read_is_settled_by_the_first_run(emulator, tmp_path):
    """Grown by later days: a mosaic of stacks stays one with stacks of one, one of single images never gets stacks."""
    fetch(days(emulator, tmp_path / "a.zarr", end="2015-01-11"))
    fetch(days(emulator, tmp_path / "b.zarr", end="2015-01-11", depth=1))
    emulator.control("reset", {})
    assert fetch(days(emulator, tmp_path / "a.zarr", end="2015-01-21", depth=1)).requests == 10
    assert (len(asked(emulator, "computePixels")), asked(emulator, "getPixels")) == (10, [])
    emulator.control("reset", {})
    assert fetch(days(emulator, tmp_path / "b.zarr", end="2015-01-21")).requests == 10
    assert (asked(emulator, "computePixels"), len(asked(emulator, "getPixels"))) == ([], 10)
    for name in ("a", "b"):
        right(tmp_path / f"{name}.zarr", 20)


def test_an_image_that_fails_in_a_stack_is_recorded_alone(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    with pytest.raises(StoppedError):
        fetch(days(emulator, path, depth=8, limits={"concurrency": 1, "max_requests": 1}))
    gone = 19
    emulator.control("configure", {"assets": {DAYS + "20150120": None}})
    with pytest.raises(IncompleteError) as caught:
        fetch(days(emulator, path, depth=8))
    assert {tile.slice for tile in caught.value.report.failed} == {gone}
    assert np.flatnonzero(coverage_of(path)[:, 0, 0] != 1).tolist() == [gone]
    right(path, 40, but=[gone])


def test_a_stack_whose_graph_is_too_long_is_halved_until_it_is_not(emulator, tmp_path, monkeypatch):
    monkeypatch.setattr(expression, "MAX_BYTES", 12_000)
    report = fetch(days(emulator, tmp_path / "m.zarr", depth=16))
    assert report.splits
    assert report.requests == len(asked(emulator, "computePixels")) > 3
    right(tmp_path / "m.zarr", 40)


@pytest.mark.parametrize("slices", [4, 32])
def test_planes_of_several_tiles_come_in_boxes(emulator, tmp_path, slices):
    """300 × 280 pixels in four tiles of 256 or twenty of 64: the same pixels as read one by one."""
    values = days(emulator, tmp_path / "boxes.zarr", end="2015-01-19", depth=4, region=WIDE)
    values["mosaic"]["chunks"] = {"time": slices}
    fetch(values)
    single = {
        **values,
        "mosaic": {**values["mosaic"], "path": str(tmp_path / "single.zarr")},
        "request": {"depth": 1},
    }
    assert asked(emulator, "getPixels") == []
    assert any(len(r["bands"]) > 3 for r in asked(emulator, "computePixels")), "of several slices"
    fetch(single)
    one, other = (zarr.open_group(values["mosaic"]["path"], mode="r") for values in (values, single))
    for band in BANDS:
        assert one[band].shape == (18, 280, 300)
        same_bits(one[band][:], other[band][:], band)
        day = oracle_window(DAYS + "20150107", band, 560, 80, 300, 280)
        same_bits(one[band][6], day, band)
    assert verify(tmp_path / "boxes.zarr").is_clean


def test_an_image_that_fails_in_a_box_is_recorded_alone_with_all_its_tiles(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    values = days(
        emulator,
        path,
        end="2015-01-19",
        depth=3,
        region=WIDE,
        limits={"concurrency": 1, "max_requests": 1},
    )
    values["mosaic"]["chunks"] = {"time": 6}
    with pytest.raises(StoppedError):
        fetch(values)
    emulator.control("configure", {"assets": {DAYS + "20150116": None}})
    values["limits"] = {"concurrency": 4}
    with pytest.raises(IncompleteError) as caught:
        fetch(values)
    assert {tile.slice for tile in caught.value.report.failed} == {15}
    coverage = coverage_of(path)
    assert (coverage[15] != 1).all()
    assert (np.delete(coverage, 15, axis=0) == 1).all()


def test_composites_of_several_periods_come_in_one_request(emulator, tmp_path):
    def monthly(name, depth):
        values = days(emulator, tmp_path / name, end="2016-07-01", depth=depth)
        values["source"] |= {"every": "month", "reduce": "mean"}
        return values

    stacks = fetch(monthly("stacks.zarr", "auto"))
    assert stacks.requests < 18
    alone = fetch(monthly("alone.zarr", 1))
    assert alone.requests >= 18
    one, other = (zarr.open_group(tmp_path / f"{name}.zarr", mode="r") for name in ("stacks", "alone"))
    for band in BANDS:
        assert one[band].shape == (18, 12, 16)
        same_bits(one[band][:], other[band][:], band)
    june = [np.datetime64("2015-06-01") + day for day in range(30)]
    band = BANDS[0]
    days_of = [
        oracle_window(DAYS + str(d).replace("-", ""), band, 700, 168, 16, 12).astype("f8") for d in june
    ]
    np.testing.assert_allclose(one[band][5], np.mean(days_of, axis=0), rtol=1e-6)


def test_damage_that_an_append_meets_is_told_and_fetched_again(emulator, tmp_path):
    """Nothing failed: the chunk that is topped up held two days before, whose checksum is wrong now."""
    path = tmp_path / "m.zarr"
    values = days(emulator, path, end="2015-01-11", depth=4)
    values["mosaic"]["chunks"] = {"time": 4}
    fetch(values)
    (shard,) = (file for file in (path / BANDS[0] / "c").rglob("*") if file.is_file())
    data = bytearray(shard.read_bytes())
    entries = 16 // 4  # chunks of a shard: offset and length of each stand before a checksum
    offset, length = np.frombuffer(data, "<u8", offset=len(data) - 4 - 16 * entries, count=2 * entries)[4:6]
    data[int(offset + length // 2)] ^= 4
    shard.write_bytes(data)
    values["source"]["end"] = "2015-01-13"
    with pytest.raises(IncompleteError, match=r"^2 of 12 tiles were stored and are damaged or gone; run"):
        fetch(values)
    assert np.flatnonzero(coverage_of(path)[:, 0, 0] != 1).tolist() == [8, 9]
    right(path, 12, but=(8, 9))
    assert fetch(values).requests == 1
    right(path, 12)
    assert verify(path).is_clean


def integers(emulator, path, **sections):
    """Eight images of MODIS, int16, masked beyond their edges."""
    values = days(emulator, path, **{"depth": 4, **sections})
    values["source"] = {
        "collection": "MODIS/061/MOD09A1", "start": "2020-01-01", "end": "2020-03-01", "bands": ["sur_refl_b01"],
    }  # fmt: skip
    values["region"] = {"bbox": [-122.4, 37.50, -122.2, 37.7]}
    return values


def of_both(tmp_path, names):
    one, other = (zarr.open_group(tmp_path / f"{name}.zarr", mode="r") for name in ("m", "alone"))
    for name in names:
        np.testing.assert_array_equal(one[name][:], other[name][:])


def test_integers_come_in_stacks_where_a_tile_is_the_same_by_both_ways(emulator, tmp_path):
    """Looked at once: what was found stands in the mosaic."""
    values = integers(emulator, tmp_path / "m.zarr")
    assert "if the first run finds a tile equal by both ways" in str(downloader.plan(values))
    report = fetch(values)
    assert report.requests < report.tiles_stored
    assert report.notices == ()
    assert len(asked(emulator, "getPixels")) == 2, "a tile, and a corner of the image"
    alone = fetch({**integers(emulator, tmp_path / "alone.zarr"), "request": {"depth": 1}})
    assert alone.requests >= alone.tiles_stored
    of_both(tmp_path, ["sur_refl_b01"])
    emulator.control("reset", {})
    values["source"]["end"] = "2020-04-01"
    assert fetch(values).tiles_stored > report.tiles_stored
    assert asked(emulator, "getPixels") == []
    assert verify(tmp_path / "m.zarr").is_clean


def test_integers_that_are_filled_otherwise_are_read_one_by_one_and_that_is_said(emulator, tmp_path):
    emulator.control("configure", {"fill": "zero", "computed_fill": "min"})
    values = integers(emulator, tmp_path / "m.zarr")
    report = fetch(values)
    (notice,) = (line for line in report.notices if "stacks" in line)
    assert "masked pixels of sur_refl_b01" in notice
    assert "mosaic.mask: any" in notice
    bodies = [r for r in asked(emulator, "computePixels") if len(r["bands"]) > 2]
    assert bodies == []
    emulator.control("configure", {"computed_fill": "same"})
    emulator.control("reset", {})
    values["source"]["end"] = "2020-04-01"
    fetch(values)
    assert asked(emulator, "computePixels") == [], "settled by the first run"


def test_integers_with_their_masks_come_in_stacks(emulator, tmp_path):
    values = integers(emulator, tmp_path / "m.zarr")
    values["mosaic"]["mask"] = "any"
    report = fetch(values)
    assert report.requests < report.tiles_stored
    values["mosaic"] = {**values["mosaic"], "path": str(tmp_path / "alone.zarr")}
    alone = fetch({**values, "request": {"depth": 1}})
    assert alone.requests >= alone.tiles_stored
    of_both(tmp_path, ["sur_refl_b01", "mask"])


def test_masks_are_not_added_to_floats_that_came_in_stacks(emulator, tmp_path):
    values = days(emulator, tmp_path / "m.zarr", end="2015-01-11")
    fetch(values)
    values["mosaic"]["mask"] = "any"
    with pytest.raises(
        DriftError, match=r"masked pixels NaN → (.|\n)*mosaic\.mask is not added later; leave it out"
    ):
        fetch(values)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"mosaic": {"profile": "plain"}}, "profile: plain has chunks of one slice"),
        ({"region": {"bbox": [-60, -20, 80, 75]}}, r"write mosaic\.chunks: \{time: N\}"),
    ],
)
def test_a_depth_that_would_do_nothing_is_refused(emulator, tmp_path, section, message):
    with pytest.raises(JobError, match=r"request\.depth: " + "(.*)" + message):
        fetch(days(emulator, tmp_path / "m.zarr", depth=4, **section))


def test_killed_again_and_again_it_is_whole_in_the_end_and_grows(emulator, tmp_path):
    """Each kill in the middle of a chunk that is not full, with what was committed of it kept."""
    path = tmp_path / "m.zarr"
    emulator.control("configure", {"latency_ms": 60})
    limits = {"concurrency": 2}
    values = days(emulator, path, depth=4, limits=limits)
    values["mosaic"]["checkpoint"] = 0.05
    job_file, kept, kills = write_job(tmp_path, values), 0, 0
    for _ in range(4):
        before = ledger_lines(path)
        with running("run", job_file) as process:
            wait_until(lambda before=before: ledger_lines(path) > before + 2, process)
            kills += process.poll() is None
            process.kill()
            process.wait()
        stored = downloader.status(path).groups[""].stored
        assert stored >= kept, "what a ledger called stored is never lost"
        kept = stored
    assert kills
    assert kept
    emulator.control("configure", {"latency_ms": 0})
    assert fetch(values).state == "complete"
    slices = sum(len(record["bands"]) // 3 for record in asked(emulator, "computePixels"))
    assert slices <= 40 * (1 + kills)
    right(path, 40)
    assert verify(path).is_clean
    assert len([p for p in (path / BANDS[0] / "c").rglob("*") if p.is_file()]) == 1
    longer = days(emulator, path, end="2015-02-20", depth=4, limits=limits)
    report = fetch(longer)
    assert report.tiles_stored - report.tiles_before == 10
    right(path, 50)
    assert verify(path).is_clean
