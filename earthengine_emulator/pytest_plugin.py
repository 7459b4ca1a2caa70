"""A pytest plugin: an emulator for tests of whatever speaks to Earth Engine.

Fixtures, loaded with this package and started only when a test asks for them:

- `earthengine_emulator`: an `Emulator`, put back to its starting state before each test that uses it;
- `earthengine_emulator_process`: the same for the whole session, never put back;
- `earthengine_emulator_arguments`: session-wide, to be overridden in a conftest.py: command-line arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from earthengine_emulator import EmulatorProcess


@pytest.fixture(scope="session")
def earthengine_emulator_arguments() -> list[str]:
    """Return command-line arguments of the emulator; override it to serve rasters, or to set quotas.

    By default any token will do, and there is no quota per minute: a test run is no bulk download.
    """
    return ["--auth=optional", "--quota-per-minute=0"]


@pytest.fixture(scope="session")
def earthengine_emulator_process(earthengine_emulator_arguments: list[str]) -> Iterator[EmulatorProcess]:
    """Yield an emulator in a process of its own for all tests of the session (of each worker, with xdist)."""
    from earthengine_emulator import EmulatorProcess

    with EmulatorProcess(earthengine_emulator_arguments) as emulator:
        yield emulator


@pytest.fixture
def earthengine_emulator(earthengine_emulator_process: EmulatorProcess) -> EmulatorProcess:
    """Return the session's emulator with nothing recorded, no faults, and all switches as at its start."""
    earthengine_emulator_process.reset()
    return earthengine_emulator_process
