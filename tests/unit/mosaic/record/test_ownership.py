"""What a mosaic says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record import ownership
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.storage.disk import DiskStore
from tests.mosaics import day, fill, series


async def make(path, *days) -> None:
    plan = series([day(number) for number in days])
    async with open_for_writing(path, plan, service="earth-engine") as mosaic:
        await fill(mosaic, plan)


async def test_the_mosaic_looked_at_last_is_not_read_anew_until_it_changes(tmp_path, monkeypatch) -> None:
    await make(tmp_path / "m", 3)
    read: list[int] = []
    original = ownership.identity_from_document

    def counted(document):
        read.append(len(document))
        return original(document)

    monkeypatch.setattr(ownership, "identity_from_document", counted)
    first = read_identity(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert read_identity(tmp_path / "m") == read_identity("m") == first
    assert len(read) == 1, "by whatever path"
    await make(tmp_path / "m", 3, 6)
    grown = read_identity(tmp_path / "m")
    assert len(list(grown.listed.images)) == 2


async def test_a_long_list_is_not_kept(tmp_path, monkeypatch) -> None:
    """100,000 images would take 290 MB to the end of the process."""
    read: list[object] = []
    monkeypatch.setattr(ownership, "_AT_HAND", 100)
    await make(tmp_path / "m", 3)
    monkeypatch.setattr(ownership, "identity_from_document", read.append)
    for _ in range(2):
        read_identity(tmp_path / "m")
    assert len(read) == 2


def copies(mosaic: Path) -> list[str]:
    return sorted(path.name for path in mosaic.rglob("mosaic-*.json"))


async def test_copies_that_killed_runs_left_go_with_the_next_that_grows(tmp_path, monkeypatch) -> None:
    def killed(self, keys):
        raise KeyboardInterrupt

    mosaic = tmp_path / "m"
    await make(mosaic, 3)
    for days in ((3, 6), (3, 6, 9)):
        with monkeypatch.context() as patch:
            patch.setattr(DiskStore, "delete", killed)
            with pytest.raises(KeyboardInterrupt):
                await make(mosaic, *days)
    assert len(copies(mosaic)) == 3
    await make(mosaic, 3, 6, 9, 12)
    assert len(copies(mosaic)) == 1
    assert (mosaic / "B2/zarr.json").exists()


@pytest.mark.parametrize("stated", ["B2/zarr.json", "B2/c/0/0/0", "../mosaic-0123456789abcdef.json", 3, None])
async def test_nothing_is_deleted_that_is_no_copy(tmp_path, stated) -> None:
    mosaic = tmp_path / "m"
    await make(mosaic, 3)
    (tmp_path / "mosaic-0123456789abcdef.json").write_text("{}")
    root = json.loads((mosaic / "zarr.json").read_bytes())
    root["attributes"]["downloader"] = stated
    (mosaic / "zarr.json").write_text(json.dumps(root))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    await make(mosaic, 3)
    assert before <= {path for path in tmp_path.rglob("*") if path.is_file()}
