"""Arrays of samples with steps, read as one run of chips."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from downloader.mosaic.flat import flat


@pytest.fixture
def values():
    return np.arange(5 * 3 * 4 * 2).reshape(5, 3, 4, 2)


@pytest.fixture
def array(values):
    made = zarr.create_array(
        {}, shape=values.shape, chunks=(2, 3, 4, 2), dtype="i8", dimension_names=("sample", "step", "y", "x")
    )
    made[...] = values
    return made


def test_runs_and_single_chips(array, values):
    chips = values.reshape(15, 4, 2)
    found = flat(array)
    assert (found.shape, found.ndim, found.chunks) == ((15, 4, 2), 3, (6, 4, 2))
    assert found.dtype == np.dtype("i8"), "all else is the array's own"
    np.testing.assert_array_equal(found[...], chips)
    for first in range(15):
        np.testing.assert_array_equal(found[first], chips[first])
        np.testing.assert_array_equal(found[first, 1:3, 0], chips[first, 1:3, 0])
        for last in (first, first + 1, first + 7, 99):
            np.testing.assert_array_equal(found[first:last], chips[first:last])
    np.testing.assert_array_equal(found[4:9, ::2, 1:], chips[4:9, ::2, 1:])


def test_other_arrays_stay_as_they_are():
    series = zarr.create_array({}, shape=(3, 4, 2), dtype="i8", dimension_names=("time", "y", "x"))
    assert flat(series) is series
