"""Coverage of many images in one answer, against numpy."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.expressions.coverage_stack import coverage_bands, coverage_expression
from downloader.expressions.masks import MaskRule
from downloader.expressions.recipe import Recipe
from earthengine_emulator.catalogue.model import Lattice
from tests.inputs import input_image
from tests.unit.expressions.emulated import CRS, compute
from tests.unit.expressions.test_composite import PARTNER, SHAPE, band, holed, scenes

AROUND = Lattice(CRS, SHAPE[1] + 4, SHAPE[0] + 4, (10, 0, -20, 0, -10, 20))
"""Two pixels more on every side: there the images have no pixels."""


def around(inside):
    return np.pad(inside.astype("u1"), 2)


@settings(max_examples=20, deadline=None)
@given(images=scenes(most=4))
def test_bands_and_rules(images):
    recipe = Recipe((band("a"), band("a + b", name="s")), mask=(MaskRule("qa", pattern=5),))
    names = coverage_bands(len(images))
    found = compute(coverage_expression([input_image(n) for n in images], [recipe], "k"), images, AROUND)
    assert list(found) == [name for pair in names for name in pair]
    for (covered, clear), image in zip(names, images.values(), strict=True):
        there = ~np.ma.getmaskarray(image["a"]) & ~np.ma.getmaskarray(image["b"])
        assert not found[covered].mask.any(), "valid beyond the image's edges, too"
        assert not found[clear].mask.any()
        assert found[covered].dtype == found[clear].dtype == np.uint8
        np.testing.assert_array_equal(found[covered].data, around(there))
        np.testing.assert_array_equal(found[clear].data, around(there & ((image["qa"].data & 5) == 0)))


@settings(max_examples=10, deadline=None)
@given(images=scenes(most=3), data=st.data())
def test_a_partner_that_is_masked_is_not_clear(images, data):
    scores = {f"{PARTNER}/{n}": {"a": data.draw(holed("u1", 0, 100))} for n in range(len(images))}
    recipe = Recipe((band("b"),), mask=(MaskRule("a", of=PARTNER, minimum=60),))
    inputs = [input_image(n, partners={PARTNER: (p, "")}) for n, p in zip(images, scores, strict=True)]
    found = compute(coverage_expression(inputs, [recipe], "k"), {**images, **scores}, AROUND)
    pairs = zip(coverage_bands(len(images)), images.values(), scores.values(), strict=True)
    for (covered, clear), image, score in pairs:
        there = ~np.ma.getmaskarray(image["b"])
        np.testing.assert_array_equal(found[covered].data, around(there))
        np.testing.assert_array_equal(found[clear].data, around(there & (score["a"] >= 60).filled(False)))


def test_without_rules_all_that_is_covered_is_clear_and_the_graph_grows_by_a_load_an_image():
    [few, many] = [
        coverage_expression([input_image(f"C/i{n}") for n in range(count)], [Recipe((band("a"),))], "k")
        for count in (10, 100)
    ]
    assert len(json.loads(many)["values"]) - len(json.loads(few)["values"]) == 90 * 3, "id, load, selection"
