"""The arrays x and y of axes of any length."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import zarr

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.mosaic.format.coordinates import CoordinateWriter
from downloader.mosaic.format.hierarchy import ensure_hierarchy
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.storage.disk import DiskStore
from tests.mosaics import one_group

WIDTH = 300_000
LATTICE = PixelGrid(
    Crs("EPSG:4326"), AffineTransform(0.000269494585235856472, 0, -180.0, 0, -0.000269494585235856472, 60.0),
    1_000_000, 10_000,
)  # fmt: skip


@pytest.fixture(params=["sharded", "plain"])
def layout(request) -> GroupLayout:
    plan = one_group(["B"], lattice=LATTICE, window=Window(12_345, 7, WIDTH, 40))
    return GroupLayout.make(plan.groups[0], {"B": "B"}, MosaicSettings(profile=request.param))


@pytest.fixture
def store(tmp_path, layout) -> DiskStore:
    store = DiskStore(tmp_path, durable=False)
    ensure_hierarchy(store, (layout,), {})
    return store


def are_right(path, axis: str) -> bool:
    """Whether values all along the axis are the rational ones, to the last bit."""
    t = LATTICE.transform
    scale, origin, first, count = (
        (t.scale_x, t.translate_x, 12_345, WIDTH) if axis == "x" else (t.scale_y, t.translate_y, 7, 40)
    )
    values = zarr.open_group(path, mode="r")[axis][:]
    where = sorted({*range(0, count, 97), *range(65_530, min(65_540, count)), count - 1})
    exact = [float(Fraction(origin) + Fraction(scale) * (2 * (first + k) + 1) / 2) for k in where]
    return values.shape == (count,) and values[where].tolist() == exact and bool(np.isfinite(values).all())


def written(store: DiskStore) -> dict[str, int]:
    return {f"{axis}{key[1:]}": size for axis in "xy" for key, size in store.list(f"{axis}/c")}


def test_the_last_bit_of_every_value_is_right(store, layout, tmp_path) -> None:
    assert CoordinateWriter(store, (layout,)).write(100)
    assert are_right(tmp_path, "x")
    assert are_right(tmp_path, "y")


def test_chunks_are_written_a_few_at_a_time(store, layout) -> None:
    writer = CoordinateWriter(store, (layout,))
    for number in (2, 4):
        assert not writer.write(2)
        assert len(written(store)) == number
    assert not writer.write(2)
    assert writer.write(2)
    assert set(written(store)) == {"y/c/0", *(f"x/c/{k}" for k in range(5))}


def test_what_was_finished_is_not_written_again_but_holes_are(store, layout, monkeypatch) -> None:
    CoordinateWriter(store, (layout,)).write(100)
    before = written(store)
    store.delete(["x/c/3"])
    store.put("x/c/1", [b""])
    put, keys = DiskStore.put, []
    monkeypatch.setattr(DiskStore, "put", lambda self, key, data: (keys.append(key), put(self, key, data))[1])
    assert CoordinateWriter(store, (layout,)).write(100)
    assert keys == ["x/c/1", "x/c/3"]
    assert written(store) == before


def test_a_run_that_did_not_finish_is_begun_again(store, layout, monkeypatch) -> None:
    assert not CoordinateWriter(store, (layout,)).write(3)
    put, keys = DiskStore.put, []
    monkeypatch.setattr(DiskStore, "put", lambda self, key, data: (keys.append(key), put(self, key, data))[1])
    assert CoordinateWriter(store, (layout,)).write(100)
    assert keys == ["y/c/0", *(f"x/c/{k}" for k in range(5)), ".downloader/coordinates"]


def test_a_write_that_failed_is_repeated_whole(store, layout, monkeypatch, tmp_path) -> None:
    writer = CoordinateWriter(store, (layout,))
    put, calls = DiskStore.put, []

    def once(self, key, data):
        calls.append(key)
        if len(calls) == 3:
            raise OSError(5, "made to fail")
        put(self, key, data)

    monkeypatch.setattr(DiskStore, "put", once)
    with pytest.raises(OSError, match="made to fail"):
        writer.write(4)
    while not writer.write(4):
        pass
    assert are_right(tmp_path, "x")
