"""The hash of the formula."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from earthengine_emulator.data.noise import mix
from tests import oracle


@given(st.integers(0, 2**32 - 1))
def test_the_hash_is_the_documented_one(x):
    assert mix(x) == oracle.mix(x)
