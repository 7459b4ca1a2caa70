"""An emulator that outlives the runs it serves, so that what they asked twice can be counted."""

from __future__ import annotations

import pytest

from earthengine_emulator import EmulatorProcess, arguments


@pytest.fixture(scope="session")
def shared_emulator():
    with EmulatorProcess(arguments(quota_per_minute=0)) as process:
        yield process


@pytest.fixture
def emulator(shared_emulator):
    """The shared emulator with its switches, assets and counts as at its start."""
    shared_emulator.control("reset", {})
    return shared_emulator
