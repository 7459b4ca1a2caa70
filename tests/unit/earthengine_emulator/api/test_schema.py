"""Checks of request bodies."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthengine_emulator.api import schema
from earthengine_emulator.api.errors import ApiError


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["fileFormat", "bandIds", "grid", "dimensions", "width", "affineTransform", "scaleX"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_body_is_checked_or_refused(body):
    if not isinstance(body, dict):
        return
    with contextlib.suppress(ApiError):
        schema.check(body, schema.GET_PIXELS)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e1", 3, 2.5])
def test_doubles(value):
    assert isinstance(schema.check({"scaleX": value}, {"scaleX": "double"})["scaleX"], float)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.5, "1.5", True, [], float("inf"), float("nan")])
def test_what_is_no_int32(value):
    with pytest.raises(ApiError, match="TYPE_INT32"):
        schema.check({"width": value}, {"width": "int32"})
