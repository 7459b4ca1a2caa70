"""Memory that is used again, and never while anybody still looks into it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from downloader.earthengine.buffers import Buffers

MIB = 2**20


def idle_bytes(buffers):
    return sum(buffer.size for buffer in buffers._idle)


def address(view: memoryview) -> int:
    return np.frombuffer(view, np.uint8).ctypes.data


def test_memory_comes_back_when_the_last_view_goes() -> None:
    buffers = Buffers()
    first = buffers.take(MIB)
    where = address(first)
    pixels = np.frombuffer(first[128:], "<u2").reshape(16, -1)[3:]
    del first
    assert idle_bytes(buffers) == 0
    other = buffers.take(MIB)
    assert address(other) != where
    del pixels
    assert address(buffers.take(MIB)) == where


def test_a_little_less_is_taken_from_the_same_memory_much_less_not() -> None:
    buffers = Buffers()
    where = address(buffers.take(4 * MIB))
    smaller = buffers.take(3 * MIB)
    assert (address(smaller), len(smaller)) == (where, 3 * MIB)
    del smaller
    buffers.take(MIB)
    assert idle_bytes(buffers) == MIB


def test_small_answers_are_left_to_the_allocator() -> None:
    buffers = Buffers()
    assert len(buffers.take(100)) == 100
    assert idle_bytes(buffers) == 0


@given(st.lists(st.integers(2**18, 2**21), min_size=1, max_size=30), st.randoms())
def test_no_two_views_share_memory_and_idle_memory_is_bounded(lengths: list[int], rng) -> None:
    buffers, held, most = Buffers(), [], 0
    for number, length in enumerate(lengths):
        view = buffers.take(length)
        view[:] = bytes([number]) * length
        held.append((number, view))
        most = max(most, sum(len(v) for _, v in held))
        if rng.random() < 0.5:
            held.pop(rng.randrange(len(held)))
        for k, v in held:
            assert v[0] == v[-1] == k
        del view
        assert idle_bytes(buffers) <= 2 * most
