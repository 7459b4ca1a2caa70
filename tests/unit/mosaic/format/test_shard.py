"""Shards as bytes, with zarr-python as the oracle."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.model.grid import Window
from downloader.mosaic.format.chunk import ChunkForm
from downloader.mosaic.format.codec import ChunkCodec
from downloader.mosaic.format.header import ShardHeader
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.format.shard import (
    DamagedShardError,
    ShardIndex,
    encode_shard,
    index_bytes,
    merge,
    read_shard,
)
from tests.mosaics import one_group

DTYPES = ["|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8"]
SLOTS = 16
HEADER = ShardHeader("0123456789abcdef" * 2, "10m", "B2", 1, (0, 3, 7), SLOTS)


def bits_of(slots) -> int:
    return sum(1 << slot for slot in slots)


def form_of(codec: ChunkCodec, dtype: str = "<u2") -> ChunkForm:
    return ChunkForm(codec, np.dtype(dtype), np.dtype(dtype).type(0), 16)


def whole(entries) -> bytes:
    return b"".join(bytes(buffer) for buffer in encode_shard(entries, HEADER, bits_of(entries)).buffers)


codecs = st.builds(ChunkCodec, st.sampled_from(["lz4", "zstd", "none"]), st.just(True))


def chunks(
    dtype: str, seed: int, slots: set[int], codec: ChunkCodec
) -> tuple[dict[int, np.ndarray], dict[int, bytes]]:
    random = np.random.default_rng(seed)
    arrays = {}
    for slot in sorted(slots):
        if random.random() < 0.3:
            arrays[slot] = np.zeros((16, 16), dtype)
        else:
            raw = random.integers(0, 256, 16 * 16 * np.dtype(dtype).itemsize, "u1")
            arrays[slot] = raw.view(dtype).reshape(16, 16)
    return arrays, {slot: codec.encode(array) for slot, array in arrays.items()}


@settings(max_examples=30, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    codec=codecs,
    rounds=st.lists(st.sets(st.integers(0, SLOTS - 1), max_size=8), min_size=1, max_size=4),
    size=st.tuples(st.integers(49, 64), st.integers(49, 64)),
    seed=st.integers(0, 2**32 - 1),
)
def test_zarr_reads_what_was_joined_and_topped_up(dtype, codec, rounds, size, seed) -> None:
    height, width = size
    plan = one_group(["B"], dtype=dtype, window=Window(0, 0, width, height), shard=4, tile=16)
    layout = GroupLayout.make(
        plan.groups[0], {"B": "B"}, MosaicSettings(compressor=codec.compressor, nodata={"B": 7})
    )
    document = dict(layout.documents())["B"]
    expected = np.full((64, 64), 7, dtype)
    stored: set[int] = set()
    data: bytes | None = None
    for number, slots in enumerate(rounds):
        arrays, encoded = chunks(dtype, seed + number, slots, codec)
        merged = merge(data, encoded, HEADER, form_of(codec, dtype))
        data = b"".join(bytes(buffer) for buffer in merged.buffers)
        stored |= slots
        assert merged.damaged == 0
        assert merged.nbytes == len(data)
        assert merged.stored == sum(1 << slot for slot in stored)
        _, held = read_shard(data, data, len(data), HEADER)
        assert held == merged.stored
        for slot, array in arrays.items():
            row, column = divmod(slot, 4)
            expected[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = array

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "c/0").mkdir(parents=True)
        (Path(folder) / "zarr.json").write_text(json.dumps(document))
        (Path(folder) / "c/0/0").write_bytes(data or b"")
        array = zarr.open_array(folder, mode="r")
        read = array[:]
    assert read.tobytes() == np.ascontiguousarray(expected[:height, :width]).tobytes()


@settings(max_examples=25, deadline=None)
@given(dtype=st.sampled_from(DTYPES), codec=codecs, seed=st.integers(0, 2**32 - 1))
def test_our_index_reads_what_zarr_wrote(dtype, codec, seed) -> None:
    plan = one_group(["B"], dtype=dtype, window=Window(0, 0, 64, 64), shard=4, tile=16)
    layout = GroupLayout.make(plan.groups[0], {"B": "B"}, MosaicSettings(compressor=codec.compressor))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "zarr.json").write_text(json.dumps(dict(layout.documents())["B"]))
        array = zarr.open_array(folder, mode="r+", config={"write_empty_chunks": True})
        raw = np.random.default_rng(seed).integers(0, 256, 64 * 64 * np.dtype(dtype).itemsize, "u1")
        array[:] = raw.view(dtype).reshape(64, 64)
        data = (Path(folder) / "c/0/0").read_bytes()
    index = ShardIndex.parse(data[-index_bytes(SLOTS) :], SLOTS, len(data))
    assert index.present == 2**SLOTS - 1
    for slot in range(SLOTS):
        row, column = divmod(slot, 4)
        start, end = index.span(slot)
        tile = codec.decode(data[start:end], np.dtype(dtype), (16, 16))
        whole = raw.view(dtype).reshape(64, 64)
        assert tile.tobytes() == whole[row * 16 :, column * 16 :][:16, :16].tobytes()


def test_absent_entries_are_no_entries() -> None:
    data = whole({1: b"", 3: b"abc"})
    index = ShardIndex.parse(data, SLOTS, len(data))
    begin = HEADER.nbytes
    assert index.present == 0b1010
    assert index.span(0) is None
    assert index.span(1) == (begin, begin)
    assert index.span(3) == (begin, begin + 3)


@pytest.mark.parametrize("cut", [1, 10, 259, 261])
def test_a_shard_cut_anywhere_is_damaged_not_empty(cut) -> None:
    codec = ChunkCodec("lz4", checksum=True)
    _, encoded = chunks("<u2", 1, set(range(SLOTS)), codec)
    data = whole(encoded)[:-cut]
    with pytest.raises(DamagedShardError):
        ShardIndex.parse(data[-index_bytes(SLOTS) :], SLOTS, len(data))


@pytest.mark.parametrize("size", [0, 5, index_bytes(SLOTS) - 1])
def test_an_object_shorter_than_its_index_is_damaged(size) -> None:
    with pytest.raises(DamagedShardError, match="fewer than"):
        ShardIndex.parse(b"\0" * size, SLOTS, size)


def test_an_index_that_points_outside_is_damaged() -> None:
    tail = whole({0: b"x" * 100})[-index_bytes(SLOTS) :]
    size = HEADER.nbytes + 100 + len(tail)
    with pytest.raises(DamagedShardError, match="outside"):
        ShardIndex.parse(tail, SLOTS, size - 1)
    assert ShardIndex.parse(tail, SLOTS, size).span(0) == (HEADER.nbytes, HEADER.nbytes + 100)


def test_a_bit_flip_in_a_kept_chunk_drops_that_chunk_alone() -> None:
    codec = ChunkCodec("lz4", checksum=True)
    _, encoded = chunks("<u2", 2, {0, 1, 2}, codec)
    data = bytearray(whole(encoded))
    data[HEADER.nbytes + len(encoded[0]) + 3] ^= 0x10
    merged = merge(bytes(data), {5: encoded[2]}, HEADER, form_of(codec))
    assert merged.stored == 0b100101
    assert merged.damaged == 0b000010


def test_a_damaged_chunk_that_is_replaced_does_not_matter() -> None:
    codec = ChunkCodec("lz4", checksum=True)
    _, encoded = chunks("<u2", 2, {0, 1}, codec)
    data = bytearray(whole(encoded))
    data[HEADER.nbytes + 3] ^= 1
    merged = merge(bytes(data), {0: encoded[0]}, HEADER, form_of(codec))
    assert (merged.stored, merged.damaged) == (0b11, 0)
    assert b"".join(bytes(b) for b in merged.buffers) == whole({1: encoded[1], 0: encoded[0]})


def test_what_is_kept_stays_where_it_was() -> None:
    codec = ChunkCodec("none", checksum=True)
    _, encoded = chunks("<u2", 2, {1, 4, 9}, codec)
    old = whole({4: encoded[4]})
    index = ShardIndex.parse(old, SLOTS, len(old))
    for new in ({1: encoded[1]}, {9: encoded[9]}):
        old = b"".join(map(bytes, merge(old, new, HEADER, form_of(codec)).buffers))
        # A reader who read the index before the object was replaced.
        start, end = index.span(4)
        assert old[start:end] == encoded[4]


def test_a_chunk_that_is_topped_up_moves_no_other_until_there_is_much_to_close_up() -> None:
    """A reader who read the index before finds each chunk as it was then, the replaced one too."""
    header = replace(HEADER, depth=2)
    form = replace(form_of(ChunkCodec("none", checksum=True)), depth=2)
    tiles = {slot: np.full((16, 16), slot + 1, "<u2") for slot in range(16)}
    first = {slot: tile for slot, tile in tiles.items() if slot != 1}
    old = b"".join(map(bytes, merge(None, first, header, form).buffers))
    index, stored = read_shard(old, old, len(old), header)
    assert stored == 2**16 - 1 - 2
    assert index.present == 2**8 - 1
    merged = merge(old, {1: tiles[1]}, header, form)
    now = b"".join(map(bytes, merged.buffers))
    for entry in range(1, 8):
        assert now[slice(*index.span(entry))] == old[slice(*index.span(entry))]
    after, stored = read_shard(now, now, len(now), header)
    assert stored == merged.stored == 2**16 - 1
    np.testing.assert_array_equal(form.decode(now[slice(*after.span(0))])[:, 3, 3], [1, 2])
    assert len(now) > len(old)
    again = merge(now, {3: tiles[4]}, header, form)
    assert again.nbytes == len(old), "what no longer counts is gone"
    closed = b"".join(map(bytes, again.buffers))
    last, _ = read_shard(closed, closed, len(closed), header)
    np.testing.assert_array_equal(form.decode(closed[slice(*last.span(1))])[:, 3, 3], [3, 5])


def test_an_object_without_a_right_index_keeps_nothing() -> None:
    codec = ChunkCodec("lz4", checksum=True)
    _, encoded = chunks("<u2", 2, {0, 1}, codec)
    data = bytearray(whole(encoded))
    data[-5] ^= 1
    assert merge(bytes(data), {4: encoded[0]}, HEADER, form_of(codec)).stored == 1 << 4


OTHERS = {
    "mosaic": replace(HEADER, mosaic="f" * 32),
    "group": replace(HEADER, group="20m"),
    "band": replace(HEADER, band="B3"),
    "level": replace(HEADER, level=2),
    "place": replace(HEADER, shard=(0, 3, 8)),
    "slice": replace(HEADER, shard=(1, 3, 7)),
}


@pytest.mark.parametrize("other", OTHERS)
def test_an_object_of_another_place_or_mosaic_keeps_nothing(other) -> None:
    codec = ChunkCodec("lz4", checksum=True)
    _, encoded = chunks("<u2", 2, {0, 1}, codec)
    data = b"".join(bytes(b) for b in encode_shard(encoded, OTHERS[other], 0b11).buffers)
    with pytest.raises(DamagedShardError, match=r"is that of|another mosaic"):
        read_shard(data, data, len(data), HEADER)
    assert merge(data, {4: encoded[0]}, HEADER, form_of(codec)).stored == 1 << 4


def test_the_header_says_what_is_stored_not_the_entries() -> None:
    made = encode_shard({0: b"abcdef", 1: b"ghijkl"}, HEADER, 0b11)
    data = HEADER.with_stored(0b10).to_bytes() + b"".join(bytes(b) for b in made.buffers[1:])
    index, stored = read_shard(data, data, len(data), HEADER)
    assert index.present == 0b11
    assert stored == 0b10


def test_a_damaged_chunk_does_not_decode() -> None:
    for codec in (ChunkCodec("lz4", checksum=True), ChunkCodec("none", checksum=True)):
        data = bytearray(codec.encode(np.zeros((16, 16), "<u2")))
        data[4] ^= 1
        with pytest.raises(ValueError, match="checksum"):
            codec.decode(bytes(data), np.dtype("<u2"), (16, 16))
    for name in ("lz4", "zstd", "none"):
        bare = ChunkCodec(name, checksum=False)
        data = bare.encode(np.arange(256, dtype="<u2").reshape(16, 16))
        with pytest.raises(ValueError, match=r"decompress|size|cannot reshape"):
            bare.decode(data[: len(data) // 2 // 2 * 2], np.dtype("<u2"), (16, 16))
