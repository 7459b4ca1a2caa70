"""Arrays along the time axis: described and stored as zarr-python does it, and longer without a word to old readers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import zarr
import zarr.codecs
from hypothesis import given
from hypothesis import strategies as st

from downloader.mosaic.format.axis import CHUNK, AxisArray, AxisProperty, axis_arrays, kind_of
from downloader.mosaic.format.codec import ChunkCodec
from downloader.planning import Slice

ARRAYS = {
    "int64": AxisArray("a", "int64", (-5, 2**60, 0), {"units": "microseconds since 1970-01-01"}),
    "float64": AxisArray("a", "float64", (0.5, math.nan, -math.inf)),
    "string": AxisArray("a", "string", ("COPERNICUS/S2/x", "", "Größe 🌍")),
}


def stored(path, array: AxisArray, *, checksum: bool) -> zarr.Array:
    (path / array.name).mkdir(parents=True, exist_ok=True)
    document = array.document("time", ChunkCodec("lz4", checksum))
    (path / array.name / "zarr.json").write_text(json.dumps(document))
    for key, data in array.chunks("", ChunkCodec("lz4", checksum)):
        (path / key).parent.mkdir(exist_ok=True)
        (path / key).write_bytes(data)
    return zarr.open_array(path / array.name, mode="r")


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_is_described_as_zarr_python_describes_it(tmp_path, kind, checksum) -> None:
    array = ARRAYS[kind]
    zarr.create_array(
        tmp_path / "b",
        shape=(3,),
        dtype=kind,
        chunks=(CHUNK,),
        dimension_names=["time"],
        attributes=dict(array.attributes),
        compressors=[zarr.codecs.Crc32cCodec()] if checksum else None,
        fill_value=math.nan if kind == "float64" else None,
    )
    written = json.loads((tmp_path / "b/zarr.json").read_text())
    assert json.loads(json.dumps(array.document("time", ChunkCodec("lz4", checksum)))) == written


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("kind", ARRAYS)
def test_zarr_python_reads_what_is_written(tmp_path, kind, checksum) -> None:
    values = stored(tmp_path, ARRAYS[kind], checksum=checksum)[:]
    np.testing.assert_array_equal(values, np.array(ARRAYS[kind].values, values.dtype))


@given(
    values=st.lists(st.text(max_size=5), min_size=1, max_size=6),
    more=st.lists(st.text(max_size=5), max_size=6),
)
def test_a_longer_array_reads_the_same_under_the_shorter_metadata(tmp_path_factory, values, more) -> None:
    """What a reader sees between the chunk's replacement and the metadata's."""
    path = tmp_path_factory.mktemp("m")
    short = AxisArray("a", "string", tuple(values))
    reader = stored(path, short, checksum=True)
    long = AxisArray("a", "string", (*values, *more))
    for key, data in long.chunks("", ChunkCodec("lz4", checksum=True)):
        (path / key).write_bytes(data)
    assert reader[:].tolist() == values


def test_values_beyond_a_chunk_lie_in_the_next(tmp_path) -> None:
    array = AxisArray("a", "int64", tuple(range(CHUNK + 3)))
    keys = [key for key, _ in array.chunks("10m/", ChunkCodec("lz4", checksum=True))]
    assert keys == ["10m/a/c/0", "10m/a/c/1"]
    assert stored(tmp_path, array, checksum=True)[:].tolist() == list(range(CHUNK + 3))


def test_time_id_and_properties() -> None:
    slices = [
        Slice("b", time_us=5, properties={"CLOUDY": 3, "MODE": "A", "FLAGS": [1, 2]}),
        Slice("a", time_us=None, properties={"CLOUDY": None, "MODE": None, "FLAGS": True}),
    ]
    kept = (
        AxisProperty("CLOUDY", "CLOUDY", "float64"),
        AxisProperty("MODE", "MODE", "string"),
        AxisProperty("FLAGS", "FLAGS_", "string"),
    )
    time, image_id, cloudy, mode, flags = axis_arrays(slices, kept)
    assert time.values == (5, -(2**63))
    assert time.attributes["_FillValue"] == -(2**63)
    assert image_id.values == ("b", "a")
    assert cloudy.values[0] == 3.0
    assert math.isnan(cloudy.values[1])
    assert mode.values == ("A", "")
    assert (flags.name, flags.values) == ("FLAGS_", ("[1, 2]", "true"))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5], "float64"),
        ([1, None], "float64"),
        ([1, "x"], "string"),
        ([True, False], "string"),
        ([None, None], "string"),
        ([], "string"),
    ],
)
def test_numbers_alone_make_floats(values, kind) -> None:
    assert kind_of(values) == kind
