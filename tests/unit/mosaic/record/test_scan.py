"""The ledger held against the objects: neither is believed where they disagree."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record.ledger import LedgerEntry, LedgerWriter, Piece
from downloader.mosaic.record.scan import scan
from downloader.mosaic.status import status
from downloader.mosaic.storage.disk import DiskStore
from downloader.planning import ShardKey
from tests.mosaics import PROBLEM, UTM, band_pixels, fill, one_group

SERVICE = "earth-engine"
PROFILES = pytest.mark.parametrize("profile", ["sharded", "plain"])


async def filled(path: Path, profile: str, most: int | None = None) -> None:
    async with open_for_writing(
        path, one_group(), MosaicSettings(profile=profile), service=SERVICE
    ) as mosaic:
        await fill(mosaic, one_group(), most=most)


async def reopened(path: Path, profile: str, expected: int, *, lost: int) -> None:
    """Open, look, mend, and see that the next start finds nothing to do."""
    plan, chosen = one_group(), MosaicSettings(profile=profile)
    async with open_for_writing(path, plan, chosen, service=SERVICE) as mosaic:
        assert mosaic.counts()[""].stored == expected
        assert mosaic.found.lost == lost
        if lost:
            assert (zarr.open_group(path, mode="r")["coverage/tiles"][:] == 1).sum() == expected
        await fill(mosaic, plan)
    async with open_for_writing(path, plan, chosen, service=SERVICE) as mosaic:
        assert mosaic.counts()[""].stored == 9
        assert mosaic.found.lost == 0
    root = zarr.open_group(path, mode="r")
    for index, band in enumerate(("B2", "B3")):
        assert (root[band][:] == band_pixels(plan.groups[0], index)).all()


@PROFILES
@pytest.mark.parametrize("how", ["lost", "empty", "torn", "garbage"])
async def test_a_ledger_that_is_lost_or_damaged_is_rebuilt_from_the_objects(tmp_path, profile, how) -> None:
    await filled(tmp_path / "m", profile, most=5)
    folder = tmp_path / "m/.downloader/ledger"
    [file] = folder.iterdir()
    if how == "lost":
        shutil.rmtree(folder)
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "torn":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.write_bytes(b"\xff\0garbage\n" * 3)
    await reopened(tmp_path / "m", profile, 5, lost=0)


@PROFILES
async def test_objects_deleted_are_missing(tmp_path, profile) -> None:
    await filled(tmp_path / "m", profile)
    (tmp_path / "m/B2/c/0/0").unlink()
    lost = 4 if profile == "sharded" else 1
    await reopened(tmp_path / "m", profile, 9 - lost, lost=lost)


@PROFILES
@pytest.mark.parametrize("left", [0, 1, 40, -1])
async def test_objects_cut_short_are_missing_not_empty(tmp_path, profile, left) -> None:
    await filled(tmp_path / "m", profile)
    path = tmp_path / "m/B3/c/0/1"
    data = path.read_bytes()
    path.write_bytes(data[:left])
    lost = 2 if profile == "sharded" else 1
    await reopened(tmp_path / "m", profile, 9 - lost, lost=lost)


async def test_a_shard_longer_than_the_ledger_says_is_read_by_its_index(tmp_path) -> None:
    """The state after a kill between the rename and the ledger's line."""
    await filled(tmp_path / "m", "sharded", most=2)
    before = {p: p.read_bytes() for p in (tmp_path / "m/.downloader/ledger").iterdir()}
    await filled(tmp_path / "m", "sharded", most=2)
    shutil.rmtree(tmp_path / "m/.downloader/ledger")
    (tmp_path / "m/.downloader/ledger").mkdir()
    for path, data in before.items():
        path.write_bytes(data)
    await reopened(tmp_path / "m", "sharded", 4, lost=0)


@PROFILES
async def test_what_is_no_shard_of_ours_is_passed_over(tmp_path, profile) -> None:
    await filled(tmp_path / "m", profile, most=4)
    for name in ("0/00", "0/9", "9/0", "0/a", "0/0/0", "+0/1", "0/ 1", "7"):
        path = tmp_path / "m/B2/c" / name
        if not path.parent.is_file():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x" * 100)
    await reopened(tmp_path / "m", profile, 4, lost=0)


@PROFILES
async def test_lines_of_other_groups_bands_and_places_are_passed_over(tmp_path, profile) -> None:
    await filled(tmp_path / "m", profile, most=4)
    writer = LedgerWriter(DiskStore(tmp_path / "m"))
    for group, shard, band in (
        ("20m", (0, 0, 0), "B2"),
        ("", (0, 7, 0), "B2"),
        ("", (0, 0, -1), "B2"),
        ("", (0, 0, 1), "B9"),
    ):
        writer.append(LedgerEntry(group, shard, {band: Piece(1, 5, ((0, 5, 5),))}))
    await reopened(tmp_path / "m", profile, 4, lost=0)


async def test_failures_survive_a_start_that_finds_damage(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        _, second, *_ = plan.groups[0].requests(ShardKey("", 0, 0, 0))
        await fill(mosaic, plan, most=1)
        mosaic.fail(second, PROBLEM)
        await mosaic.commit(second.shard)
    (tmp_path / "m/B2/c/0/0").unlink()
    for _ in range(2):
        async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
            assert [failure[0].column for failure in mosaic.failures()] == [1]


async def test_status_counts_without_lock_or_trace(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await fill(mosaic, plan, most=4)
        _, second, *_ = plan.groups[0].requests(ShardKey("", 0, 1, 0))
        mosaic.fail(second, PROBLEM)
        await mosaic.commit(second.shard)
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / "m").rglob("*")}
        seen = status(tmp_path / "m")
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / "m").rglob("*")} == before
    assert not seen.is_complete
    document = seen.to_json()
    assert document["groups"] == {
        "": {"bands": ["B2", "B3"], "tiles": 9, "stored": 4, "failed": 1, "missing": 4}
    }
    assert [f["cause"] for f in document["failures"]] == ["400"]
    assert document["source"]["asset"].endswith("TEST/IMAGE")


def test_a_million_tiles_are_scanned_by_lists_and_lines(tmp_path) -> None:
    """A state that was generated: sparse objects, true lengths, one ledger; `scripts/bench resume` times it."""
    side = 1000 * 256
    lattice = PixelGrid(UTM.crs, UTM.transform, side, side)
    plan = one_group(["B2"], lattice=lattice, window=Window(0, 0, side, side), shard=8)
    layout = GroupLayout.make(plan.groups[0], {"B2": "B2"}, MosaicSettings())
    store = DiskStore(tmp_path, durable=False)
    writer = LedgerWriter(store)
    lines = []
    for row in range(125):
        folder = tmp_path / f"B2/c/{row}"
        folder.mkdir(parents=True)
        for column in range(125):
            with (folder / str(column)).open("wb") as file:
                file.truncate(5_000_000 + column)
            lines.append(LedgerEntry("", (0, row, column), {"B2": Piece(2**64 - 1, 5_000_000 + column)}))
    writer.append(*lines)
    found = scan(store, [layout])
    assert found.states[""].counts().stored == 1_000_000
    assert found.states[""].masks.nbytes == 15_625 * 8
    assert isinstance(found.states[""].masks, np.ndarray)
