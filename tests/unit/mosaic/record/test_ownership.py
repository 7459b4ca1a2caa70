"""What a mosaic says of itself."""

from __future__ import annotations

from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record import ownership
from downloader.mosaic.record.ownership import read_identity
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
