"""Asset names."""

from __future__ import annotations

import pytest

from earthengine_emulator.catalogue import catalogue


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("COPERNICUS/S2/x", "projects/earthengine-public/assets/COPERNICUS/S2/x"),
        ("users/ann/dem", "projects/earthengine-legacy/assets/users/ann/dem"),
        (
            "projects/planet-nicfi/basemaps/x",
            "projects/earthengine-legacy/assets/projects/planet-nicfi/basemaps/x",
        ),
        ("projects/my-proj-1/assets/a/b", "projects/my-proj-1/assets/a/b"),
        ("projects/my-proj-1/assets", "projects/my-proj-1/assets/"),
        ("projects/example.com:my-proj/assets/a", "projects/example.com:my-proj/assets/a"),
    ],
)
def test_ids_become_names(text, name):
    assert catalogue.asset_name(text) == name
