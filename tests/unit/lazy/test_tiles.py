"""Which tiles an index touches, compared with numpy's own indexing of an array that holds each pixel's tile."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.lazy.tiles import TileIndex, box_of
from downloader.mosaic.record.state import bits
from downloader.planning import Tiling

TILING = Tiling(width=70, height=50, slices=7, tile=8, shard=2, shard_slices=3)
INDEX = TileIndex("g", TILING, is_layered=True)
SHAPE = (7, 50, 70)
OF_PIXEL = np.empty(SHAPE, object)
for place in np.ndindex(SHAPE):
    OF_PIXEL[place] = (place[0], place[1] // 8, place[2] // 8)


def named(found: dict) -> set[tuple[int, int, int]]:
    """(slice, row, column) of every tile."""
    return {
        TILING.tile_at((key.slice, key.row, key.column), slot)
        for key, mask in found.items()
        for slot in bits(mask)
    }


def part(length: int) -> st.SearchStrategy:
    numbers = st.integers(0, length - 1)
    signed = st.integers(-length, length - 1)
    slices = st.tuples(numbers, numbers, st.integers(1, 9)).map(
        lambda t: slice(min(t[:2]), max(t[:2]) + 1, t[2])
    )
    return st.one_of(signed, slices, st.lists(signed, min_size=1, max_size=5).map(np.array))


@given(key=st.tuples(*map(part, SHAPE)))
def test_an_outer_index(key) -> None:
    plain = [np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, SHAPE, strict=True)]
    wanted = set(OF_PIXEL[np.ix_(*plain)].ravel().tolist())
    assert named(INDEX.shards_of(product(*INDEX.outer(key)))) == wanted


@given(points=st.lists(st.tuples(*(st.integers(-n, n - 1) for n in SHAPE)), min_size=1, max_size=9))
def test_points(points) -> None:
    key = tuple(np.array(axis) for axis in zip(*points, strict=True))
    assert named(INDEX.shards_of(INDEX.each(key))) == set(OF_PIXEL[key].tolist())
    assert len(INDEX.shards_of(INDEX.each(key))) == len(
        {(s // 3, y // 2, x // 2) for s, y, x in OF_PIXEL[key].tolist()}
    )


@given(
    key=st.tuples(*map(part, SHAPE)), tile=st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 8))
)
def test_pixels_of_a_tile(key, tile) -> None:
    lost = INDEX.shards_of([tile])
    plain = [np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, SHAPE, strict=True)]
    wanted = np.vectorize(lambda place: place == tile, otypes=[bool])(OF_PIXEL[np.ix_(*plain)])
    assert (INDEX.are_in(key, lost, together=False) == wanted).all()


def test_without_a_leading_axis() -> None:
    flat = TileIndex("", Tiling(width=40, height=40, tile=8, shard=2), is_layered=False)
    found = flat.shards_of(product(*flat.outer((slice(0, 9), 39))))
    assert {(k.slice, k.row, k.column): v for k, v in found.items()} == {(0, 0, 2): 0b0101}


@pytest.mark.parametrize(
    ("last", "box", "wanted"),
    [
        ((0, 1), (1, 2), [(2, 3), (3, 4)]),
        ((2, 4), (4, 6), [(6, 7)]),  # to the edge
        ((5, 6), (4, 5), [(3, 4), (2, 3)]),  # backwards
        ((0, 1), (2, 3), []),  # a jump
        ((1, 2), (1, 2), []),  # the same
        ((0, 1), (1, 3), []),  # of another size
        ((6, 7), (0, 1), []),  # from the end to the start
    ],
)
def test_boxes_read_one_after_the_other(last, box, wanted) -> None:
    still = range(1, 3), range(4, 5)
    found = INDEX.next_boxes((range(*last), *still), (range(*box), *still))
    assert found == [(range(*one), *still) for one in wanted]


def test_large_boxes_are_not_fetched_ahead() -> None:
    whole = range(7), range(9)
    assert INDEX.next_boxes((range(1), *whole), (range(1, 2), *whole))
    large = TileIndex("", Tiling(width=900, height=900, slices=7, tile=8, shard=2), is_layered=True)
    whole = range(100), range(100)
    assert not large.next_boxes((range(1), *whole), (range(1, 2), *whole))


def test_a_box_has_no_gaps() -> None:
    assert box_of([np.array([1]), np.array([2, 3]), np.array([0])]) == (range(1, 2), range(2, 4), range(1))
    assert box_of([np.array([1]), np.array([2, 4]), np.array([0])]) is None
    assert box_of([np.array([], int), np.array([2]), np.array([0])]) is None
