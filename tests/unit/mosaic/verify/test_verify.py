"""Objects in the wrong place, and objects that are none: found whatever their lengths, repaired, and fetched again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import zarr

from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.verify import verify
from tests.mosaics import band_pixels, day, fill, one_group, series

SERVICE = "earth-engine"
PLAN = one_group(["B2", "B3"], shard=1)
# Without a compressor all whole shards are equally long: no length tells them apart.
SETTINGS = MosaicSettings(compressor="none")


async def make(path: Path) -> None:
    async with open_for_writing(path, PLAN, SETTINGS, service=SERVICE, job_text="source: …\n") as mosaic:
        await fill(mosaic, PLAN)


def is_right(path: Path) -> bool:
    root = zarr.open_group(path, mode="r")
    (group,) = PLAN.groups
    return all(
        root[band.id][:].tobytes() == band_pixels(group, number).tobytes()
        for number, band in enumerate(group.bands)
    )


def swap(mosaic: Path, _: Path) -> set[str]:
    """Two shards of a band change places."""
    one, other = mosaic / "B2/c/0/0", mosaic / "B2/c/1/1"
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return {"B2/c/0/0", "B2/c/1/1"}


def another_bands(mosaic: Path, _: Path) -> set[str]:
    shutil.copy(mosaic / "B3/c/0/1", mosaic / "B2/c/0/1")
    return {"B2/c/0/1"}


def another_mosaics(mosaic: Path, other: Path) -> set[str]:
    shutil.copy(other / "B2/c/0/1", mosaic / "B2/c/0/1")
    return {"B2/c/0/1"}


def a_folder(mosaic: Path, _: Path) -> set[str]:
    (mosaic / "B2/c/0/1").unlink()
    (mosaic / "B2/c/0/1/inner").mkdir(parents=True)
    (mosaic / "B2/c/0/1/inner/file").write_text("?")
    return {"B2/c/0/1"}


@pytest.mark.parametrize("harm", [swap, another_bands, another_mosaics, a_folder])
async def test_objects_in_the_wrong_place_are_found_repaired_and_fetched_again(tmp_path, harm) -> None:
    for name in ("m", "other"):
        await make(tmp_path / name)
    mosaic = tmp_path / "m"
    assert verify(mosaic).is_clean
    harmed = harm(mosaic, tmp_path / "other")
    found = verify(mosaic)
    assert {damage.key for damage in found.damaged} == harmed
    assert found.unledgered == 0
    repaired = repair_mosaic(mosaic)
    assert set(repaired.chosen) == {damage.shard for damage in found.damaged}
    assert verify(mosaic).is_intact
    await make(mosaic)
    assert verify(mosaic).is_clean
    assert is_right(mosaic)


@pytest.mark.parametrize("harm", [swap, another_bands, another_mosaics, a_folder])
async def test_a_rerun_that_sees_another_length_fetches_again(tmp_path, harm) -> None:
    """Compressed, every shard has a length of its own."""
    plan = one_group(["B2", "B3"], shard=1)
    for name in ("m", "other"):
        async with open_for_writing(tmp_path / name, plan, service=SERVICE) as mosaic:
            await fill(mosaic, plan, most=None if name == "m" else 5)
    harmed = harm(tmp_path / "m", tmp_path / "other")
    if harm is another_mosaics:
        with (tmp_path / "m/B2/c/0/1").open("ab") as file:
            file.write(b"longer")
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert mosaic.found.lost == len(harmed)
        await fill(mosaic, plan)
    assert is_right(tmp_path / "m")


async def test_a_commit_whose_line_was_not_written_is_no_damage(tmp_path) -> None:
    """The object names this place and mosaic: it is newer than the ledger, and counts."""
    plan = one_group(["B2"])
    mosaic = tmp_path / "m"
    async with open_for_writing(mosaic, plan, SETTINGS, service=SERVICE, job_text="source: …\n") as opened:
        await fill(opened, plan, most=1)
    (ledger,) = (mosaic / ".downloader/ledger").iterdir()
    before = ledger.read_bytes()
    async with open_for_writing(mosaic, plan, SETTINGS, service=SERVICE, job_text="source: …\n") as opened:
        await fill(opened, plan, most=3)
    for file in (mosaic / ".downloader/ledger").iterdir():
        file.unlink()
    ledger.write_bytes(before)
    found = verify(mosaic)
    assert (found.damaged, found.unledgered) == ((), 1)
    assert found.groups[""].stored == 4
    repair_mosaic(mosaic)
    again = verify(mosaic)
    assert (again.is_intact, again.unledgered) == (True, 0)


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_repair_amid_a_refetch_brings_no_old_pixels_back(tmp_path, depth) -> None:
    """The shard still holds the slice that changed, which does not count any more."""
    mosaic, (old, now) = tmp_path / "m", ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")
    before, after = (
        series([day(3), day(6, update_time=time), day(9)], depth=depth, shard_slices=4) for time in (old, now)
    )
    async with open_for_writing(mosaic, before, SETTINGS, service=SERVICE, job_text="source: …\n") as opened:
        await fill(opened, before)
    async with open_for_writing(mosaic, after, SETTINGS, service=SERVICE, on_update="refetch") as opened:
        assert opened.counts()[""].missing == 9
    shard = mosaic / "B2/c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[2000] ^= 1
    shard.write_bytes(data)
    (damage,) = verify(mosaic).damaged
    assert damage.tiles == 1
    repair_mosaic(mosaic)
    async with open_for_writing(mosaic, after, SETTINGS, service=SERVICE, on_update="refetch") as opened:
        missing = {band for key in after.groups[0].shards() for band in opened.missing(key)}
        lacks = sum(
            mask.bit_count() for key in after.groups[0].shards() for mask in opened.missing(key).values()
        )
    assert missing == {0, 1}
    assert lacks == 2 * 9 + 1
