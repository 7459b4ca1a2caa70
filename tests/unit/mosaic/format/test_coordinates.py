"""The arrays x and y of axes of any length."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import zarr

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.mosaic.format.coordinates import write_coordinates
from downloader.mosaic.format.hierarchy import ensure_hierarchy
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.storage.disk import DiskStore
from tests.mosaics import one_group

WIDTH = 600_000
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
    where = sorted({*range(0, count, 97), *range(262_140, min(262_150, count)), count - 1})
    exact = [float(Fraction(origin) + Fraction(scale) * (2 * (first + k) + 1) / 2) for k in where]
    return values.shape == (count,) and values[where].tolist() == exact and bool(np.isfinite(values).all())


def written(store: DiskStore) -> dict[str, int]:
    return {f"{axis}{key[1:]}": size for axis in "xy" for key, size in store.list(f"{axis}/c")}


def test_the_last_bit_of_every_value_is_right(store, layout, tmp_path) -> None:
    write_coordinates(store, (layout,))
    assert set(written(store)) == {"y/c/0", *(f"x/c/{k}" for k in range(3))}
    assert are_right(tmp_path, "x")
    assert are_right(tmp_path, "y")


def test_what_readers_see_is_not_written_again_but_holes_are(store, layout, monkeypatch) -> None:
    write_coordinates(store, (layout,))
    before = written(store)
    store.delete(["x/c/2"])
    store.put("x/c/1", [b""])
    keys = puts(monkeypatch)
    write_coordinates(store, (layout,))
    assert keys == ["x/c/1", "x/c/2"]
    assert written(store) == before


def test_what_no_reader_sees_yet_is_written_again(tmp_path, layout, monkeypatch) -> None:
    """It is not known whether it survived a loss of power."""
    store = DiskStore(tmp_path / "new", durable=False)
    store.path.mkdir()
    write_coordinates(store, (layout,))
    keys = puts(monkeypatch)
    write_coordinates(store, (layout,))
    assert keys == ["y/c/0", *(f"x/c/{k}" for k in range(3))]


def puts(monkeypatch) -> list[str]:
    """The keys that are put from now on."""
    put, keys = DiskStore.put, []
    monkeypatch.setattr(DiskStore, "put", lambda self, key, data: (keys.append(key), put(self, key, data))[1])
    return keys
