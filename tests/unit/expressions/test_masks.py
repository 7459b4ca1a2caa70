"""Mask rules as the job file writes them: what is accepted, and what each refusal says."""

from __future__ import annotations

import pytest

from downloader.errors import JobError
from downloader.expressions.masks import MaskRule, mask_bands, parse_mask_rule


def test_a_rule_says_what_is_bad_unless_it_says_good():
    assert parse_mask_rule({"band": "SCL", "values": [3, 8]}, "k") == MaskRule(
        "SCL", values=(3, 8), is_bad=True
    )
    assert not parse_mask_rule({"band": "SCL", "values": 4, "is": "good"}, "k").is_bad
    assert parse_mask_rule({"band": "cs", "of": "A/B", "below": 0.6}, "k") == MaskRule(
        "cs", "A/B", minimum=0.6
    )


def test_bands_of_partners_are_not_the_image_s_own():
    rules = [
        parse_mask_rule(rule, "k")
        for rule in ({"band": "a", "bits": 1}, {"band": "a", "of": "A/B", "above": 1})
    ]
    assert mask_bands(rules) == ("a",)
    assert len({rule.band_in_graph for rule in rules}) == 2


@pytest.mark.parametrize(
    ("rule", "key", "says"),
    [
        ("cloud", "k", "write clouds, or a rule"), ({"bits": [1]}, "k", "write clouds, or a rule"), ({"band": "a"}, "k", "needs one of"),
        ({"band": "a", "bits": [1], "values": [1]}, "k", "needs one of"), ({"band": "a", "bit": 1}, "k", "a rule has no bit"),
        ({"band": "a", "bits": [1], "is": "bad"}, "k", "belong to a rule with values"),
        ({"band": "a", "values": [1], "is": "ugly"}, "k.is", "'ugly' is neither"), ({"band": "a", "bits": [32]}, "k", "0 to 31"),
        ({"band": "a", "bits": []}, "k.bits", "whole numbers"), ({"band": "a", "values": [0.5]}, "k.values", "whole numbers"),
        ({"band": "a", "values": [1], "field": [3]}, "k.field", "first bit"), ({"band": "a", "below": "x"}, "k.below", "not a number"),
    ],
)  # fmt: skip
def test_what_is_refused(rule, key, says):
    with pytest.raises(JobError, match=says) as caught:
        parse_mask_rule(rule, "k")
    assert caught.value.key == key
