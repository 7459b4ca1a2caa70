"""Four pixels to one, held against a slow and plain reading of the rules."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from downloader.mosaic.overviews.downsample import POLICIES, halve

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def plainly(values: list, policy: str, dtype: np.dtype):
    """One pixel of those that hold data, in reading order."""
    if policy == "MEAN":
        if dtype.kind == "f":
            return dtype.type(sum(map(float, values)) / len(values))
        return floor(Fraction(sum(map(int, values)), len(values)) + Fraction(1, 2))
    if policy == "MODE":
        counts = Counter(values)
        return next(v for v in values if counts[v] == max(counts.values()))
    if policy == "MEDIAN":
        return sorted(values)[(len(values) - 1) // 2]
    return {"MIN": min, "MAX": max, "SAMPLE": lambda v: v[0]}[policy](values)


@st.composite
def blocks(draw):
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    shape = (2 * draw(st.integers(1, 3)), 2 * draw(st.integers(1, 3)))
    if dtype.kind == "f":
        elements = st.floats(-1000, 1000, width=16)
    else:
        limits = np.iinfo(dtype)
        elements = st.integers(limits.min, limits.max) | st.sampled_from([limits.min, limits.max, 0, 1])
    pixels = draw(hnp.arrays(dtype, shape, elements=elements))
    valid = draw(st.none() | hnp.arrays(np.bool_, shape))
    return pixels, valid


@pytest.mark.parametrize("policy", POLICIES)
@given(block=blocks())
def test_every_policy(policy, block) -> None:
    pixels, valid = block
    found = halve(pixels, valid, policy, 7)
    assert found.dtype == pixels.dtype
    assert found.shape == (pixels.shape[0] // 2, pixels.shape[1] // 2)
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            places = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
            if policy == "SAMPLE":
                places = places[:1]
            seen = [pixels[place] for place in places if valid is None or valid[place]]
            assert found[row, column] == (plainly(seen, policy, pixels.dtype) if seen else 7)


def test_the_largest_numbers_have_a_mean() -> None:
    for dtype in ("i8", "u8"):
        most = np.iinfo(dtype).max
        assert halve(np.full((2, 2), most, dtype), None, "MEAN", 0)[0, 0] == most
        assert halve(np.array([[most, most - 1], [most, most]], dtype), None, "MEAN", 0)[0, 0] == most
    least = np.iinfo("i8").min
    assert halve(np.full((2, 2), least, "i8"), None, "MEAN", 0)[0, 0] == least


def test_the_pixels_stay_as_they_are() -> None:
    pixels = np.arange(16, dtype="u2").reshape(4, 4)
    for policy in POLICIES:
        found = halve(pixels, None, policy, 0)
        found[:] = 99
        assert pixels[0, 0] == 0
