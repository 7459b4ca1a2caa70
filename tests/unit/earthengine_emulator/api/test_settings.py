"""Switches."""

from __future__ import annotations

from pathlib import Path

import pytest

from earthengine_emulator.api.settings import Settings, SettingsError

ROOT = Path(__file__).parents[4]


def test_settings_are_checked_all_the_same():
    with pytest.raises(SettingsError, match="fill must be one of zero, min"):
        Settings().changed({"fill": "nothing"})
    with pytest.raises(SettingsError, match="unknown fault"):
        Settings().changed({"faults": [{"fault": "x"}]})
    assert Settings().changed({"compute_s_per_day": 4}).compute_s_per_day == 4


def test_every_switch_is_documented():
    page = (ROOT / "docs" / "emulator.md").read_text()
    for name in Settings.__slots__:
        assert f"`{name}`" in page, name
