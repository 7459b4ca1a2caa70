"""Shapes and whether they meet."""

from __future__ import annotations

import pytest

from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.catalogue import geometry


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("POINT(1 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", True),
        ("POINT(3 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", False),
        ("POINT(1 1)", "POLYGON((0 0, 3 0, 3 3, 0 3, 0 0), (0.5 0.5, 2 0.5, 2 2, 0.5 2, 0.5 0.5))", False),
        ("LINESTRING(-1 1, 3 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", True),
        ("LINESTRING(-1 3, 3 3)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", False),
        ("POLYGON((0 0, 9 0, 9 9, 0 9, 0 0))", "POLYGON((2 2, 3 2, 3 3, 2 2))", True),
        ("POINT(1 1)", "POINT(1 1)", True),
        ("POINT(2 0)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", True),
        ("MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))", "POINT(5.5 5.2)", True),
    ],
)
def test_shapes_meet(one, other, meet):
    shapes = geometry.parse(one), geometry.parse(other)
    assert geometry.intersects(*shapes) == meet
    assert geometry.intersects(*shapes[::-1]) == meet


@pytest.mark.parametrize(
    "text", ["", "{", "POINT", "POINT()", "CIRCLE(1 1)", "{'type': 'Point'}", "__import__('os')"]
)
def test_what_is_no_shape(text):
    with pytest.raises(ApiError):
        geometry.parse(text)
