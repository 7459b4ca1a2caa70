"""Chunks of several slices: whatever happens to a mosaic, what it calls stored is right, and a hole is never data."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from downloader.errors import DriftError
from downloader.model.grid import Window
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.overviews.overviews import overviews
from downloader.mosaic.reader import open_group
from downloader.mosaic.status import status
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.verify import verify
from downloader.planning import Plan
from tests.mosaics import PROBLEM, band_pixels, coverage_of, day, fill, pixels, series

RUN = {"service": "earth-engine", "job_text": "source: …\n"}


def plan_of(slices: int, **shape) -> Plan:
    return series([day(number + 1) for number in range(slices)], **shape)


def settings_of(compressor: str = "lz4") -> MosaicSettings:
    return MosaicSettings(compressor=compressor, durability="scratch", nodata={"B2": 7.0, "B3": 7.0})


async def complete(path: Path, plan: Plan, compressor: str = "lz4", **options) -> int:
    async with open_for_writing(path, plan, settings_of(compressor), **RUN, **options) as mosaic:
        return await fill(mosaic, plan)


def right(path: Path, plan: Plan) -> np.ndarray:
    """Every tile that coverage calls stored is right, bit for bit; the states, (slice, row, column)."""
    group, tile = plan.groups[0], plan.groups[0].tiling.tile
    cells = coverage_of(path)
    stored = (cells == 1).repeat(tile, 1).repeat(tile, 2)[:, : group.grid.height, : group.grid.width]
    for band, name in enumerate(("B2", "B3")):
        found = zarr.open_array(path / name, mode="r")[:]
        for index in range(min(len(cells), len(found))):  # the arrays of a killed run grow one by one
            wanted = band_pixels(group, band, slice_=index)
            np.testing.assert_array_equal(found[index][stored[index]], wanted[stored[index]])
    return cells


async def test_many_slices_are_one_object_and_zarr_reads_them(tmp_path) -> None:
    plan = plan_of(11, window=Window(0, 0, 51, 40), shard=1, tile=51, depth=4, shard_slices=8)
    assert await complete(tmp_path / "m", plan) == 11
    objects = sorted(p.name for p in (tmp_path / "m/B2/c").rglob("*") if p.is_file())
    assert len(objects) == 2
    array = zarr.open_array(tmp_path / "m/B2", mode="r")
    assert (array.chunks, array.shards, array.shape) == ((4, 51, 51), (8, 51, 51), (11, 40, 51))
    assert (right(tmp_path / "m", plan) == 1).all()
    assert verify(tmp_path / "m").is_clean
    found = open_group(tmp_path / "m", chunks=None)
    np.testing.assert_array_equal(found.B3.values[9], band_pixels(plan.groups[0], 1, slice_=9))
    assert open_group(tmp_path / "m").B3.data.chunksize == (4, 40, 51)


@pytest.mark.parametrize("compressor", ["lz4", "none"])
async def test_an_append_tops_up_a_chunk_that_is_not_full(tmp_path, compressor) -> None:
    shape = {"window": Window(0, 0, 30, 20), "shard": 1, "tile": 30, "depth": 4, "shard_slices": 8}
    await complete(tmp_path / "m", plan_of(6, **shape), compressor)
    longer = plan_of(9, **shape)
    assert await complete(tmp_path / "m", longer, compressor) == 3
    assert (right(tmp_path / "m", longer) == 1).all()
    assert verify(tmp_path / "m").is_clean
    shutil.rmtree(tmp_path / "m/.downloader")
    assert await complete(tmp_path / "m", longer, compressor) == 0
    assert status(tmp_path / "m").is_complete


async def test_a_run_that_is_killed_while_it_puts_the_lost_folder_back_leaves_the_rest_to_the_next(tmp_path):
    """The marker is written first, the metadata that hides the folder from Zarr's readers last."""
    plan = plan_of(3, window=Window(0, 0, 30, 20), shard=1, tile=30, depth=2, shard_slices=4)
    await complete(tmp_path / "m", plan)
    shutil.rmtree(tmp_path / "m/.downloader")
    await complete(tmp_path / "m", plan)
    (tmp_path / "m/.downloader/zarr.json").unlink()
    await complete(tmp_path / "m", plan)
    assert verify(tmp_path / "m").is_clean


async def test_a_slice_that_failed_is_a_hole_beside_what_is_stored(tmp_path) -> None:
    """Told in coverage and by the shard's own header: a lost ledger makes no data of it."""
    plan = plan_of(6, window=Window(0, 0, 30, 20), shard=1, tile=30, depth=4, shard_slices=8)
    (key,) = plan.groups[0].shards()
    async with open_for_writing(tmp_path / "m", plan, settings_of(), **RUN) as mosaic:
        for request in plan.groups[0].requests(key):
            if request.block.slice == 2:
                mosaic.fail(request, PROBLEM)
            else:
                await mosaic.place(request, pixels(plan.groups[0], request))
        await mosaic.commit(key)
        await mosaic.finish()
    assert right(tmp_path / "m", plan)[:, 0, 0].tolist() == [1, 1, 4, 1, 1, 1]
    assert (zarr.open_array(tmp_path / "m/B2", mode="r")[2] == 7).all()
    shutil.rmtree(tmp_path / "m/.downloader")
    async with open_for_writing(tmp_path / "m", plan, settings_of(), **RUN) as mosaic:
        assert mosaic.missing(key) == {0: 1 << 2, 1: 1 << 2}
    assert await complete(tmp_path / "m", plan) == 1
    assert (right(tmp_path / "m", plan) == 1).all()


async def test_damage_in_a_chunk_costs_its_slices_and_no_other(tmp_path) -> None:
    plan = plan_of(10, window=Window(0, 0, 30, 20), shard=1, tile=30, depth=4, shard_slices=16)
    await complete(tmp_path / "m", plan)
    path = tmp_path / "m/B2/c/0/0/0"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    found = verify(tmp_path / "m")
    (damage,) = found.damaged
    lost = [tile.slice for tile in damage.keys]
    assert lost in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9])
    repair_mosaic(tmp_path / "m")
    cells = right(tmp_path / "m", plan)[:, 0, 0]
    assert np.flatnonzero(cells == 0).tolist() == lost
    assert await complete(tmp_path / "m", plan) == len(lost)
    assert (right(tmp_path / "m", plan) == 1).all()
    assert verify(tmp_path / "m").is_clean


async def test_only_the_slices_of_changed_images_are_fetched_again(tmp_path) -> None:
    """What the chunk held of them is gone at the first commit that touches it, though it counts as missing before."""
    shape = {"window": Window(0, 0, 30, 20), "shard": 1, "tile": 30, "depth": 4, "shard_slices": 8}
    images = [day(number + 1) for number in range(7)]
    await complete(tmp_path / "m", series(images, **shape))
    for number in (1, 2, 6):
        images[number] = day(number + 1, update_time="2021-01-01T00:00:00Z")
    again = series(images, **shape)
    async with open_for_writing(tmp_path / "m", again, settings_of(), **RUN, on_update="refetch") as mosaic:
        assert coverage_of(tmp_path / "m")[:, 0, 0].tolist() == [1, 0, 0, 1, 1, 1, 0]
        assert await fill(mosaic, again, most=1, finish=False) == 1
    (key,) = again.groups[0].shards()
    async with open_for_writing(tmp_path / "m", again, settings_of(), **RUN, on_update="refetch") as mosaic:
        assert mosaic.missing(key) == {0: 0b1000100, 1: 0b1000100}
    assert (zarr.open_array(tmp_path / "m/B2", mode="r")[2] == 7).all()
    assert await complete(tmp_path / "m", again, on_update="refetch") == 2
    assert (right(tmp_path / "m", again) == 1).all()
    assert verify(tmp_path / "m").is_clean


async def test_other_chunks_are_another_mosaic(tmp_path) -> None:
    shape = {"window": Window(0, 0, 30, 20), "shard": 1, "tile": 30}
    await complete(tmp_path / "m", plan_of(3, **shape, depth=4, shard_slices=8))
    with pytest.raises(
        DriftError, match="time, 8 in a shard, 4 in a chunk → time, 8 in a shard, 2 in a chunk"
    ):
        await complete(tmp_path / "m", plan_of(3, **shape, depth=2, shard_slices=8))


async def test_overviews_of_deep_chunks_are_those_of_flat_ones(tmp_path) -> None:
    window = Window(0, 0, 600, 530)
    deep = plan_of(5, window=window, shard=4, tile=64, depth=2, shard_slices=4)
    flat = plan_of(5, window=window)
    for name, plan in (("deep", deep), ("flat", flat)):
        await complete(tmp_path / name, plan)
        overviews(tmp_path / name)
    for band in ("B2", "B3"):
        np.testing.assert_array_equal(
            open_group(tmp_path / "deep", level=2, chunks=None)[band].values,
            open_group(tmp_path / "flat", level=2, chunks=None)[band].values,
        )
    assert (coverage_of(tmp_path / "deep", "overviews/2") == 1).all()
    longer = plan_of(6, window=window, shard=4, tile=64, depth=2, shard_slices=4)
    await complete(tmp_path / "deep", longer)
    made = overviews(tmp_path / "deep")
    assert 0 < made.made < made.shards


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


@dataclass
class Step:
    """What happens to a mosaic in one run."""

    slices: int
    """Slices more than before."""
    most: int
    """Requests that are made."""
    failed: frozenset[int]
    """Slices that fail."""
    kill_at: int | None
    """Write before which the process dies."""
    afterwards: str = field(default="")
    """`lost`: .downloader is deleted; `flip`: a bit of an object changes, and the mosaic is repaired."""
    where: int = 0


steps = st.builds(
    Step,
    slices=st.integers(0, 5),
    most=st.integers(0, 12),
    failed=st.frozensets(st.integers(0, 12), max_size=3),
    kill_at=st.none() | st.integers(0, 40),
    afterwards=st.sampled_from(["", "", "lost", "flip"]),
    where=st.integers(0, 10**6),
)


def dying(step: int | None) -> Iterator[None]:
    """Let the process die just before its n-th write."""
    originals = {name: getattr(DiskStore, name) for name in ("put", "append", "replace", "flush")}
    count = 0

    def of(original):
        def method(self, *args, **more):
            nonlocal count
            if count == step:
                raise Killed
            count += 1
            return original(self, *args, **more)

        return method

    try:
        for name, original in originals.items():
            setattr(DiskStore, name, of(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(DiskStore, name, original)


async def happens(path: Path, plan: Plan, step: Step, compressor: str) -> None:
    group, made = plan.groups[0], 0
    async with open_for_writing(path, plan, settings_of(compressor), **RUN) as mosaic:
        for key in group.shards():
            for request in group.requests(key, mosaic.missing(key)):
                if made >= step.most:
                    break
                made += 1
                if step.failed.isdisjoint(request.block.numbers):
                    await mosaic.place(request, pixels(group, request))
                else:
                    mosaic.fail(request, PROBLEM)
                if made % 3 == 0:
                    await mosaic.commit(key)
            await mosaic.commit(key)
        await mosaic.finish()


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    history=st.lists(steps, min_size=1, max_size=5),
    depth=st.integers(1, 4),
    chunks=st.integers(1, 3),
    tile=st.sampled_from([16, 30]),
    shard=st.sampled_from([1, 2]),
    compressor=st.sampled_from(["lz4", "none"]),
    stack=st.sampled_from([0, 2, 3]),
)
def test_whatever_happens_what_is_called_stored_is_right(
    history, depth, chunks, tile, shard, compressor, stack
):
    from contextlib import contextmanager, suppress

    shape = {
        "window": Window(0, 0, 30, 25), "shard": shard, "tile": tile,
        "depth": depth, "shard_slices": depth * chunks, "stack": stack,
    }  # fmt: skip
    slices = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        asyncio.run(complete(path, plan_of(1, **shape), compressor))
        for step in history:
            slices = min(slices + step.slices, 13)
            plan = plan_of(slices, **shape)
            with suppress(Killed, BaseExceptionGroup), contextmanager(dying)(step.kill_at):
                asyncio.run(happens(path, plan, step, compressor))
            seen = len(coverage_of(path))
            right(path, plan_of(seen, **shape))
            if step.afterwards == "lost" and (path / ".downloader").exists():
                shutil.rmtree(path / ".downloader")
            if step.afterwards == "flip":
                objects = sorted(p for p in path.glob("B*/c/**/*") if p.is_file())
                victim = objects[step.where % len(objects)]
                data = bytearray(victim.read_bytes())
                data[step.where % len(data)] ^= 1 << step.where % 8
                victim.write_bytes(data)
                repair_mosaic(path)
                right(path, plan_of(len(coverage_of(path)), **shape))
        asyncio.run(complete(path, plan_of(slices, **shape), compressor))
        assert (right(path, plan_of(slices, **shape)) == 1).all()
        assert verify(path).is_clean
