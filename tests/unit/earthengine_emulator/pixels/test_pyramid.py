"""Pyramids and the level that a grid reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Lattice
from earthengine_emulator.data import built_in
from earthengine_emulator.pixels import pyramid, sampling
from earthengine_emulator.pixels.pyramid import Pyramids
from tests import oracle

BUILT_IN = built_in.catalogue()
NATIVE = Lattice("EPSG:32610", 100, 80, (10, 0, 500000, 0, -10, 4200000))


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(["MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_reduce_agrees_with_a_loop(half_width, half_height, policy, masked, random):
    half_width, half_height = min(half_width, 6), min(half_height, 6)
    seed = np.random.default_rng(random.randrange(2**32))
    values = seed.integers(-5, 6, (2 * half_height, 2 * half_width)).astype("i2")
    valid = seed.random(values.shape) < 0.6 if masked else None
    got, mask = pyramid.reduce(values, valid, policy)
    for r in range(half_height):
        for c in range(half_width):
            cells = [(2 * r, 2 * c), (2 * r, 2 * c + 1), (2 * r + 1, 2 * c), (2 * r + 1, 2 * c + 1)]
            kept = [int(values[cell]) for cell in cells if valid is None or valid[cell]]
            if policy == "SAMPLE":
                kept = kept if valid is None or valid[cells[0]] else []
            assert (mask is None or bool(mask[r, c])) == bool(kept)
            if kept:
                assert got[r, c] == {
                    "MEAN": lambda k: int(np.floor(sum(k) / len(k) + 0.5)),
                    "SAMPLE": lambda k: k[0],
                    "MIN": min,
                    "MAX": max,
                    "MEDIAN": lambda k: sorted(k)[(len(k) - 1) // 2],
                    "MODE": lambda k: max(k, key=lambda v: (k.count(v), -k.index(v))),
                }[policy](kept)


def test_levels_end_at_one_tile():
    sides = {256: 0, 257: 1, 512: 1, 1830: 3, 5490: 5, 10980: 6}
    for side, level in sides.items():
        band = Band("b", PIXEL_TYPES["u2"], Lattice("EPSG:32610", side, 1, (1, 0, 0, 0, 1, 0)))
        assert pyramid.levels(band) == level


@pytest.mark.parametrize(
    ("scale", "level"), [(5, 0), (10, 0), (19.9, 0), (20, 1), (39, 1), (40, 2), (1e6, 6)]
)
def test_levels_by_scale(scale, level):
    image = BUILT_IN.get(oracle.QUICKSTART)
    grid = Lattice("EPSG:32610", 10, 10, (scale, 0, 499980, 0, -scale, 4200000))
    assert sampling.place(image, 1, grid).level == level


def test_blocks_are_forgotten_when_they_are_too_many():
    image = BUILT_IN.get(oracle.QUICKSTART)
    small = Pyramids(kept_bytes=300_000)
    whole = Pyramids()
    for place in (0, 700, 0):
        one, _ = small.read(image, 1, 2, place, place, 600, 600)
        other, _ = whole.read(image, 1, 2, place, place, 600, 600)
        np.testing.assert_array_equal(one, other)
    small.clear()
