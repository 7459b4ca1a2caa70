"""The small parts of verify and repair, each alone."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import DriftError, JobError, LockedError, RefusedError
from downloader.job import Job
from downloader.mosaic.format.chunk import ChunkForm
from downloader.mosaic.format.codec import ChunkCodec
from downloader.mosaic.format.header import ShardHeader
from downloader.mosaic.format.hierarchy import merged
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.format.shard import ShardIndex, encode_shard, index_bytes, merge
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_from_document, statement_of
from downloader.mosaic.storage.lock import FileLock, seems_held
from downloader.mosaic.stored_job import freeze, meaning, thaw
from downloader.mosaic.subset import Selection
from downloader.mosaic.updates import accepted, plan_update
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.verify import verify
from tests.mosaics import fill, one_group

SERVICE = "earthengine"


# ---------------------------------------------------------------- dropping


@given(st.integers(0, 255), st.integers(0, 255), st.randoms(use_true_random=False))
def test_dropped_entries_go_and_all_others_keep_their_bytes(
    present: int, drop: int, rng: random.Random
) -> None:
    codec = ChunkCodec("none", checksum=True)
    chunks = {
        slot: codec.encode(np.array([rng.randrange(256) for _ in range(rng.randrange(1, 9))], "u1"))
        for slot in range(8)
        if present >> slot & 1
    }
    header = ShardHeader("0" * 32, "", "B2", 1, (0, 0, 0), 8)
    old = b"".join(
        bytes(part) for part in encode_shard(chunks, header, sum(1 << slot for slot in chunks)).buffers
    )
    merged_ = merge(old, {}, header, ChunkForm(codec, np.dtype("u1"), np.uint8(0), 1), keep=~drop)
    assert merged_.stored == present & ~drop
    data = b"".join(bytes(part) for part in merged_.buffers)
    index = ShardIndex.parse(data[-index_bytes(8) :], 8, len(data))
    for slot, chunk in chunks.items():
        span = index.span(slot)
        assert (span is None) == bool(drop >> slot & 1)
        if span:
            assert data[slice(*span)] == chunk


# ---------------------------------------------------------------- the kept job


def job(**more: object) -> Job:
    return Job.from_dict({"source": {"asset": "A/B"}, "mosaic": {"path": "out/m.zarr"}, **more})


def test_a_kept_job_reads_back_equal_wherever_the_folders_go(tmp_path) -> None:
    text = (
        "source: {asset: A/B}\nmosaic: {path: out/m.zarr, nodata: .nan}\n"
        "service: {endpoint: emulator, emulator: {rasters: {A/B: files/a.tif}}}\n"
    )
    made = Job.parse(text, base=tmp_path / "here")
    (tmp_path / "here/out/m.zarr/.downloader").mkdir(parents=True)
    (tmp_path / "here/out/m.zarr/.downloader/job.yaml").write_text(freeze(made))
    assert str(tmp_path) not in freeze(made)
    (tmp_path / "here").rename(tmp_path / "there")
    again = thaw(tmp_path / "there/out/m.zarr", "", SERVICE)
    assert again.mosaic_path == tmp_path / "there/out/m.zarr"
    assert again.resolve("files/a.tif") == tmp_path / "there/files/a.tif"
    assert again.source == made.source
    assert again.mosaic.model_dump(exclude={"path"}).keys() == made.mosaic.model_dump(exclude={"path"}).keys()


def test_the_meaning_has_no_secret_no_path_and_no_speed() -> None:
    text = meaning(
        job(
            auth={"key_file": "/home/somebody/key.json"},
            limits={"concurrency": 3},
            service={"endpoint": "https://example.org"},
        ).dump()
    )
    for word in ("somebody", "concurrency", "example.org", "out/m.zarr"):
        assert word not in text
    assert "asset: A/B" in text


def test_a_lost_job_is_read_from_what_the_attributes_say_and_its_service_overridden(tmp_path) -> None:
    again = thaw(tmp_path / "m", meaning(job().dump()), SERVICE, ["service.endpoint=https://example.org"])
    assert (again.source.asset, again.service.endpoint) == ("A/B", "https://example.org")
    assert again.mosaic_path == tmp_path / "m"
    assert thaw(tmp_path / "m", meaning(job().dump()), "emulator land-2").service.endpoint == "emulator"
    assert thaw(tmp_path / "m", meaning(job().dump()), SERVICE).service.endpoint == "auto"


def test_no_job_at_all_is_said_with_the_remedy(tmp_path) -> None:
    with pytest.raises(JobError, match="name the job file in place of the mosaic"):
        thaw(tmp_path / "m", "", SERVICE)


# ---------------------------------------------------------------- the selection


async def test_a_selection_hides_what_else_is_missing(tmp_path) -> None:
    plan = one_group()
    first, second, *_ = plan.shards()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        selection = Selection(mosaic, {first: {1: 0b0101}})
        assert selection.missing(first) == {1: 0b0101}
        assert selection.missing(second) == {}
        assert list(selection.shards(plan)) == [first]
        assert not selection.is_done()
        await fill(mosaic, plan)
        assert selection.is_done()


# ---------------------------------------------------------------- updates


def identity(time: str = "t0", **other: object) -> Identity:
    return Identity.of(one_group(update_time=time, **other), MosaicSettings(), SERVICE)


def test_what_a_change_makes_of_a_mosaic() -> None:
    with pytest.raises(DriftError, match="--accept updates"):
        plan_update(identity("t0"), identity("t1"), "m", "refuse")
    kept = plan_update(identity("t0"), identity("t1"), "m", "keep")
    assert (kept.identity.kept, kept.identity.refetching, kept.starts_refetching) == (("t0",), False, False)
    again = plan_update(kept.identity, identity("t1"), "m", "refuse")
    assert (again.identity.kept, again.notices, again.is_extended) == (("t0",), (), False)
    twice = plan_update(kept.identity, identity("t2"), "m", "keep")
    assert twice.identity.kept == ("t0", "t1")
    anew = plan_update(twice.identity, identity("t3"), "m", "refetch")
    assert (anew.identity.kept, anew.identity.refetching, anew.starts_refetching) == ((), True, True)
    owed = plan_update(anew.identity, identity("t3"), "m", "refuse")
    assert (owed.identity.refetching, owed.starts_refetching) == (True, False)
    meanwhile = plan_update(anew.identity, identity("t4"), "m", "keep")
    assert (meanwhile.identity.kept, meanwhile.identity.refetching) == (("t3",), True)


@pytest.mark.parametrize("on_update", ["keep", "refetch"])
def test_any_other_difference_is_refused_whatever_is_accepted(on_update) -> None:
    with pytest.raises(DriftError, match="uint16") as caught:
        plan_update(identity("t0"), identity("t1", dtype="<i2"), "m", on_update)
    assert "--accept updates" not in str(caught.value)


def test_a_change_in_mid_run_is_told_in_the_attributes() -> None:
    now = accepted(identity("t0"), {"projects/earthengine-public/assets/TEST/IMAGE": "t1"})
    attributes, (key, data) = statement_of(now)
    assert attributes["update_time"] == "t1"
    assert attributes["earlier_update_times"] == ["t0"]
    assert attributes["downloader"] == key
    assert identity_from_document(json.loads(data)) == now


def test_attributes_of_others_survive_and_ours_follow_the_mosaic() -> None:
    there = {
        "mine": 1,
        "source": "edited",
        "update_time": "old",
        "earlier_update_times": ["x"],
        "downloader": "old",
    }
    wanted = {"source": "S", "update_time": "new", "downloader": "new", "properties": {}}
    assert merged(there, wanted) == {
        "mine": 1, "source": "edited", "update_time": "new", "downloader": "new", "properties": {},
    }  # fmt: skip


# ---------------------------------------------------------------- verify and repair, in this process


@pytest.mark.parametrize("profile", ["sharded", "plain"])
async def test_what_is_written_verifies_whatever_of_it_is_there(tmp_path, profile) -> None:
    plan = one_group()
    seen: list[tuple[int, int]] = []
    for most, finish in ((0, True), (3, True), (9, True), (None, True)):
        async with open_for_writing(
            tmp_path / "m", plan, MosaicSettings(profile=profile), service=SERVICE, job_text="source: x"
        ) as mosaic:
            await fill(mosaic, plan, most=most, finish=finish)
            missing = mosaic.counts()[""].missing
        found = verify(tmp_path / "m", watch=lambda done, total: seen.append((done, total)))
        assert found.is_intact, found
        assert sum(one.missing for one in found.groups.values()) == missing
        assert found.is_clean == (missing == 0)
    assert seen[-1][0] == seen[-1][1]


async def test_a_mosaic_that_a_run_holds_is_not_repaired(tmp_path) -> None:
    plan = one_group()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE, job_text="source: x") as mosaic:
        await fill(mosaic, plan, most=2, finish=False)
        assert verify(tmp_path / "m").is_being_written
        with pytest.raises(LockedError):
            repair_mosaic(tmp_path / "m")
        assert verify(tmp_path / "m").is_intact


def test_no_mosaic_is_refused_and_nothing_is_made(tmp_path) -> None:
    for call in (verify, repair_mosaic):
        with pytest.raises(RefusedError, match="is not a mosaic"):
            call(tmp_path / "m")
        with pytest.raises(RefusedError, match="is not a mosaic"):
            call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_seen_without_trying_it(tmp_path) -> None:
    path = tmp_path / "lock"
    assert not seems_held(path)
    lock = FileLock(path, "m")
    lock.acquire()
    assert seems_held(path)
    lock.release()
    assert not seems_held(path)
