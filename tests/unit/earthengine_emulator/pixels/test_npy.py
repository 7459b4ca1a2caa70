"""The header of NPY bodies."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earthengine_emulator.pixels import npy


@given(
    st.lists(st.sampled_from(["<u2", "|u1", "<i4", "<f4", "<f8"]), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_headers_are_those_of_numpys_writer(types, width, height):
    bands = [(f"B{i}", np.dtype(t)) for i, t in enumerate(types)]
    file = io.BytesIO()
    array = np.zeros((height, width), npy.structure(bands))
    np.lib.format.write_array(file, array, version=(1, 0))
    assert npy.header(bands, width, height) + array.tobytes() == file.getvalue()
