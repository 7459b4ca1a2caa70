"""Samples with steps: whatever happens to a mosaic, what it calls stored is right, and both axes grow."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from downloader.mosaic.format.codec import ChunkCodec
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.verify import verify
from downloader.planning import Plan
from tests.mosaics import PROBLEM, band_pixels, coverage_of, fill, pixels, places
from tests.unit.mosaic.test_writer_depth import RUN, Killed, Step, dying, settings_of, steps


async def complete(path: Path, plan: Plan, compressor: str = "lz4") -> int:
    async with open_for_writing(path, plan, settings_of(compressor), **RUN) as mosaic:
        return await fill(mosaic, plan)


def right(path: Path, plan: Plan) -> np.ndarray:
    """Every chip that coverage calls stored is right, bit for bit; the states, (sample, step)."""
    group = plan.groups[0]
    cells = coverage_of(path)[..., 0, 0]
    for band, name in enumerate(("B2", "B3")):
        found = zarr.open_array(path / name, mode="r")[:]
        for sample, step in np.argwhere(cells[: found.shape[0], : found.shape[1]] == 1).tolist():
            wanted = band_pixels(group, band, slice_=31 * sample + step)
            np.testing.assert_array_equal(found[sample, step], wanted)
    return cells


def test_dates_of_a_sample_lie_in_one_chunk_and_stacks_stay_within_it() -> None:
    plan = places([5, 0, 3, 6], depth=4, samples=2, shard_steps=4, stack=3)
    group = plan.groups[0]
    blocks = [r.block for key in group.shards() for r in group.requests(key)]
    assert [(b.slice, b.slices) for b in blocks] == [
        (0, 3), (3, 1), (4, 1), (12, 3), (18, 3), (21, 1), (22, 2)
    ]  # fmt: skip
    assert group.tiling.shards == 4
    assert (
        sum(mask.bit_count() for mask in map(group.wanted_mask, group.shards())) == group.count_tiles() == 14
    )
    for slice_ in range(24):
        place = group.tiling.shard_of(slice_, 0, 0)
        assert group.tiling.tile_at(place, group.tiling.slot(slice_, 0, 0)) == (slice_, 0, 0)
        assert slice_ in group.tiling.slices_of(*place[:2])


async def test_samples_and_steps_grow_in_the_shards_that_are_there(tmp_path) -> None:
    shape = {"depth": 2, "samples": 2, "shard_steps": 4}
    await complete(tmp_path / "m", places([3, 1], **shape))
    assert await complete(tmp_path / "m", places([4, 1, 2], **shape)) == 3
    plan = places([4, 6, 2, 0], **shape)
    assert await complete(tmp_path / "m", plan) == 5
    cells = right(tmp_path / "m", plan)
    assert (cells == 1).sum(axis=1).tolist() == [4, 6, 2, 0]
    assert ((cells == 1) | (cells == 3)).all()
    array = zarr.open_array(tmp_path / "m/B2", mode="r")
    assert (array.shape[:2], array.chunks[:2], array.shards[:2]) == ((4, 6), (1, 2), (2, 4))
    root = zarr.open_group(tmp_path / "m", mode="r")
    assert root["image_id"][1].tolist() == [f"TEST/{n:02d}" for n in range(1, 7)]
    assert root["image_id"][3].tolist() == [""] * 6
    assert verify(tmp_path / "m").is_clean
    shutil.rmtree(tmp_path / "m/.downloader")
    assert await complete(tmp_path / "m", plan) == 0


async def happens(path: Path, plan: Plan, step: Step, compressor: str) -> None:
    group, made = plan.groups[0], 0
    async with open_for_writing(path, plan, settings_of(compressor), **RUN) as mosaic:
        for key in group.shards():
            for request in group.requests(key, mosaic.missing(key)):
                if made >= step.most:
                    break
                made += 1
                if step.failed & set(request.block.numbers):
                    mosaic.fail(request, PROBLEM)
                else:
                    await mosaic.place(request, pixels(group, request))
                if made % 3 == 0:
                    await mosaic.commit(key)
            await mosaic.commit(key)
        await mosaic.finish()


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    history=st.lists(steps, min_size=1, max_size=4),
    more=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=4, max_size=4),
    depth=st.integers(1, 3),
    chunks=st.integers(1, 3),
    samples=st.sampled_from([1, 2, 4]),
    stack=st.sampled_from([0, 2, 5]),
    compressor=st.sampled_from(["lz4", "none"]),
)
def test_whatever_happens_what_is_called_stored_is_right(
    history, more, depth, chunks, samples, stack, compressor
):
    shape = {"depth": depth, "samples": samples, "shard_steps": depth * chunks, "stack": stack}
    counts = [1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        asyncio.run(complete(path, places(counts, **shape), compressor))
        for step, added in zip(history, more, strict=False):
            length = max(len(counts), len(added))
            counts = [
                sum(pair)
                for pair in zip(*(one + [0] * (length - len(one)) for one in (counts, added)), strict=True)
            ]
            plan = places(counts, **shape)
            with suppress(Killed, BaseExceptionGroup), contextmanager(dying)(step.kill_at):
                asyncio.run(happens(path, plan, step, compressor))
            right(path, plan)
            if step.afterwards == "lost" and (path / ".downloader").exists():
                shutil.rmtree(path / ".downloader")
            if step.afterwards == "flip":
                objects = sorted(p for p in path.glob("B*/c/**/*") if p.is_file())
                victim = objects[step.where % len(objects)]
                data = bytearray(victim.read_bytes())
                data[step.where % len(data)] ^= 1 << step.where % 8
                victim.write_bytes(data)
                repair_mosaic(path)
                right(path, plan)
        plan = places(counts, **shape)
        asyncio.run(complete(path, plan, compressor))
        cells = right(path, plan)
        assert (cells == 1).sum(axis=1).tolist() == counts
        assert verify(path).is_clean


@pytest.mark.parametrize("wide", [1, 2, 3])
def test_values_along_two_axes_lie_in_chunks_that_stay(tmp_path, wide) -> None:
    from downloader.mosaic.format.axis import AxisArray

    for across in (2, 3, 5):
        made = AxisArray("a", "string", tuple(f"{k}" for k in range(3 * across)), {}, across, "step", wide)
        (tmp_path / "a").mkdir(exist_ok=True)
        import json

        (tmp_path / "a/zarr.json").write_text(
            json.dumps(made.document("sample", ChunkCodec("lz4", checksum=True)))
        )
        for key, data in made.chunks("", ChunkCodec("lz4", checksum=True)):
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(data)
        found = zarr.open_array(tmp_path / "a", mode="r")
        assert found[:].ravel().tolist() == list(made.values)
        assert found.chunks[1] == wide
