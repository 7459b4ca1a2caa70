"""Integers of points over time without masks: in stacks where the first run finds a tile the same by both ways."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import downloader
from downloader.errors import StoppedError
from downloader.mosaic.verify.verify import verify
from tests.e2e import test_fields
from tests.e2e.test_places_over_time import PLACES, chip_of, images_at, over_time, write_places
from tests.harness import cli, write_job

LEAST = -(2**15)
"""Least value of int16."""
BANDS = ("red", "nir")
FIRST = ("middle", "corner", "none")
LIKELY = "if the first run finds a tile equal by both ways"
DATES = ("20200110T183000", "20200110T183500", "20200115T183000")
"""Those before the first image that has no nir."""


def places_of(*names):
    return {name: PLACES[name] for name in names}


def without_masks(emulator, folder, chip=8, limits=None, **sections):
    """Integers of both kinds; two slots, so that many requests take long."""
    values = over_time(emulator, folder, chip, mosaic={"mask": "none"}, bands=list(BANDS), end="2020-01-19")
    return values | {"limits": limits or {"concurrency": 2}} | sections


def fetch(values):
    return downloader.download(values, progress=False)


def asked(emulator, method):
    """Requests for more than one pixel: not those that ask for types."""
    records = emulator.control("requests?since=0")["requests"]
    return [r for r in records if r["method"].endswith(method) and r["size"] != [1, 1]]


def check(path, places, chip=8, fill=0):
    """Every chip with what masked pixels hold: 0 in uint16, `fill` in int16."""
    found = zarr.open_group(path, mode="r")
    hidden = 0
    for n, (column, row) in enumerate(places.values()):
        wanted = images_at(column, row, DATES)
        assert found["coverage/tiles"][n, :, 0, 0].tolist() == [1] * len(wanted) + [3] * (
            found["red"].shape[1] - len(wanted)
        )
        for k, name in enumerate(wanted):
            for band, masked in zip(BANDS, (0, fill), strict=True):
                pixels, valid = chip_of(name, column, row, chip, band)
                pixels[~valid] = masked
                np.testing.assert_array_equal(found[band][n, k], pixels, f"{n} {name} {band}")
                hidden += int((~valid).sum())
    return hidden


@pytest.mark.parametrize(("chip", "fill"), [(1, "zero"), (8, "zero"), (8, "min")])
def test_they_come_in_stacks_where_a_tile_is_the_same_by_both_ways(emulator, tmp_path, chip, fill):
    emulator.control("configure", {"fill": fill})
    write_places(tmp_path / "points.csv")
    values = without_masks(emulator, tmp_path, chip)
    file = write_job(tmp_path, values)
    said = cli("plan", file).out
    assert LIKELY in said
    assert "computed requests in place of these" in said, said
    assert " EECU-hours (an estimate),\n          if the first run" in said
    report = fetch(values)
    assert report.state == "complete"
    assert not [line for line in report.notices if "stacks" in line]
    assert report.requests == 3, "one for each point that has an image"
    compared = [[16, 16]] if chip == 1 else [[8, 8], [16, 16]]
    assert [r["size"] for r in asked(emulator, "getPixels")] == compared, "a chip, and a corner of its image"
    hidden = check(tmp_path / "places.zarr", PLACES, chip, LEAST if fill == "min" else 0)
    assert hidden or chip == 1
    assert verify(tmp_path / "places.zarr").is_clean
    said = cli("plan", file).out
    assert "stacks    up to 3 dates of a point in one computed request" in said
    assert LIKELY not in said
    emulator.control("reset", {})
    assert fetch(values).requests == 0


def test_what_is_filled_otherwise_is_read_one_by_one_and_stays_so(emulator, tmp_path):
    emulator.control("configure", {"fill": "zero", "computed_fill": "min"})
    write_places(tmp_path / "points.csv", places_of(*FIRST))
    values = without_masks(emulator, tmp_path)
    report = fetch(values)
    (notice,) = (line for line in report.notices if "stacks" in line)
    assert "masked pixels of nir" in notice
    assert "mosaic.mask: any" in notice
    assert report.requests == report.tiles_stored
    check(tmp_path / "places.zarr", places_of(*FIRST))
    emulator.control("configure", {"computed_fill": "same"})
    emulator.control("reset", {})
    write_places(tmp_path / "points.csv", places_of(*FIRST, "right", "edge"))
    assert LIKELY not in str(downloader.plan(values))
    later = fetch(values)
    assert later.requests == later.tiles_stored - report.tiles_stored
    assert asked(emulator, "computePixels") == [], "settled by the first run"
    check(tmp_path / "places.zarr", places_of(*FIRST, "right", "edge"))


def test_a_tile_that_cannot_be_compared_has_them_read_one_by_one(emulator, tmp_path):
    emulator.control("configure", {"faults": [{"fault": "bad-request-400", "above_pixels": 1, "times": 1}]})
    write_places(tmp_path / "points.csv")
    report = fetch(without_masks(emulator, tmp_path))
    assert report.state == "complete"
    (notice,) = (line for line in report.notices if "stacks" in line)
    assert "read one by one, not in stacks: the two could not be compared (" in notice
    assert report.requests == report.tiles_stored
    assert asked(emulator, "computePixels") == []
    check(tmp_path / "places.zarr", PLACES)


def test_a_quota_that_is_used_up_settles_nothing(emulator, tmp_path):
    write_places(tmp_path / "points.csv")
    values = without_masks(emulator, tmp_path)
    emulator.control("configure", {"faults": [{"fault": "daily-429", "above_pixels": 1, "times": 1}]})
    with pytest.raises(StoppedError, match="tile by either road"):
        fetch(values)
    emulator.control("reset", {})
    report = fetch(values)
    assert not [line for line in report.notices if "stacks" in line]
    assert report.requests == 3, "one for each point that has an image"


def test_a_run_that_stopped_goes_on_in_stacks_and_appended_points_come_so(emulator, tmp_path):
    write_places(tmp_path / "points.csv", places_of(*FIRST))
    values = without_masks(emulator, tmp_path)
    with pytest.raises(StoppedError):
        fetch(values | {"limits": {"concurrency": 1, "max_requests": 1}})
    emulator.control("reset", {})
    assert fetch(values).requests == 1, "the second point"
    write_places(tmp_path / "points.csv", places_of(*FIRST, "right", "edge"))
    assert fetch(values).requests == 1, "edge has no image by then"
    assert asked(emulator, "getPixels") == [], "nothing is compared again"
    check(tmp_path / "places.zarr", places_of(*FIRST, "right", "edge"))
    assert verify(tmp_path / "places.zarr").is_clean


def test_a_depth_of_ones_own(emulator, tmp_path):
    """1 reads each image and compares nothing; a number takes stacks also where they end a job no sooner."""
    write_places(tmp_path / "points.csv")
    slots = {"concurrency": 40}
    alone = without_masks(emulator, tmp_path, limits=slots, request={"depth": 1})
    assert LIKELY not in str(downloader.plan(alone))
    report = fetch(alone)
    assert report.requests == report.tiles_stored
    assert asked(emulator, "computePixels") == []
    check(tmp_path / "places.zarr", PLACES)
    two = without_masks(emulator, tmp_path, limits=slots, request={"depth": 2})
    two["mosaic"]["path"] = str(tmp_path / "two.zarr")
    report = fetch(two)
    assert report.requests == 4, "two for the point of three dates"
    check(tmp_path / "two.zarr", PLACES)


@pytest.mark.parametrize("what", ["fields", "points on a grid"])
def test_fields_and_other_grids_have_the_pixels_that_are_read(emulator, tmp_path, what):
    file = str(tmp_path / "fields.parquet")
    test_fields.scattered_passes(6).to_parquet(file)
    write_places(tmp_path / "points.csv")
    found = []
    for name, request in (("stacks", {}), ("alone", {"depth": 1})):
        if what == "fields":
            values = test_fields.over_time(emulator, tmp_path, file, mosaic={"mask": "none"})
        else:
            values = without_masks(emulator, tmp_path, grid={"crs": "EPSG:32611", "resolution": 30})
        values["mosaic"]["path"] = str(tmp_path / f"{name}.zarr")
        report = fetch(values | {"limits": {"concurrency": 2}, "request": request})
        assert not [line for line in report.notices if "stacks" in line]
        found.append((report.requests, report.tiles_stored))
    (few, tiles), (many, also) = found
    assert many == also == tiles >= 2 * few
    one, other = (zarr.open_group(tmp_path / f"{name}.zarr", mode="r") for name in ("stacks", "alone"))
    assert one["red"][:].any()
    np.testing.assert_array_equal(one["red"][:], other["red"][:])
