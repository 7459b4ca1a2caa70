"""Metadata documents, held to what zarr-python itself writes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
import zarr.codecs

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.mosaic.format.hierarchy import ensure_hierarchy
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.storage.disk import DiskStore
from tests.mosaics import one_group


def layout(dtype: str = "<u2", nodata: float | None = None, slices: int = 1, **settings) -> GroupLayout:
    plan = one_group(["B"], dtype=dtype, slices=slices)
    declared = {} if nodata is None else {"B": nodata}
    return GroupLayout.make(plan.groups[0], {"B": "B"}, MosaicSettings(nodata=declared, **settings))


def oracle(tmp_path, document: dict, **options) -> dict:
    """What zarr-python writes for an array of the same properties."""
    zarr.create_array(
        tmp_path / "a",
        shape=document["shape"],
        dimension_names=document["dimension_names"],
        attributes=document["attributes"],
        **options,
    )
    return json.loads((tmp_path / "a/zarr.json").read_text())


@pytest.mark.parametrize("profile", ["sharded", "plain"])
@pytest.mark.parametrize("compressor", ["lz4", "zstd", "none"])
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("<u2", None), ("|u1", 255), ("<i2", -32768), ("<f4", float("nan")), ("<f8", float("-inf"))],
)
def test_a_band_is_described_as_zarr_python_describes_it(
    tmp_path, dtype, nodata, profile, compressor
) -> None:
    document = dict(layout(dtype, nodata, profile=profile, compressor=compressor).documents())["B"]
    typesize = np.dtype(dtype).itemsize
    levels = {"lz4": 5, "zstd": 1}
    compressors = [
        zarr.codecs.BloscCodec(cname=name, clevel=level, shuffle="bitshuffle", typesize=typesize)
        for name, level in levels.items()
        if name == compressor
    ]
    if profile == "sharded":
        compressors = [*compressors, zarr.codecs.Crc32cCodec()]
    written = oracle(
        tmp_path,
        document,
        dtype=dtype,
        chunks=(256, 256),
        shards=(512, 512) if profile == "sharded" else None,
        compressors=compressors or None,
        fill_value=0 if nodata is None else nodata,
    )
    assert json.loads(json.dumps(document)) == written


def test_a_leading_axis_comes_first(tmp_path) -> None:
    documents = dict(layout(slices=5).documents())
    written = oracle(
        tmp_path,
        documents["B"],
        dtype="<u2",
        chunks=(1, 256, 256),
        shards=(1, 512, 512),
        compressors=[
            zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2),
            zarr.codecs.Crc32cCodec(),
        ],
        fill_value=0,
    )
    assert json.loads(json.dumps(documents["B"])) == written
    assert documents["B"]["dimension_names"] == ["time", "y", "x"]
    assert documents["coverage/tiles"]["shape"] == [5, 3, 3]
    assert layout(slices=5).shard_object(0, 4, 1, 0) == "B/c/4/1/0"
    assert layout().shard_object(0, 0, 1, 0) == "B/c/1/0"


def test_the_consolidated_document_is_what_zarr_python_consolidates(tmp_path) -> None:
    plan = one_group(["B2", "B3"], name="10m")
    here = GroupLayout.make(plan.groups[0], {"B2": "B2", "B3": "B3"}, MosaicSettings())
    assert ensure_hierarchy(DiskStore(tmp_path), (here,), {"source": "test"}) is not None
    for key in ("10m/zarr.json", "zarr.json"):
        written = json.loads((tmp_path / key).read_text())
        with pytest.warns(UserWarning, match="onsolidated"):
            zarr.consolidate_metadata(tmp_path, path=key.removesuffix("zarr.json").rstrip("/") or None)
        again = json.loads((tmp_path / key).read_text())
        inlined = again["consolidated_metadata"]["metadata"]
        ours = written["consolidated_metadata"]["metadata"]
        assert {k: v for k, v in ours.items() if v["node_type"] == "array"} == {
            k: v for k, v in inlined.items() if v["node_type"] == "array"
        }
        assert set(ours) == set(inlined) - {".downloader"}
        assert written["attributes"] == again["attributes"]


def test_what_is_there_is_not_written_again(tmp_path) -> None:
    plan = one_group(["B2", "B3"])
    store = DiskStore(tmp_path)
    both = GroupLayout.make(plan.groups[0], {"B2": "B2", "B3": "B3"}, MosaicSettings())
    one = GroupLayout.make(one_group(["B2"]).groups[0], {"B2": "B2"}, MosaicSettings())
    assert ensure_hierarchy(store, (one,), {}) is not None
    assert ensure_hierarchy(store, (one,), {}) is None
    before = (tmp_path / "B2/zarr.json").stat().st_mtime_ns
    assert ensure_hierarchy(store, (both,), {}) is not None
    assert (tmp_path / "B2/zarr.json").stat().st_mtime_ns == before
    assert set(zarr.open_group(tmp_path, mode="r").array_keys()) == {
        "B2", "B3", "x", "y", "spatial_ref",
    }  # fmt: skip


def test_an_interrupted_extension_is_finished(tmp_path) -> None:
    store = DiskStore(tmp_path)
    one = GroupLayout.make(one_group(["B2"]).groups[0], {"B2": "B2"}, MosaicSettings())
    both = GroupLayout.make(one_group(["B2", "B3"]).groups[0], {"B2": "B2", "B3": "B3"}, MosaicSettings())
    ensure_hierarchy(store, (one,), {})
    (tmp_path / "B3").mkdir()
    (tmp_path / "B3/zarr.json").write_text("{")
    assert ensure_hierarchy(store, (both,), {}) is not None
    assert zarr.open_array(tmp_path / "B3", mode="r").shape == (600, 700)


def test_a_sheared_grid_has_no_axes() -> None:
    lattice = PixelGrid(Crs("EPSG:32633"), AffineTransform(9.0, 2.0, 5e5, 1.0, -8.0, 4e6), 1000, 1000)
    plan = one_group(["B"], lattice=lattice, window=Window(0, 0, 300, 300))
    names = [name for name, _ in GroupLayout.make(plan.groups[0], {"B": "B"}, MosaicSettings()).documents()]
    assert names == ["spatial_ref", "coverage/tiles", "B"]
