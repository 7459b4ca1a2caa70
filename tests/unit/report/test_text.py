"""Assets of the catalogue as text, whatever the catalogue says of them."""

from __future__ import annotations

import pytest

from downloader.report.text import asset_text


def image(**band):
    return {
        "type": "IMAGE",
        "id": "A/B",
        "name": "projects/earthengine-public/assets/A/B",
        "bands": [{"id": "B1", **band}],
    }


INT = {"precision": "INT"}


@pytest.mark.parametrize(
    "document",
    [
        {**image(), "bands": "B1"},
        {**image(), "bands": [None]},
        {**image(), "bands": [float("nan")]},
        image(grid=["x"]),
        image(grid={"affineTransform": ["x"], "dimensions": "x"}),
        image(dataType="INT"),
        image(dataType={**INT, "range": {"min": -(10**400), "max": 10**400}}),
        image(dataType=INT, missingData={"values": [10**400]}),
        image(dataType=INT, missingData={"values": [None]}),
        image(dataType=INT, missingData=[1]),
        image(dataType={"precision": "FLOAT"}, missingData={"values": ["x"]}),
    ],
)
def test_members_that_are_not_what_they_should_be_are_shown_as_far_as_they_go(document):
    shown = asset_text(document)
    assert shown.startswith("A/B\ntype: IMAGE\n")
    assert max(map(len, shown.splitlines())) < 500


def test_long_names_are_cut():
    shown = asset_text(
        image(dataType={"precision": "INT"}, pyramidingPolicy="Q" * 5_000) | {"updateTime": "Q" * 5_000}
    )
    assert "Q" * 201 not in shown
