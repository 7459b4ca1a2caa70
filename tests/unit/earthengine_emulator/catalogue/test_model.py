"""Metadata as JSON."""

from __future__ import annotations

import pytest

from earthengine_emulator.catalogue.model import PIXEL_TYPES, Lattice, plain


@pytest.mark.parametrize(("kind", "expected"), [("u1", {"max": 255}), ("i1", {"min": -128, "max": 127})])
def test_ranges_leave_zero_out(kind, expected):
    assert PIXEL_TYPES[kind].document() == {"precision": "INT", "range": expected}


def test_zero_members_are_left_out():
    document = Lattice("EPSG:4326", 3, 2, (0.5, 0, 0, 0, -0.25, 7.0)).document()
    assert document["affineTransform"] == {"scaleX": 0.5, "scaleY": -0.25, "translateY": 7}
    assert isinstance(plain(7.0), int)


def test_a_wkt_goes_into_its_own_field():
    assert "crsWkt" in Lattice('PROJCS["x"]', 1, 1, (1, 0, 0, 0, 1, 0)).document()
