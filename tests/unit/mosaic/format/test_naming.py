"""Names of arrays."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.mosaic.format.naming import RESERVED, array_names, is_safe


@pytest.mark.parametrize(
    ("band", "name"),
    [
        ("B2", "B2"),
        ("B8A", "B8A"),
        ("sur_refl_b01", "sur_refl_b01"),
        ("_mask", "_mask"),
        ("NO", "NO"),
        ("x", "x_"),
        ("y", "y_"),
        ("time", "time_"),
        ("spatial_ref", "spatial_ref_"),
        ("coverage", "coverage_"),
        ("Coverage", "Coverage_"),
        ("zarr.json", "zarr.json_"),
        ("a/b", "a_b_"),
        ("..", "band_"),
        ("___", "band_"),
        ("_", "_"),
        ("../../etc", "etc_"),
        (".hidden", "hidden_"),
        ("__secret", "secret_"),
        ("B#1", "B_1_"),
        ("größe", "größe"),
        ("gro\u0308ße", "größe"),
        ("作物", "作物"),
        ("फसल", "फसल"),
        ("gr / ße", "gr___ße_"),
        ("ä" * 100, "ä" * 60 + "_"),
        ("", "band_"),
    ],
)
def test_a_name_is_kept_where_it_is_safe(band, name) -> None:
    assert array_names([band]) == {band: name}


def test_names_that_clash_differ_and_true_names_win() -> None:
    assert array_names(["x", "x_", "x__"]) == {"x": "x___", "x_": "x_", "x__": "x__"}
    assert array_names(["b1", "B1"]) == {"b1": "b1", "B1": "B1_"}


def test_names_given_before_stay() -> None:
    known = array_names(["x"])
    assert array_names(["x", "x_"], known) == {"x": "x_", "x_": "x__"}


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_names_are_safe_and_different(bands) -> None:
    names = array_names(bands)
    assert set(names) == set(bands)
    assert len({name.casefold() for name in names.values()}) == len(bands)
    for name in names.values():
        assert not re.search(r"^(\.|__)|[\s/\\\x00-\x2c:*?\"<>|]", name)
        assert 0 < len(name.encode()) <= 130
        assert is_safe(name)
        assert name not in RESERVED
