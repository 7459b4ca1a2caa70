"""Stored tiles against what the service answers today."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zarr

from downloader.engine.compare import differing
from downloader.mosaic.format.header import ShardHeader
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.format.shard import ShardIndex, encode_shard
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.tile_reader import draw_tiles, read_tile
from downloader.planning import TileKey
from tests.harness import cli, getpixels, key_of, snapshot
from tests.mosaics import band_pixels, fill, one_group
from tests.oracle import QUICKSTART


def with_header(path: Path, before: bytes) -> None:
    """Put the header of the object as it was before what Zarr wrote."""
    header, data = ShardHeader.parse(before), path.read_bytes()
    index = ShardIndex.parse(data, header.cells, len(data))
    entries = {slot: data[slice(*span)] for slot in range(header.cells) if (span := index.span(slot))}
    made = encode_shard(entries, header, sum(1 << slot for slot in entries))
    path.write_bytes(b"".join(made.buffers))


def test_tiles_are_drawn_by_seed_and_compared_bit_by_bit(make, emulator, tmp_path) -> None:
    made = make("sharded")
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    before = snapshot(mosaic)
    first = cli("verify", mosaic, *key_of(emulator), "--resample", 4, "--seed", 5, "--json")
    assert first.status == 0, first
    assert first.document["resample"]["tiles"] == 4
    assert first.document["resample"]["differences"] == []
    windows = Counter(tuple(record["window"]) for record in getpixels(emulator))
    assert sum(width * height for _, _, width, height in windows) <= 4 * 256 * 256
    emulator.control("reset", {})
    again = cli("verify", mosaic, *key_of(emulator), "--resample", 4, "--seed", 5)
    assert again.status == 0
    assert Counter(tuple(record["window"]) for record in getpixels(emulator)) == windows
    assert "4 tiles downloaded again (--seed 5), compared bit by bit: all are the same" in again.out
    assert snapshot(mosaic) == before


@pytest.mark.parametrize("profile", ["sharded", "plain"])
def test_a_pixel_that_differs_is_told_with_tile_band_and_count(make, emulator, tmp_path, profile) -> None:
    """Changed through zarr, with every checksum right: only the service knows better."""
    made = make(profile)
    mosaic = made.copy(tmp_path / "m")
    array = zarr.open_array(mosaic / "B3", mode="r+")
    before = {path: path.read_bytes() for path in (mosaic / "B3/c").rglob("*") if path.is_file()}
    changed = array[300, 600:602] + np.array([7, 1], "u2")
    array[300, 600:602] = changed
    if profile == "sharded":
        # Zarr writes the whole object anew, without the header that names its place.
        (path,) = (path for path, data in before.items() if path.read_bytes() != data)
        with_header(path, before[path])
    else:
        # The ledger remembers the object's checksum; a mosaic that lost its ledger has no such memory.
        (file,) = (mosaic / ".downloader/ledger").iterdir()
        file.unlink()
    assert cli("verify", mosaic).status == 0
    looked = cli("verify", mosaic, *key_of(emulator), "--resample", 100, "--seed", 1, "--json")
    assert looked.status == 3, looked
    assert looked.document["resample"]["tiles"] == 9
    assert looked.document["resample"]["differences"] == [
        {
            "tile": {"group": "", "slice": 0, "row": 1, "column": 2},
            "band": "B3",
            "pixels": 2,
            "of": 188 * 256,
            "largest": 7.0,
            "reason": "",
        }
    ]
    lenient = cli("verify", mosaic, *key_of(emulator), "--resample", 100, "--seed", 1, "--tolerance", 7)
    assert lenient.status == 0, lenient


def test_a_changed_image_is_said_and_no_reason_not_to_compare(make, emulator, tmp_path) -> None:
    mosaic = make("sharded").copy(tmp_path / "m")
    emulator.control("configure", {"assets": {QUICKSTART: {"updateTime": "2031-01-01T00:00:00Z"}}})
    looked = cli("verify", mosaic, *key_of(emulator), "--resample", 2, "--json")
    assert looked.status == 0, looked
    assert "differences are to be expected" in looked.document["resample"]["notices"][0]


def test_a_tile_that_cannot_be_had_is_told(make, emulator, tmp_path) -> None:
    mosaic = make("sharded").copy(tmp_path / "m")
    emulator.control(
        "configure", {"faults": [{"fault": "memory-400", "covers": [110, 210], "above_pixels": 1}]}
    )
    looked = cli("verify", mosaic, *key_of(emulator), "--resample", 9, "--json")
    assert looked.status == 3, looked
    told = looked.document["resample"]["differences"]
    assert [one["tile"] for one in told] == [{"group": "", "slice": 0, "row": 0, "column": 0}] * len(told)
    assert all("memory" in one["reason"] for one in told)


def test_another_service_is_refused(make, emulator, tmp_path) -> None:
    mosaic = make("sharded").copy(tmp_path / "m")
    for file in (mosaic / ".downloader/mosaic.json", mosaic / "zarr.json"):
        file.write_text(file.read_text().replace("emulator land", "emulator sea"))
    looked = cli("verify", mosaic, *key_of(emulator), "--resample", 1)
    assert looked.status == 5, looked
    assert "service: emulator sea-2 → emulator land-2" in looked.err


@pytest.mark.parametrize("profile", ["sharded", "plain"])
async def test_every_tile_can_be_read_alone(tmp_path, profile) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, MosaicSettings(profile=profile), service="s") as mosaic:
        await fill(mosaic, plan)
        layout = mosaic.identity.layouts[0]
    group = plan.groups[0]
    for row, column in np.ndindex(group.tiling.tile_rows, group.tiling.tile_columns):
        tile = TileKey(group.name, 0, row, column)
        for band in range(2):
            window = group.tiling.window(tile.row, tile.column)
            found = read_tile(DiskStore(tmp_path / "m"), layout, band, tile)
            assert np.array_equal(found, band_pixels(group, band, window))


async def test_a_draw_is_uniform_without_repetition_and_only_of_what_is_stored(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service="s") as mosaic:
        await fill(mosaic, plan, most=5)
        states = mosaic.found.states
        stored = {
            (key, slot)
            for key in plan.shards()
            for slot in range(4)
            if plan.group("").full_mask(key) >> slot & 1
            and not any(m >> slot & 1 for m in mosaic.missing(key).values())
        }
    assert len(stored) == 5
    counts: Counter = Counter()
    for seed in range(400):
        drawn = {
            (key, slot)
            for key, mask in draw_tiles(states, 2, seed).items()
            for slot in range(4)
            if mask >> slot & 1
        }
        assert len(drawn) == 2
        assert drawn <= stored
        counts.update(drawn)
    assert all(110 < count < 210 for count in counts.values()), counts
    assert len(counts) == 5
    assert sum(mask.bit_count() for mask in draw_tiles(states, 99, 0).values()) == 5


@pytest.mark.parametrize("dtype", ["u1", "<i2", "<u4", "<f4", "<f8"])
def test_differences_are_counted_by_bits_or_within_a_tolerance(dtype) -> None:
    rng = random.Random(1)
    stored = np.array([[rng.randrange(100) for _ in range(7)] for _ in range(5)], dtype)
    assert differing(stored, stored.copy(), 0) == (0, None)
    came = stored.copy()
    came[1, 2] += 3
    came[4, 6] += 1
    assert differing(stored, came, 0) == (2, 3.0)
    assert differing(stored, came, 1) == (1, 3.0)
    assert differing(stored, came, 3) == (0, None)


def test_nans_are_compared_as_bits_without_a_tolerance() -> None:
    stored = np.array([[np.nan, 1.0, -0.0, np.inf]], "<f4")
    assert differing(stored, stored.copy(), 0) == (0, None)
    came = np.array([[np.float32(np.nan), 1.0, 0.0, np.nan]], "<f4")
    assert differing(stored, came, 0) == (2, 0.0)
    assert differing(stored, came, 0.5)[0] == 1


def test_the_mosaic_keeps_the_job_and_where_its_paths_start(make, tmp_path) -> None:
    text = (make("sharded").path / ".downloader/job.yaml").read_text()
    assert text.startswith("# Relative paths start from .., seen from the mosaic.\n")
    assert json.loads((make("sharded").path / ".downloader/mosaic.json").read_text())["job"].startswith(
        "source:"
    )
