"""An emulator for the tests of what must not get out, or in."""

from __future__ import annotations

import pytest

from earthengine_emulator import EmulatorProcess, arguments

TOKEN = "a-token-that-nobody-may-see-7Q2x"


@pytest.fixture(scope="session")
def emulator():
    with EmulatorProcess(arguments(quota_per_minute=0, tokens={TOKEN: "p-test-1"})) as process:
        yield process
