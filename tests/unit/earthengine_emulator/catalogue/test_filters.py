"""Filters of listings."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.catalogue import filters


@given(st.text(alphabet='abAND OR NOT()<>=!"\\.:019-', max_size=40))
def test_any_filter_is_parsed_or_refused(text):
    with contextlib.suppress(ApiError):
        filters.parse(text)
