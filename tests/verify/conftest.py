"""Mosaics made once by the real command line, damaged in copies, and the emulator that counts what repairs ask for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import band_arrays, cli, job, same_bits, window, write_job
from tests.oracle import QUICKSTART, oracle_window

LARGE = (100, 200, 3700, 3600)
"""Column, row, width, height of a region of 2×2 tiles to a shard, clipped at both edges."""

SMALL = (100, 200, 700, 520)


@dataclass
class Made:
    """A complete mosaic that tests copy."""

    path: Path
    region: tuple[int, int, int, int]
    bands: tuple[str, ...]
    wanted: dict[str, np.ndarray]
    """Array → what it must hold, by the oracle."""

    def copy(self, to: Path) -> Path:
        """A mosaic of a test's own; its job still names the emulator."""
        return Path(shutil.copytree(self.path, to))

    @property
    def origin(self) -> tuple[int, int]:
        """Where the mosaic begins in the image."""
        return self.region[:2]

    def check(self, mosaic: Path) -> None:
        """Assert that a mosaic holds what it must, bit by bit."""
        arrays = band_arrays(mosaic)
        assert arrays.keys() == self.wanted.keys()
        for name, array in arrays.items():
            same_bits(array[:], self.wanted[name], name)


@pytest.fixture(scope="session")
def shared_emulator():
    with EmulatorProcess(arguments(quota_per_minute=0)) as process:
        yield process


@pytest.fixture
def emulator(shared_emulator):
    """The shared emulator with its switches, assets and counts as at its start."""
    shared_emulator.control("reset", {})
    return shared_emulator


@pytest.fixture(scope="session")
def make(shared_emulator, tmp_path_factory):
    """Makes a mosaic by `downloader run`, once for each set of arguments."""
    made: dict[object, Made] = {}

    def make_one(profile: str, region=SMALL, bands=("B2", "B3"), compressor="lz4") -> Made:
        key = (profile, region, bands, compressor)
        if key not in made:
            shared_emulator.control("reset", {})
            folder = tmp_path_factory.mktemp("made")
            values = job(
                shared_emulator,
                source={
                    "asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG",
                    "bands": list(bands),
                },
                region=window(*region),
                mosaic={"profile": profile, "compressor": compressor},
            )
            ended = cli("run", write_job(folder, values))
            assert ended.status == 0, ended
            path = folder / "mosaic.zarr"
            wanted = {band: oracle_window(QUICKSTART, band, *region) for band in bands}
            made[key] = Made(path, region, bands, wanted)
            made[key].check(path)
        return made[key]

    return make_one
