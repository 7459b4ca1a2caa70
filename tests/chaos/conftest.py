"""The emulator and a small job for tests of faults."""

from __future__ import annotations

import pytest

from tests.chaos.kit import Lab


@pytest.fixture
def lab(tmp_path, emulator):
    """A folder with a job file, and the emulator as at its start."""
    return Lab(tmp_path, emulator)
