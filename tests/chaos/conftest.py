"""An emulator for each test process, put back between tests."""

from __future__ import annotations

import pytest

from earthengine_emulator import EmulatorProcess, arguments
from tests.chaos.kit import Lab


@pytest.fixture(scope="session")
def chaos_emulator():
    """A process of its own, with no quota per minute."""
    with EmulatorProcess(arguments(quota_per_minute=0)) as emulator:
        yield emulator


@pytest.fixture
def lab(tmp_path, chaos_emulator):
    """A folder with a job file, and the emulator as at its start."""
    chaos_emulator.control("reset", {})
    yield Lab(tmp_path, chaos_emulator)
    chaos_emulator.control("reset", {})
