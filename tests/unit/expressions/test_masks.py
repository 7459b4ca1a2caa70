"""Mask rules: which bands they need."""

from __future__ import annotations

from downloader.expressions.masks import MaskRule, mask_bands


def test_bands_of_partners_are_not_the_image_s_own():
    rules = [
        MaskRule("a", pattern=2),
        MaskRule("b", values=(1,)),
        MaskRule("a", of="A/B", maximum=1),
        MaskRule("a", of="A/C", maximum=1),
    ]
    assert mask_bands(rules) == ("a", "b")
    assert len({rule.band_in_graph for rule in rules}) == 4
