"""The land against the oracle: any window, any set of bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthengine_emulator.data import built_in
from tests import oracle

BUILT_IN = built_in.catalogue()


@pytest.mark.parametrize(
    "name", [oracle.QUICKSTART, oracle.QUICKSTART_B, f"{oracle.PUBLIC}EMULATOR/SINUSOIDAL"]
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_window_is_the_formulas(name, data):
    image = BUILT_IN.get(name)
    band = data.draw(st.integers(0, len(image.bands) - 1))
    lattice = image.bands[band].lattice
    column = data.draw(st.integers(0, lattice.width - 1))
    row = data.draw(st.integers(0, lattice.height - 1))
    width = data.draw(st.integers(1, min(100, lattice.width - column)))
    height = data.draw(st.integers(1, min(100, lattice.height - row)))
    values, valid = image.source.read(band, column, row, width, height)
    where = (name, image.bands[band].id, column, row, width, height)
    expected = oracle.oracle_valid(*where)
    assert (np.ones_like(expected) if valid is None else valid).tolist() == expected.tolist()
    np.testing.assert_array_equal(values[expected], oracle.oracle_window(*where)[expected])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10700),
    st.integers(0, 10700),
    st.integers(1, 200),
    st.integers(1, 200),
    st.permutations([1, 2, 3, 7]),
)
def test_interleaved_bands_are_the_bands(column, row, width, height, bands):
    land = BUILT_IN.get(oracle.QUICKSTART).source
    out = np.empty((height, width * 4), "<u2")
    land.prepare(tuple(bands), column, row, width, height).write(0, out)
    for i, band in enumerate(bands):
        single, _ = land.read(band, column, row, width, height)
        np.testing.assert_array_equal(out[:, i::4], single)
