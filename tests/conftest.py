"""Fixtures for all folders: one emulator for each test process, and mosaics that are made once and copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import STATIC_TOKEN, MadeMosaic, MosaicBuilder

# Two slow cores shared with emulators and compilers: time says nothing about a property.
settings.register_profile("suite", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[EmulatorProcess]:
    """An emulator without a quota per minute, for all tests of this process; use `emulator`.

    Masked pixels hold 0, also under `--strict`: that is what the oracle compares with.
    """
    with EmulatorProcess(
        arguments(quota_per_minute=0, fill="zero", tokens={STATIC_TOKEN: "p-test-1"})
    ) as process:
        yield process


@pytest.fixture
def emulator(emulator_process: EmulatorProcess) -> EmulatorProcess:
    """The emulator with its switches, assets and counts as at its start."""
    emulator_process.reset()
    return emulator_process


@pytest.fixture(scope="session")
def make(
    emulator_process: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., MadeMosaic]:
    """Return complete mosaics by profile, region, bands and compressor, each made once for this process."""
    return MosaicBuilder(emulator_process, tmp_path_factory.mktemp)
