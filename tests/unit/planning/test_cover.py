"""Covers: every pixel of every window is in them, and the tiles between the windows are not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.model.grid import Window
from downloader.planning.cover import clipped, cover_of, tiles_of

WINDOWS = st.lists(
    st.builds(Window, *[st.integers(-600, 3000)] * 2, *[st.integers(1, 1500)] * 2), min_size=1, max_size=40
)
WHOLE = Window(-1024, -1024, 6144, 6144)


def painted(windows, tile=1):
    """Which tiles of `WHOLE` windows touch."""
    found = np.zeros((WHOLE.height // tile, WHOLE.width // tile), bool)
    for window in windows:
        w = window.aligned(tile)
        rows = slice((w.row - WHOLE.row) // tile, (w.row_end - WHOLE.row) // tile)
        found[rows, (w.column - WHOLE.column) // tile : (w.column_end - WHOLE.column) // tile] = True
    return found


@settings(max_examples=25)
@given(WINDOWS)
def test_a_cover_holds_all_windows_and_no_further_tile(windows):
    cover = cover_of(windows)
    assert len(cover) <= 32
    wanted, found = painted(windows, 256), painted(cover, 256)
    assert not (painted(windows) & ~painted(cover)).any()
    if len(windows) <= 32:
        np.testing.assert_array_equal(found, wanted)
    assert tiles_of(cover, 256) == found.sum()
    assert tiles_of(windows, 64) == painted(windows, 64).sum()


def test_one_window_says_what_several_of_the_same_tiles_are():
    assert cover_of([Window(0, 0, 300, 300), Window(5, 5, 300, 290)]) == (Window(0, 0, 305, 300),)
    assert cover_of([Window(0, 0, 256, 256), Window(256, 0, 256, 256)]) == (Window(0, 0, 512, 256),)
    corner = [Window(0, 0, 512, 256), Window(0, 256, 256, 256)]
    assert cover_of(corner) == tuple(corner)
    assert cover_of([]) == ()
    assert tiles_of([], 256) == 0


def test_more_windows_than_a_cover_has_become_their_hull():
    many = [Window(600 * k, 600 * k, 256, 256) for k in range(33)]
    assert cover_of(many) == (Window(0, 0, 600 * 32 + 256, 600 * 32 + 256),)


def test_a_clipped_cover_counts_from_the_windows_corner():
    cover = (Window(0, 0, 100, 100), Window(300, 0, 100, 100))
    assert clipped(cover, Window(50, 10, 200, 200)) == (Window(0, 0, 50, 90),)
    assert clipped(cover, Window(120, 0, 50, 50)) == ()
