"""What the rows of the fault catalogue share: a job small enough to run a hundred times, and what must hold of each run.

The job has 3 × 3 tiles with clipped edges, two bands, a request for each tile and a shard for each tile, unless a row
says otherwise. Every run is the real process, bounded in time, and searched for secrets when it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zarr

from earthengine_emulator import EmulatorProcess
from tests import harness
from tests.forkserver import Forked
from tests.harness import Ended

COLUMN = ROW = 300
SIDE = 700
TILES = 9
TWO = ("B2", "B3")


@dataclass
class Run(Ended):
    """One run that ended."""

    seconds: float = 0.0
    report: dict = field(default_factory=dict)

    @property
    def said(self) -> str:
        """Both outputs."""
        return self.out + self.err

    @property
    def retries(self) -> Counter:
        """Cause → calls made again for it."""
        return Counter(self.report.get("retries", {}))

    def causes(self) -> set[str]:
        """Causes of the failed tiles."""
        return {tile["cause"] for tile in self.report["failed"]}


@dataclass
class Lab:
    """A folder for one mosaic, and the emulator that serves it."""

    folder: Path
    emulator: EmulatorProcess
    job_file: Path = field(init=False)
    ended: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.job()

    @property
    def mosaic(self) -> Path:
        """Where the job's mosaic lies."""
        return self.folder / "mosaic.zarr"

    # Before a run.

    def job(
        self,
        side: int = SIDE,
        bands: Sequence[str] = TWO,
        asset: str = harness.ASSET,
        path: str | Path = "mosaic.zarr",
        **sections: dict | None,
    ) -> Path:
        """Write the job file; sections are merged into the kit's own."""
        limits = {
            "concurrency": 8,
            "give_up_after": "30s",
            "retries": 8,
            **(sections.pop("limits", {}) or {}),
        }
        request = {"tiles": 1, **(sections.pop("request", {}) or {})}
        sections.setdefault("region", harness.window(COLUMN, ROW, side, side))
        values = harness.job(
            self.emulator,
            path,
            source={"asset": asset, "bands": list(bands)},
            request=request,
            limits=limits,
            **sections,
        )
        self.job_file = harness.write_job(self.folder, values)
        return self.job_file

    def faults(self, *specs: dict, **switches: object) -> None:
        """Switch faults on at the emulator, in place of those before; other switches beside them."""
        self.emulator.control("configure", {"faults": list(specs), **switches})

    # Runs.

    def command(self, *arguments: object, wrapped: Sequence[str] = ()) -> list[str]:
        """The words of a `downloader run`; the last run's report is removed."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        module = ["-m", "tests.chaos.wrapped", *wrapped, "--"] if wrapped else ["-m", "downloader"]
        own = [sys.executable, *module, "run", str(self.job_file), "--report", str(report)]
        return [*own, *map(str, arguments)]

    def start(
        self,
        *arguments: object,
        wrapped: Sequence[str] = (),
        env: dict[str, str] | None = None,
        **popen: object,
    ) -> subprocess.Popen:
        """Start `downloader run`, through the wrapper where it is to have a fault of its own."""
        return Forked(
            self.command(*arguments, wrapped=wrapped),
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "cwd": harness.ROOT,
                "env": harness.environment(**(env or {})),
                "text": True,
                **popen,
            },
        )

    def end(self, process: subprocess.Popen, began: float | None = None) -> Run:
        """Wait for a run; what it left, searched for secrets."""
        ended = harness.end(process)
        seconds = time.monotonic() - began if began else 0.0
        report = self.folder / "report.json"
        run = Run(
            ended.status,
            ended.out,
            ended.err,
            seconds,
            json.loads(report.read_text()) if report.exists() else {},
        )
        assert "Traceback" not in run.said, run
        harness.no_secret(harness.secrets(self.emulator.key_file), self.folder, run)
        self.ended.append(run)
        return run

    def run(
        self,
        *arguments: object,
        status: int = 0,
        wrapped: Sequence[str] = (),
        env: dict[str, str] | None = None,
        **popen: object,
    ) -> Run:
        """One run to its end, which must have this status."""
        began = time.monotonic()
        run = self.end(self.start(*arguments, wrapped=wrapped, env=env, **popen), began)
        assert run.status == status, run
        return run

    def heal(self, side: int = SIDE, bands: Sequence[str] = TWO) -> Run:
        """Switch all faults off and run again: it must complete, with the right pixels."""
        self.faults(
            latency_ms=0, quota_concurrency=40, quota_per_minute=0, compute_s_per_day=None, restricted=False
        )
        run = self.run()
        self.right(side=side, bands=bands)
        return run

    def kill_at(self, lines: int, process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
        """Send a signal once the ledger has so many lines more."""
        before = harness.ledger_lines(self.mosaic)
        harness.wait_until(lambda: harness.ledger_lines(self.mosaic) >= before + lines, process)
        process.send_signal(number)

    def pause(self, lines: int, process: subprocess.Popen) -> None:
        """SIGSTOP between two commits, once the ledger has so many lines; returns when the process stands still.

        The emulator's latency must leave a quiet moment between the answers.
        """
        harness.wait_until(lambda: harness.ledger_lines(self.mosaic) >= lines, process)
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    # Afterwards.

    def right(self, mosaic: Path | None = None, side: int = SIDE, bands: Sequence[str] = TWO) -> None:
        """The mosaic is whole and right, bit for bit, and nothing lies about."""
        mosaic = mosaic or self.mosaic
        assert harness.compare(mosaic, column=COLUMN, row=ROW) == side * side * len(bands)
        assert (zarr.open_array(str(mosaic / "coverage/tiles"), mode="r")[:] == 1).all()
        assert harness.leftovers(mosaic) == []

    def stored_tiles_are_right(self, side: int = SIDE) -> int:
        """Every tile that `coverage` calls stored is right, bit for bit; how many there are."""
        coverage = zarr.open_array(str(self.mosaic / "coverage/tiles"), mode="r")[:]
        for name, array in harness.band_arrays(self.mosaic).items():
            wanted = harness.oracle_window(harness.QUICKSTART, name, COLUMN, ROW, side, side)
            found = array[:]
            for r, c in zip(*(coverage == 1).nonzero(), strict=True):
                part = (slice(256 * r, 256 * r + 256), slice(256 * c, 256 * c + 256))
                harness.same_bits(found[part], wanted[part], f"{name} tile {r}/{c}")
        return int((coverage == 1).sum())

    @property
    def duplicates(self) -> int:
        """Tiles, band by band, that were served whole more than once."""
        return harness.repeated(self.emulator, (COLUMN, ROW))

    def requests(self, kind: str = "assets.getPixels") -> int:
        """Requests of a kind that the emulator has seen."""
        return self.emulator.control("state")["requests"].get(kind, 0)

    def fault_counts(self) -> dict[str, int]:
        """How often each fault struck."""
        return self.emulator.control("state")["faults"]


def is_root() -> bool:
    """Whether this process may mount."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
