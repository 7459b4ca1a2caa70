"""Tiles in, shards out: bit-exact, whatever the order, the interruptions and the disk."""

from __future__ import annotations

import asyncio
import errno
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.errors import LockedError, StoppedError
from downloader.model.grid import Window
from downloader.mosaic.format.header import ShardHeader
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record.state import Counts
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Plan, ShardKey
from downloader.protocols import Mosaic
from tests.mosaics import PROBLEM, band_pixels, fill, one_group, pixels

_: type[Mosaic] = ZarrMosaic
SERVICE = "earth-engine"
FIRST = ShardKey("", 0, 0, 0)
PROFILES = pytest.mark.parametrize("profile", ["sharded", "plain"])


def whole(path: Path, plan: Plan) -> bool:
    """Whether zarr-python reads every band as it was sent."""
    root = zarr.open_group(path, mode="r")
    for group in plan.groups:
        for index, band in enumerate(group.bands):
            read = root[f"{group.name}/{band.id}".lstrip("/")][:]
            if read.tobytes() != band_pixels(group, index).tobytes():
                return False
    return True


@PROFILES
@pytest.mark.parametrize("compressor", ["lz4", "zstd", "none"])
async def test_a_filled_mosaic_is_bit_exact(tmp_path, profile, compressor) -> None:
    plan = one_group()
    chosen = MosaicSettings(profile=profile, compressor=compressor)
    async with open_for_writing(tmp_path / "m", plan, chosen, service=SERVICE) as mosaic:
        assert await fill(mosaic, plan) == 9
        assert mosaic.counts() == {"": Counts(9, 9, 0)}
    assert whole(tmp_path / "m", plan)


@PROFILES
@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<i2", "<u4", "<i4", "<f4", "<f8"])
async def test_every_type_of_pixel_is_kept(tmp_path, dtype, profile) -> None:
    plan = one_group(dtype=dtype)
    chosen = MosaicSettings(profile=profile, nodata={"B2": 1.0})
    async with open_for_writing(tmp_path / "m", plan, chosen, service=SERVICE) as mosaic:
        await fill(mosaic, plan)
    assert whole(tmp_path / "m", plan)


@PROFILES
async def test_a_rerun_fetches_only_what_is_missing(tmp_path, profile) -> None:
    plan = one_group()
    chosen = MosaicSettings(profile=profile)
    requests = 0
    for expected in (4, 4, 1, 0):
        async with open_for_writing(tmp_path / "m", plan, chosen, service=SERVICE) as mosaic:
            made = await fill(mosaic, plan, most=4)
            assert made == expected
            requests += made
    assert requests == 9
    assert whole(tmp_path / "m", plan)


async def test_tiles_never_fetched_have_no_entry_and_all_fill_tiles_have_one(tmp_path) -> None:
    plan = one_group(["B2"])
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        first, second, *_ = group.requests(FIRST)
        await mosaic.place(first, np.zeros(first.window.shape, [("B2", "<u2")]))
        await mosaic.place(second, pixels(group, second))
        await mosaic.commit(FIRST)
        assert mosaic.missing(FIRST) == {0: 0b1100}
    data = (tmp_path / "m/B2/c/0/0").read_bytes()
    index = np.frombuffer(data[-68:-4], "<u8").reshape(4, 2)
    assert (index[2:] == 2**64 - 1).all()
    assert (index[:2] != 2**64 - 1).all()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["|u1", "<i2", "<f4"]),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    shard=st.sampled_from([1, 2, 4]),
    profile=st.sampled_from(["sharded", "plain"]),
)
async def test_any_order_of_places_commits_and_reruns_ends_bit_exact(
    tmp_path_factory, seed, dtype, size, shard, profile
) -> None:
    path = tmp_path_factory.mktemp("m")
    plan = one_group(["B2", "B3", "B4"], dtype=dtype, window=Window(3, 5, *size), shard=shard, tile=32)
    group = plan.groups[0]
    chance = random.Random(seed)
    chosen = MosaicSettings(profile=profile, durability="scratch")
    for _ in range(20):
        async with open_for_writing(path, plan, chosen, service=SERVICE) as mosaic:
            todo = []
            for key in group.shards():
                for request in group.requests(key, mosaic.missing(key)):
                    bands = request.bands
                    half = bands[: chance.randint(1, len(bands))]
                    todo.append(group.request(key, request.block, half))
            if not todo:
                await mosaic.finish()
                break
            chance.shuffle(todo)
            for request in todo[: chance.randint(1, len(todo))]:
                await mosaic.place(request, pixels(group, request))
                if chance.random() < 0.4:
                    await mosaic.commit(request.shard)
            for key in {request.shard for request in todo}:
                if chance.random() < 0.8:
                    await mosaic.commit(key)
    else:
        pytest.fail("does not end")
    assert whole(path, plan)
    assert (zarr.open_group(path, mode="r")["coverage/tiles"][:] == 1).all()


async def test_failed_tiles_are_on_record_until_they_are_stored(tmp_path) -> None:
    plan = one_group()
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        first, second, *_ = group.requests(FIRST)
        await mosaic.place(first, pixels(group, first))
        mosaic.fail(second, PROBLEM)
        await mosaic.commit(FIRST)
        await mosaic.finish()
        assert mosaic.counts()[""] == Counts(9, 1, 1)
    assert zarr.open_group(tmp_path / "m", mode="r")["coverage/tiles"][:].tolist() == [
        [1, 4, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        [(tile, bands, cause, message)] = mosaic.failures()
        assert (tile.row, tile.column, bands, cause) == (0, 1, ("B2", "B3"), "400")
        assert message == PROBLEM.message
        assert await fill(mosaic, plan) == 8
        assert mosaic.counts()[""] == Counts(9, 9, 0)
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert list(mosaic.failures()) == []


async def test_a_shard_of_failures_alone_is_on_record(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        for request in plan.groups[0].requests(FIRST):
            mosaic.fail(request, PROBLEM)
        await mosaic.commit(FIRST)
    assert not (tmp_path / "m/B2/c").exists()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert mosaic.counts()[""] == Counts(9, 0, 4)


async def test_commits_while_others_place_lose_nothing(tmp_path) -> None:
    plan = one_group(window=Window(0, 0, 2048, 1024), shard=4)
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:

        async def place(request) -> None:
            await mosaic.place(request, pixels(group, request))
            await mosaic.commit(request.shard)

        await asyncio.gather(*(place(r) for key in group.shards() for r in group.requests(key)))
        assert mosaic.counts()[""] == Counts(32, 32, 0)
    assert whole(tmp_path / "m", plan)


async def test_a_cancelled_commit_leaves_nothing_half(tmp_path) -> None:
    plan = one_group()
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        for request in group.requests(FIRST):
            await mosaic.place(request, pixels(group, request))
        task = asyncio.create_task(mosaic.commit(FIRST))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await mosaic.commit(FIRST)
        assert mosaic.missing(FIRST) == {}
        await fill(mosaic, plan)
    assert whole(tmp_path / "m", plan)


async def test_commit_without_anything_placed_does_nothing(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await mosaic.commit(FIRST)
        await mosaic.commit(FIRST)
    assert not (tmp_path / "m/.downloader/ledger").exists()


@PROFILES
async def test_the_pixels_are_flushed_before_the_ledgers_line(tmp_path, monkeypatch, profile) -> None:
    plan = one_group(["B2"])
    group = plan.groups[0]
    order: list[str] = []
    async with open_for_writing(
        tmp_path / "m", plan, MosaicSettings(profile=profile), service=SERVICE
    ) as mosaic:
        for name in ("put", "flush", "append"):
            original = getattr(DiskStore, name)

            def record(self, *args, _name=name, _original=original):
                order.append(_name)
                return _original(self, *args)

            monkeypatch.setattr(DiskStore, name, record)
        request = next(group.requests(FIRST))
        await mosaic.place(request, pixels(group, request))
        await mosaic.commit(FIRST)
    assert order == ["put", "flush", "append"]


def failing(monkeypatch, method: str, number: int, times: int) -> list[int]:
    """Let a method of DiskStore fail so many times."""
    calls: list[int] = []
    original = getattr(DiskStore, method)

    def broken(self, *args):
        calls.append(1)
        if len(calls) <= times:
            raise OSError(number, "made to fail")
        return original(self, *args)

    monkeypatch.setattr(DiskStore, method, broken)
    return calls


@pytest.mark.parametrize("method", ["put", "flush", "append"])
async def test_one_io_error_is_tried_again(tmp_path, monkeypatch, method) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        calls = failing(monkeypatch, method, errno.EIO, 1)
        await fill(mosaic, plan)
        assert len(calls) > 1
    assert whole(tmp_path / "m", plan)


@pytest.mark.parametrize("method", ["put", "flush", "append"])
async def test_io_errors_stop_the_run_and_a_commit_can_be_made_later(tmp_path, monkeypatch, method) -> None:
    plan = one_group()
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        request = next(group.requests(FIRST))
        await mosaic.place(request, pixels(group, request))
        calls = failing(monkeypatch, method, errno.EIO, 2)
        with pytest.raises(StoppedError, match="could not be written"):
            await mosaic.commit(FIRST)
        assert len(calls) == 2
        assert mosaic.missing(FIRST)[0] == 0b1111
        await fill(mosaic, plan)
    assert whole(tmp_path / "m", plan)


async def test_a_full_disk_stops_at_once_and_says_what_is_needed(tmp_path, monkeypatch) -> None:
    plan = one_group()
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        request = next(group.requests(FIRST))
        await mosaic.place(request, pixels(group, request))
        calls = failing(monkeypatch, "put", errno.ENOSPC, 1)
        with pytest.raises(
            StoppedError, match=r"no space left .*shard / 0/0/0: [\d,]+ bytes are needed, [\d,]+ are free"
        ):
            await mosaic.commit(FIRST)
        assert len(calls) == 1
        await mosaic.commit(FIRST)
        assert mosaic.missing(FIRST) == {0: 0b1110, 1: 0b1110}


async def test_a_lost_lock_ends_the_run_before_its_next_commit(tmp_path) -> None:
    plan = one_group()
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        request = next(group.requests(FIRST))
        await mosaic.place(request, pixels(group, request))
        (tmp_path / "m/.downloader/lock").unlink()
        with pytest.raises(LockedError):
            await mosaic.commit(FIRST)
    assert not (tmp_path / "m/B2/c").exists()


async def test_a_damaged_tile_found_by_a_top_up_is_missing_again(tmp_path) -> None:
    plan = one_group(["B2"])
    group = plan.groups[0]
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await fill(mosaic, plan, most=2)
    path = tmp_path / "m/B2/c/0/0"
    data = bytearray(path.read_bytes())
    data[ShardHeader.parse(data).nbytes + 20] ^= 1
    path.write_bytes(data)
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        third = next(group.requests(FIRST, mosaic.missing(FIRST)))
        await mosaic.place(third, pixels(group, third))
        await mosaic.commit(FIRST)
        assert mosaic.missing(FIRST) == {0: 0b1001}
        await fill(mosaic, plan)
    assert whole(tmp_path / "m", plan)


async def test_pixels_of_another_request_are_not_taken(tmp_path) -> None:
    plan = one_group()
    group = plan.groups[0]
    request = next(group.requests(FIRST))
    answer = pixels(group, request)
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        for wrong in (answer[:-1], answer[["B3", "B2"]], answer.astype([("B2", "<i2"), ("B3", "<u2")])):
            with pytest.raises(ValueError, match="pixels are"):
                await mosaic.place(request, wrong)


async def test_reruns_of_other_band_orders_mean_the_same(tmp_path) -> None:
    plan = one_group(["B2", "B3"])
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await fill(mosaic, plan, most=5)
    async with open_for_writing(tmp_path / "m", one_group(["B3", "B2"]), service=SERVICE) as mosaic:
        assert mosaic.counts()[""].stored == 5


async def test_slices_lie_along_a_leading_axis(tmp_path) -> None:
    plan = one_group(["B"], slices=3, window=Window(0, 0, 300, 300))
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert await fill(mosaic, plan, most=7) == 7
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert await fill(mosaic, plan) == 5
    root = zarr.open_group(tmp_path / "m", mode="r")
    for slice_ in range(3):
        assert (root["B"][slice_] == band_pixels(plan.groups[0], 0, slice_=slice_)).all()
    assert root["coverage/tiles"][:].tolist() == [[[1, 1], [1, 1]]] * 3


async def test_a_line_of_the_ledger_reads_as_documented(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await fill(mosaic, plan, most=3)
    [file] = (tmp_path / "m/.downloader/ledger").iterdir()
    header, line = map(json.loads, file.read_text().splitlines())
    assert header["ledger"] == 3
    assert line["group"] == ""
    assert line["shard"] == [0, 0, 0]
    assert list(line["bands"]) == ["B2", "B3"]
    for band, (stored, length) in line["bands"].items():
        assert stored == "7"
        assert length == (tmp_path / f"m/{band}/c/0/0").stat().st_size


@pytest.mark.parametrize("profile", ["sharded", "plain"])
@pytest.mark.parametrize("harm", ["deleted", "cut", "made a folder"])
async def test_what_is_harmed_while_the_run_works_is_found_at_its_end(tmp_path, profile, harm) -> None:
    plan, chosen = one_group(), MosaicSettings(profile=profile)
    path = tmp_path / "m/B2/c/0/0"
    async with open_for_writing(tmp_path / "m", plan, chosen, service=SERVICE) as mosaic:
        await fill(mosaic, plan, finish=False)
        data = path.read_bytes()
        path.unlink()
        if harm == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif harm == "made a folder":
            (path / "inner").mkdir(parents=True)
        lost = 4 if profile == "sharded" else 1
        with pytest.raises(StoppedError, match=rf"{lost} tiles .* deleted or cut"):
            await mosaic.finish()
        assert mosaic.counts()[""].missing == lost
        assert (zarr.open_group(tmp_path / "m", mode="r")["coverage/tiles"][:] == 1).sum() == 9 - lost
        await fill(mosaic, plan)
    assert whole(tmp_path / "m", plan)


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("away", ["moved", "deleted"])
async def test_a_mosaic_that_goes_away_gets_nothing_built_in_its_place(tmp_path, moment, away) -> None:
    plan = one_group(["B2", "B3"], shard=1)
    (group,) = plan.groups
    path = tmp_path / "m"

    async def work(mosaic: ZarrMosaic) -> None:
        for number, key in enumerate(group.shards()):
            for request in group.requests(key, mosaic.missing(key)):
                await mosaic.place(request, pixels(group, request))
            if number == moment:
                path.rename(tmp_path / "elsewhere")
                if away == "deleted":
                    shutil.rmtree(tmp_path / "elsewhere")
            await mosaic.commit(key)

    async with open_for_writing(path, plan, service=SERVICE) as mosaic:
        with pytest.raises(LockedError, match="moved, deleted or unmounted"):
            await work(mosaic)
        with pytest.raises(LockedError):
            await mosaic.finish()
    assert not path.exists()
    if away == "moved":
        (tmp_path / "elsewhere").rename(path)
    async with open_for_writing(path, plan, service=SERVICE) as mosaic:
        assert mosaic.counts()[""].stored == (moment if away == "moved" else 0)
        await fill(mosaic, plan)
    assert whole(path, plan)


async def test_a_mosaic_moved_between_the_check_and_the_put_is_written_where_it_is(
    tmp_path, monkeypatch
) -> None:
    plan = one_group(["B2", "B3"], shard=1)
    (group,) = plan.groups
    path, put = tmp_path / "m", DiskStore.put

    def moving(store: DiskStore, key: str, buffers: Sequence[bytes]) -> None:
        if key.startswith("B3/c"):
            path.rename(tmp_path / "elsewhere")
        put(store, key, buffers)

    async with open_for_writing(path, plan, service=SERVICE) as mosaic:
        monkeypatch.setattr(DiskStore, "put", moving)
        request = next(group.requests(FIRST))
        await mosaic.place(request, pixels(group, request))
        with pytest.raises(LockedError):
            await mosaic.commit(FIRST)
    assert not path.exists()
    assert (tmp_path / "elsewhere/B3/c/0/0").exists()
