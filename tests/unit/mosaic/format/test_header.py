"""The header of a shard's object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.mosaic.format.header import ShardHeader

names = st.text(st.characters(codec="utf-8"), max_size=60)


@st.composite
def headers(draw: st.DrawFn) -> ShardHeader:
    cells = draw(st.integers(1, 200))
    number = st.integers(0, 2**32 - 1)
    shard = draw(st.tuples(number, number, number))
    mosaic = draw(st.binary(min_size=16, max_size=16)).hex()
    stored = draw(st.integers(0, 2**cells - 1))
    return ShardHeader(mosaic, draw(names), draw(names), draw(st.integers(1, 2**20)), shard, cells, stored)


@given(headers(), st.binary(max_size=40))
def test_a_header_comes_back_as_it_was(header, rest) -> None:
    data = header.to_bytes()
    assert len(data) == header.nbytes
    assert ShardHeader.parse(data + rest) == header
    assert header.with_stored(0).read_stored(data + rest) == header.stored


@given(headers(), st.data())
def test_a_header_that_was_changed_anywhere_is_refused(header, draw) -> None:
    data = bytearray(header.to_bytes())
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match=r"header|another"):
        header.read_stored(bytes(data))


@given(headers(), st.data())
def test_a_header_that_was_cut_is_refused(header, draw) -> None:
    data = header.to_bytes()
    with pytest.raises(ValueError, match="header"):
        ShardHeader.parse(data[: draw.draw(st.integers(0, len(data) - 1))])
