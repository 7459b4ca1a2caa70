"""The affine formula, exact against rational arithmetic; windows; one grid covered by another."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import EDGE_TOLERANCE, AffineTransform, PixelGrid, Window

UTM = Crs(code="EPSG:32610")

scales = st.one_of(
    st.sampled_from(
        [10.0, -10.0, 60.0, 0.1, -1 / 3, 2.777777777777778e-4, 463.3127165279165, 8.983152841195215e-05]
    ),
    st.floats(1e-9, 1e6),
    st.floats(-1e6, -1e-9),
)
shears = st.one_of(st.just(0.0), st.floats(-1e3, 1e3))
origins = st.one_of(st.sampled_from([0.0, 499980.0, -180.0, 1e9 + 0.1]), st.floats(-1e8, 1e8))
offsets = st.integers(-(10**12), 10**12)


@st.composite
def transforms(draw: st.DrawFn) -> AffineTransform:
    numbers = [draw(s) for s in (scales, shears, origins, shears, scales, origins)]
    assume(Fraction(numbers[0]) * Fraction(numbers[4]) != Fraction(numbers[1]) * Fraction(numbers[3]))
    return AffineTransform(*numbers)


def nearest(exact: Fraction, got: float) -> bool:
    """Whether no other float64 is nearer: `got` is correct to its last bit."""
    error = abs(Fraction(got) - exact)
    return all(error <= abs(Fraction(math.nextafter(got, to)) - exact) for to in (-math.inf, math.inf))


@given(transforms(), offsets, offsets)
def test_origins_are_exact_to_the_last_bit(t: AffineTransform, column: int, row: int) -> None:
    shifted = t.shifted(column, row)
    x = Fraction(t.translate_x) + column * Fraction(t.scale_x) + row * Fraction(t.shear_x)
    y = Fraction(t.translate_y) + column * Fraction(t.shear_y) + row * Fraction(t.scale_y)
    assert nearest(x, shifted.translate_x)
    assert nearest(y, shifted.translate_y)
    assert (shifted.scale_x, shifted.shear_x, shifted.shear_y, shifted.scale_y) == (
        t.scale_x,
        t.shear_x,
        t.shear_y,
        t.scale_y,
    )


def test_floats_alone_would_miss_the_last_bit() -> None:
    """Why the arithmetic is rational: the obvious float formula is off for real grids."""
    t = AffineTransform(463.3127165279165, 0.0, -8895604.157333, 0.0, -463.3127165279167, 3335851.559)
    missed = sum(t.translate_x + t.scale_x * column != t.at(column, 0)[0] for column in range(1, 100_000, 97))
    assert missed > 100


@given(transforms(), offsets, offsets)
def test_locate_is_the_exact_inverse(t: AffineTransform, column: int, row: int) -> None:
    assert t.locate(*t.exact(column, row)) == (column, row)


@given(transforms(), st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_windows_that_touch_in_pixels_touch_exactly(
    t: AffineTransform, column: int, row: int, width: int
) -> None:
    """The right neighbour's origin is the very float that this window's right edge is, for any neighbour below."""
    grid = PixelGrid(UTM, t, 10, 10)
    left = grid.window(Window(column, row, width, 1))
    right = grid.window(Window(column + width, row, 1, 1))
    below = grid.window(Window(column, row + 7, width, 1))
    assert right.transform.at(0, 0) == t.at(column + width, row)
    assert below.transform.at(0, 0) == t.at(column, row + 7)
    assert left.transform.at(0, 0) == t.at(column, row)


@given(transforms(), st.lists(st.tuples(offsets, offsets), min_size=2, max_size=6))
def test_offsets_count_from_the_images_own_origin(t: AffineTransform, steps: list[tuple[int, int]]) -> None:
    """However many windows lie between, nothing accumulates: only the sum of the integers counts."""
    grid = PixelGrid(UTM, t, 10**6, 10**6)
    window = Window(0, 0, 3, 3)
    for columns, rows in steps:
        window = window.offset(columns, rows)
    assert grid.window(window).transform == t.shifted(sum(c for c, _ in steps), sum(r for _, r in steps))


@given(transforms())
def test_json_is_complete_and_read_back_equal(t: AffineTransform) -> None:
    document = json.loads(json.dumps(t.to_json()))
    assert set(document) == {"scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY"}
    assert AffineTransform.from_json(document) == t


def test_json_members_at_zero_may_be_absent_null_or_integers() -> None:
    """The API leaves out what is zero (docs/contract.md §3.1), and null counts as absent."""
    t = AffineTransform.from_json({"scaleX": 10, "scaleY": -10, "shearX": None, "translateX": 499980})
    assert t == AffineTransform(10.0, 0.0, 499980.0, 0.0, -10.0, 0.0)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"scaleX": 10},
        {"scaleX": 1, "scaleY": 1, "shearX": 1, "shearY": 1},
        {"scaleX": "NaN", "scaleY": 1},
        {"scaleX": "Infinity", "scaleY": 1},
        {"scaleX": "ten", "scaleY": 1},
        {"scaleX": [1], "scaleY": 1},
        {"scaleX": 10**400, "scaleY": 1},
    ],
)
def test_transforms_that_place_nothing_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(JobError, match="affine transform"):
        AffineTransform.from_json(document)


def test_tiny_pixels_are_no_degenerate_pixels() -> None:
    """The determinant is exact: the product of two small scales must not underflow to zero."""
    t = AffineTransform(1e-200, 0.0, 0.0, 0.0, -1e-200, 0.0)
    assert t.locate(*t.exact(3, 4)) == (3, 4)


def test_gdal_order() -> None:
    assert AffineTransform(1.0, 2.0, 3.0, 4.0, 5.0, 6.0).to_gdal() == (3.0, 1.0, 2.0, 6.0, 4.0, 5.0)


def test_pixel_size_and_shear() -> None:
    assert AffineTransform(10.0, 0.0, 0.0, 0.0, -20.0, 0.0).pixel_size == (10.0, 20.0)
    rotated = AffineTransform(3.0, -4.0, 0.0, 4.0, 3.0, 0.0)
    assert rotated.pixel_size == (5.0, 5.0)
    assert rotated.is_sheared
    assert not AffineTransform(10.0, 0.0, 0.0, 0.0, -20.0, 0.0).is_sheared


# Windows ---------------------------------------------------------------------------------------------------

small = st.integers(-12, 12)
windows = st.builds(Window, small, small, st.integers(1, 9), st.integers(1, 9))


def cells(window: Window | None) -> set[tuple[int, int]]:
    if window is None:
        return set()
    return {
        (c, r)
        for c in range(window.column, window.column + window.width)
        for r in range(window.row, window.row + window.height)
    }


@given(windows, windows)
def test_clip_and_contains_are_set_operations(a: Window, b: Window) -> None:
    assert cells(a.clip(b)) == cells(a) & cells(b)
    assert a.contains(b) == (cells(b) <= cells(a))
    assert a.pixels == len(cells(a))


@given(windows, st.integers(1, 8))
def test_aligned_is_the_smallest_around(window: Window, step: int) -> None:
    aligned = window.aligned(step)
    assert cells(window) <= cells(aligned)
    edges = (aligned.column, aligned.row, aligned.column_end, aligned.row_end)
    assert all(edge % step == 0 for edge in edges)
    assert aligned.column > window.column - step
    assert aligned.row > window.row - step
    assert aligned.column_end < window.column_end + step
    assert aligned.row_end < window.row_end + step


def test_window_slices_are_rows_then_columns() -> None:
    window = Window(column=2, row=5, width=3, height=4)
    assert window.shape == (4, 3)
    assert window.slices == (slice(5, 9), slice(2, 5))
    assert str(window) == "columns 2…4, rows 5…8"


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-1, 5)])
def test_empty_windows_and_grids_do_not_exist(size: tuple[int, int]) -> None:
    with pytest.raises(JobError, match="at least one pixel"):
        Window(0, 0, *size)
    with pytest.raises(JobError, match="at least one pixel"):
        PixelGrid(UTM, AffineTransform(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), *size)


# Grids -----------------------------------------------------------------------------------------------------


def test_the_wire_form_of_a_grid_leaves_nothing_to_be_inherited() -> None:
    grid = PixelGrid(UTM, AffineTransform(10.0, 0.0, 499980.0, 0.0, -10.0, 4200000.0), 10980, 10980)
    assert grid.window(Window(256, 512, 256, 128)).to_json() == {
        "crsCode": "EPSG:32610",
        "affineTransform": {
            "scaleX": 10.0, "shearX": 0.0, "translateX": 502540.0,
            "shearY": 0.0, "scaleY": -10.0, "translateY": 4194880.0,
        },
        "dimensions": {"width": 256, "height": 128},
    }  # fmt: skip
    assert str(grid) == "10980×10980 pixels of 10 m, EPSG:32610"


@given(transforms(), transforms(), windows)
def test_cover_takes_every_pixel_that_is_overlapped(
    a: AffineTransform, b: AffineTransform, window: Window
) -> None:
    """Against the corners' exact places: no corner lies more than the tolerance outside, no edge is too far."""
    mine, other = PixelGrid(UTM, a, 1, 1), PixelGrid(UTM, b, 1, 1)
    covered = mine.cover(window, other)
    corners = [
        a.locate(*b.exact(c, r))
        for c in (window.column, window.column_end)
        for r in (window.row, window.row_end)
    ]
    for axis, first, behind in ((0, covered.column, covered.column_end), (1, covered.row, covered.row_end)):
        low, high = min(c[axis] for c in corners), max(c[axis] for c in corners)
        assert first <= low + EDGE_TOLERANCE < first + 1
        assert high - EDGE_TOLERANCE <= behind
        assert behind == first + 1 or behind - 1 < high - EDGE_TOLERANCE


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (20.0, Window(2, 0, 1, 1)),
        (19.9999999, Window(2, 0, 1, 1)),  # a hundred-millionth of a pixel over the edge is rounding
        (19.9999, Window(1, 0, 2, 1)),  # a hundred-thousandth is meant
        (20.0001, Window(2, 0, 2, 1)),
    ],
)
def test_cover_forgives_a_millionth_of_a_pixel(origin: float, expected: Window) -> None:
    grid = PixelGrid(UTM, AffineTransform(10.0, 0.0, 0.0, 0.0, 10.0, 0.0), 100, 100)
    other = PixelGrid(UTM, AffineTransform(10.0, 0.0, origin, 0.0, 10.0, 0.0), 1, 1)
    assert grid.cover(Window(0, 0, 1, 1), other) == expected


def test_coarser_groups_take_every_pixel_a_fine_window_touches() -> None:
    fine = PixelGrid(UTM, AffineTransform(10.0, 0.0, 499980.0, 0.0, -10.0, 4200000.0), 10980, 10980)
    coarse = PixelGrid(UTM, AffineTransform(60.0, 0.0, 499980.0, 0.0, -60.0, 4200000.0), 1830, 1830)
    assert coarse.cover(Window(5, 6, 2, 6), fine) == Window(0, 1, 2, 1)


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("number", [1e308, -1e300, 1e31])
def test_numbers_that_sums_cannot_be_made_with_are_refused(position: int, number: float) -> None:
    numbers = [10.0, 0.0, 0.0, 0.0, -10.0, 0.0]
    numbers[position] = number
    with pytest.raises(JobError, match="numbers below 1e"):
        AffineTransform(*numbers)
