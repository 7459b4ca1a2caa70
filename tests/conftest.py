"""Fixtures for all folders: one emulator for each test process, and mosaics that are made once and copied."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import STATIC_TOKEN, MadeMosaic, MosaicBuilder, job, window, write_job
from tests.kernel import Kernel

# Two slow cores shared with emulators and compilers: time says nothing about a property.
DEPTH = float(os.environ.get("DEPTH", "1"))
"""How many more examples than in a usual run are drawn; `DEPTH=10 scripts/test --only tests/fuzz` looks longer."""
settings.register_profile("suite", deadline=None, max_examples=round(50 * DEPTH), print_blob=True)
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Keep what six thousand tests are made of out of each look for cyclic garbage."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture
def mosaic(tmp_path: Path) -> Path:
    """Where a test's mosaic lies."""
    return tmp_path / "mosaic.zarr"


@pytest.fixture
def values(emulator: EmulatorProcess, mosaic: Path) -> dict[str, Any]:
    """A job's values: four bands of nine tiles with clipped edges, a request for each tile."""
    return job(emulator, mosaic, region=window(0, 0, 700, 600), request={"tiles": 1})


@pytest.fixture
def job_file(tmp_path: Path, values: dict[str, Any]) -> Path:
    """The same in a file."""
    return write_job(tmp_path, values)


@pytest.fixture(scope="session")
def make(
    emulator_process: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., MadeMosaic]:
    """Return complete mosaics by profile, region, bands and compressor, each made once for this process."""
    return MosaicBuilder(emulator_process, tmp_path_factory.mktemp)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel of Jupyter that works in the test's folder."""
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.close()
