"""The recipe for Icechunk, as the page has it: a commit after each run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import icechunk
import numpy as np
import pytest
import xarray as xr
import zarr

from tests.docs.blocks import blocks_of
from tests.harness import ROOT
from tests.interop.test_export import make
from tests.mosaics import band_pixels, day, series


def run_the_page() -> dict:
    (block,) = (
        one
        for one in blocks_of(ROOT / "docs" / "recipes.md")
        if one.elsewhere == "tests/interop/test_icechunk.py"
    )
    names: dict = {}
    exec(compile(block.code, str(block), "exec"), names)
    return names


async def test_a_commit_after_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await make(tmp_path / "out/scene.zarr", series([day(3), day(6)]), most=3)
    first = await asyncio.to_thread(run_the_page)
    half = first["copy"]["B3"].values
    plan = await make(tmp_path / "out/scene.zarr", series([day(3), day(6), day(9)]))
    names = await asyncio.to_thread(run_the_page)
    copy, repository = names["copy"], names["repository"]
    for number, band in enumerate(("B2", "B3")):
        assert copy[band].dtype == np.uint16
        for slice_ in range(3):
            wanted = band_pixels(plan.groups[0], number, slice_=slice_)
            np.testing.assert_array_equal(copy[band].values[slice_], wanted)
    assert copy.rio.crs.to_epsg() == 32610
    last, before, _ = repository.ancestry(branch="main")
    assert (last.message, before.message) == ("a scene", "a scene")
    old = xr.open_zarr(repository.readonly_session(snapshot_id=before.id).store, consolidated=False)
    assert old.sizes["time"] == 2
    np.testing.assert_array_equal(old["B3"].values, half)
    session = repository.readonly_session("main")
    source = zarr.storage.LocalStore(tmp_path / "out/scene.zarr")
    prototype = zarr.core.buffer.default_buffer_prototype()
    chunks = [key async for key in source.list() if "/c/" in key]
    for key in chunks:
        there, here = await session.store.get(key, prototype), await source.get(key, prototype)
        assert there.to_bytes() == here.to_bytes()
    assert len(chunks) > 6


async def test_why_a_mosaic_is_no_repository(tmp_path: Path) -> None:
    """What the page says of Icechunk; should one of these fail, `mosaic.path` may become one."""
    storage = icechunk.local_filesystem_storage(str(tmp_path))
    session = icechunk.Repository.create(storage).writable_session("main")
    data = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(b"{}")
    with pytest.raises(icechunk.IcechunkError, match="invalid zarr key format"):
        await session.store.set(".downloader/ledger/a.jsonl", data)
    zarr.create_array(session.store, name="a", shape=(4,), dtype="u1")
    again = icechunk.Repository.open(storage).readonly_session("main")
    assert "a/zarr.json" not in [key async for key in again.store.list()]
