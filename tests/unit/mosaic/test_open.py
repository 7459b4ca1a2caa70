"""Whose path it is, what it means, who is in it: answered before anything is written."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import zarr

from downloader.errors import DriftError, JobError, LockedError, RefusedError, StoppedError
from downloader.model.grid import Window
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import existing, open_for_writing
from downloader.mosaic.record.identity_json import FORMAT
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.storage.disk import DiskStore
from downloader.planning import Plan
from tests.mosaics import UTM, band_pixels, fill, image_of, one_group

SERVICE = "earth-engine"


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


async def create(path: Path, plan: Plan | None = None, **options) -> None:
    plan = plan or one_group()
    options.setdefault("service", SERVICE)
    async with open_for_writing(path, plan, job_text="source: …\n", **options) as mosaic:
        await fill(mosaic, plan)


async def test_a_new_mosaic_keeps_the_job_as_written_and_the_shards_side(tmp_path) -> None:
    assert existing(tmp_path / "a/b/m") is None
    await create(tmp_path / "a/b/m")
    assert (tmp_path / "a/b/m/.downloader/job.yaml").read_text() == "source: …\n"
    assert existing(tmp_path / "a/b/m").tilings == {"": one_group().groups[0].tiling}


async def test_a_mosaic_can_be_moved(tmp_path) -> None:
    await create(tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "n")
    async with open_for_writing(tmp_path / "n", one_group(), service=SERVICE) as mosaic:
        assert mosaic.counts()[""].missing == 0
    assert str(tmp_path).encode() not in b"".join(tree(tmp_path / "n").values())


async def test_the_same_job_again_writes_nothing(tmp_path) -> None:
    await create(tmp_path / "m")
    before = tree(tmp_path / "m")
    async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE, job_text="other: text"):
        pass
    after = tree(tmp_path / "m")
    before.pop(".downloader/lock")
    after.pop(".downloader/lock")
    assert after == before


@pytest.mark.parametrize(
    ("other", "options", "line"),
    [
        ({}, {"service": "emulator 1"}, "service: earth-engine → emulator 1"),
        ({"update_time": "2021-01-01T00:00:00Z"}, {}, "source.updateTime: 2020-01-01T00:00:00Z → 2021-01-01T00:00:00Z"),
        ({"window": Window(100, 200, 700, 601)}, {}, "region.window: columns 100…799, rows 200…799 → columns 100…799, rows 200…800"),
        ({"dtype": "<i2"}, {}, "source.bands: B2: uint16, nodata none → int16, nodata none\n  source.bands: B3: uint16, nodata none → int16, nodata none"),
        ({"bands": ["B2"]}, {}, "source.bands: B3: uint16, nodata none → not in this job"),
        ({"shard": 4}, {}, "tiles: 256 pixels, 2 along a shard's side → 256 pixels, 4 along a shard's side"),
        ({"lattice": replace(UTM, width=11000)}, {}, "image size: 10980×10980 → 11000×10980"),
        ({}, {"settings": MosaicSettings(nodata={"B3": 7.0})}, "source.bands: B3: uint16, nodata none → uint16, nodata 7.0"),
        ({}, {"settings": MosaicSettings(profile="plain")}, "mosaic.profile: sharded → plain"),
        ({}, {"settings": MosaicSettings(compressor="zstd")}, "mosaic.compressor: lz4 → zstd"),
    ],
)  # fmt: skip
async def test_a_job_that_means_something_else_is_refused_with_the_difference(
    tmp_path, other, options, line
) -> None:
    await create(tmp_path / "m")
    before = tree(tmp_path / "m")
    with pytest.raises(DriftError) as caught:
        async with open_for_writing(tmp_path / "m", one_group(**other), **{"service": SERVICE, **options}):
            pass
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{tmp_path / 'm'} was made by a job that means something else")
    assert lines[1:-1] == f"  {line}".splitlines()
    assert "another mosaic.path" in lines[-1]
    assert "--overwrite" in lines[-1]
    after = tree(tmp_path / "m")
    assert after.pop(".downloader/lock") == b"", "its holder leaves no note behind"
    assert before.pop(".downloader/lock") == b""
    assert after == before


async def test_durability_never_matters(tmp_path) -> None:
    await create(tmp_path / "m")
    async with open_for_writing(
        tmp_path / "m", one_group(), MosaicSettings(durability="scratch"), service=SERVICE
    ) as mosaic:
        assert mosaic.counts()[""].missing == 0


async def test_more_bands_are_an_extension_and_nothing_is_fetched_again(tmp_path) -> None:
    await create(tmp_path / "m", one_group(["B3", "x"]))
    shards = {k: v for k, v in tree(tmp_path / "m").items() if k.startswith(("B3/c", "x_/c"))}
    plan = one_group(["x_", "B2", "B3", "x"])
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE, job_text="source: new") as mosaic:
        assert set(mosaic.missing(next(plan.groups[0].shards()))) == {0, 1}
        assert mosaic.counts()[""].stored == 0
        assert set(zarr.open_group(tmp_path / "m", mode="r")) >= {"B2", "B3", "x_", "x__"}
        await fill(mosaic, plan)
    assert shards.items() <= tree(tmp_path / "m").items()
    assert (tmp_path / "m/.downloader/job.yaml").read_text() == "source: new"
    root = zarr.open_group(tmp_path / "m", mode="r")
    assert {name: array.attrs["band"] for name, array in root.arrays() if "band" in array.attrs} == {
        "B3": "B3", "B2": "B2", "x_": "x", "x__": "x_",
    }  # fmt: skip
    # The bands swapped places; what each holds is what its first job fetched or this one.
    assert (root["B2"][:] == band_pixels(plan.groups[0], 1)).all()
    assert (root["B3"][:] == band_pixels(one_group(["B3"]).groups[0], 0)).all()
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert mosaic.counts()[""].missing == 0


async def test_a_group_more_is_an_extension(tmp_path) -> None:
    fine, coarse = one_group(["B2"], name="10m"), one_group(["B5"], name="20m")
    bands = fine.image.bands + coarse.image.bands
    both = Plan(image_of(bands), fine.groups + coarse.groups, fine.model)
    await create(tmp_path / "m", fine)
    async with open_for_writing(tmp_path / "m", both, service=SERVICE) as mosaic:
        assert mosaic.counts()["10m"].missing == 0
        assert mosaic.counts()["20m"].missing == 9
        await fill(mosaic, both)
    assert set(zarr.open_group(tmp_path / "m", mode="r")) == {"10m", "20m"}
    assert {k: t.shard for k, t in existing(tmp_path / "m").tilings.items()} == {"10m": 2, "20m": 2}


async def test_two_runs_at_once_one_is_refused_by_name(tmp_path) -> None:
    async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
                pass
    async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
        pass


async def test_the_lock_is_free_after_an_opening_that_was_cancelled(tmp_path) -> None:
    async def hold() -> None:
        async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
            await asyncio.Event().wait()

    for turns in (1, 2, 3, 50):
        task = asyncio.create_task(hold())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # A thread that was opening lets go by itself; nothing tells when.
        for _ in range(5000):
            try:
                async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
                    break
            except LockedError:
                await asyncio.sleep(0)
        else:
            pytest.fail("the lock is still held")


async def test_the_lock_is_free_after_a_refusal(tmp_path) -> None:
    await create(tmp_path / "m")
    with pytest.raises(DriftError):
        async with open_for_writing(tmp_path / "m", one_group(), service="other"):
            pass
    async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
        pass


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "zarr", "marker", "own"])
async def test_what_is_something_else_stays_untouched(tmp_path, kind, overwrite) -> None:
    path = tmp_path / "m"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif kind == "zarr":
        zarr.create_array(path, shape=(4,), dtype="u1")
    elif kind == "own":
        (path / ".downloader").mkdir(parents=True)
        (path / ".downloader/something").write_text("mine")
    else:
        (path / ".downloader").mkdir(parents=True)
        (path / ".downloader/mosaic.json").write_text('{"kind": "other", "format": 1}')
    before = tree(tmp_path)
    with pytest.raises(RefusedError):
        async with open_for_writing(
            path, one_group(), service=SERVICE, purpose="overwrite" if overwrite else "run"
        ):
            pass
    after = tree(tmp_path)
    after.pop("m/.downloader/lock", None)
    assert after == before


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1])
async def test_a_mosaic_of_another_format_is_refused(tmp_path, version) -> None:
    await create(tmp_path / "m")
    marker = tmp_path / "m/.downloader/mosaic.json"
    document = json.loads(marker.read_text())
    document.update(format=version)
    marker.write_text(json.dumps(document))
    with pytest.raises(RefusedError, match=f"of format {version};"):
        existing(tmp_path / "m")
    with pytest.raises(RefusedError, match=f"reads format {FORMAT}"):
        async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE, purpose="overwrite"):
            pass


@pytest.mark.parametrize("name", ["../../elsewhere", "..", "/etc", ".downloader", "__x", ""])
async def test_a_marker_whose_names_leave_the_folder_is_refused(tmp_path, name) -> None:
    await create(tmp_path / "m")
    marker = tmp_path / "m/.downloader/mosaic.json"
    document = json.loads(marker.read_text())
    ((_, arrays, *_),) = document["content"]["value"][0]
    arrays[0] = name
    marker.write_text(json.dumps(document))
    with pytest.raises(RefusedError, match="damaged"):
        read_identity(tmp_path / "m")


async def test_overwrite_deletes_what_is_ours_and_no_more(tmp_path) -> None:
    await create(tmp_path / "m", one_group(["B2", "B3"]))
    (tmp_path / "m/notes.txt").write_text("mine")
    plan = one_group(["B4"], window=Window(0, 0, 300, 300))
    async with open_for_writing(tmp_path / "m", plan, service="other", purpose="overwrite") as mosaic:
        assert mosaic.counts()[""].missing == 4
        await fill(mosaic, plan)
    assert (tmp_path / "m/notes.txt").read_text() == "mine"
    assert not (tmp_path / "m/B2").exists()
    assert (zarr.open_group(tmp_path / "m", mode="r")["B4"][:] == band_pixels(plan.groups[0], 0)).all()
    async with open_for_writing(tmp_path / "m", plan, service="other") as mosaic:
        assert mosaic.counts()[""].missing == 0


async def test_overwrite_of_nothing_creates(tmp_path) -> None:
    async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE, purpose="overwrite") as mosaic:
        assert mosaic.counts()[""].missing == 9


async def test_a_start_that_was_killed_early_is_begun_again(tmp_path) -> None:
    own = tmp_path / "m/.downloader"
    own.mkdir(parents=True)
    (own / "lock").write_text("{}")
    (own / "mosaic.json#1").write_text("{")
    async with open_for_writing(tmp_path / "m", one_group(), service=SERVICE):
        assert not (own / "mosaic.json#1").exists()


@pytest.mark.parametrize("kept", [1, 3, 6, 9, 12])
async def test_a_creation_that_was_killed_anywhere_is_finished(tmp_path, monkeypatch, kept) -> None:
    put, puts = DiskStore.put, []

    def dying(self, key, buffers):
        if len(puts) >= kept:
            raise KeyboardInterrupt
        puts.append(key)
        put(self, key, buffers)

    plan = one_group()
    with monkeypatch.context() as patch:
        patch.setattr(DiskStore, "put", dying)
        with pytest.raises(KeyboardInterrupt):
            await create(tmp_path / "m")
    assert len(puts) == kept
    await create(tmp_path / "m")
    root = zarr.open_group(tmp_path / "m", mode="r")
    assert (root["B3"][:] == band_pixels(plan.groups[0], 1)).all()
    assert root["x"][:].tolist() == [499980 + 10 * (100.5 + k) for k in range(700)]


def test_a_reader_sees_all_or_nothing_of_a_creation(tmp_path) -> None:
    """The root's document is the last of the hierarchy's."""
    code = """
import asyncio, sys
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.storage.disk import DiskStore
from tests.mosaics import one_group
put = DiskStore.put
def told(self, key, buffers):
    put(self, key, buffers)
    print(key, flush=True)
DiskStore.put = told
async def main():
    async with open_for_writing(sys.argv[1], one_group(), service="s"):
        pass
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, check=True
    )
    keys = done.stdout.split()
    assert keys[:2] == [".downloader/job.yaml", ".downloader/mosaic.json"]
    assert keys[-1] == "zarr.json"
    assert {"x/c/0", "y/c/0", "B2/zarr.json", "coverage/zarr.json", "coverage/tiles/zarr.json"} <= set(
        keys[2:-1]
    )


async def test_a_path_that_cannot_be_written_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="cannot be read or written"):
        await create(tmp_path / "file/m")

    def mkdir(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(RefusedError, match="Read-only"):
        await create(tmp_path / "m")


async def test_a_nodata_value_that_cannot_be_is_refused_before_anything_is_made(tmp_path) -> None:
    with pytest.raises(JobError, match=r"mosaic\.nodata"):
        await create(tmp_path / "m", settings=MosaicSettings(nodata={"B2": -1}))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("nodata", [float("nan"), float("-inf"), -9999.0])
async def test_nodata_survives_the_identity(tmp_path, nodata) -> None:
    plan, chosen = one_group(dtype="<f4"), MosaicSettings(nodata={"B2": nodata})
    await create(tmp_path / "m", plan, settings=chosen)
    async with open_for_writing(tmp_path / "m", plan, chosen, service=SERVICE) as mosaic:
        assert mosaic.counts()[""].missing == 0


KILLED = """
import asyncio, os, signal, sys
from downloader.mosaic.open import open_for_writing
from tests.mosaics import fill, one_group
async def main():
    async with open_for_writing(sys.argv[1], one_group(), service="earth-engine") as mosaic:
        await fill(mosaic, one_group(), most=int(sys.argv[2]), finish=False)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_sigkill_loses_nothing_that_was_committed(tmp_path) -> None:
    plan = one_group()
    for expected in (3, 6, 9):
        code = [sys.executable, "-c", KILLED, str(tmp_path / "m"), "3"]
        process = await asyncio.to_thread(subprocess.run, code, check=False)
        assert process.returncode == -signal.SIGKILL
        async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
            assert mosaic.counts()[""].stored == expected
    root = zarr.open_group(tmp_path / "m", mode="r")
    assert (root["B2"][:] == band_pixels(plan.groups[0], 0)).all()


async def test_a_disk_that_is_full_when_the_lock_is_noted_stops_the_run_and_holds_no_lock(
    tmp_path, monkeypatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoppedError, match="no space left on the disk"):
            async with open_for_writing(tmp_path / "m", one_group(), service="earth-engine"):
                pass
    async with open_for_writing(tmp_path / "m", one_group(), service="earth-engine"):
        pass
