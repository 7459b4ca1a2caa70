"""Running contenders in processes of their own, against an emulator in its own, and looking at what they stored."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earthengine_emulator import EmulatorProcess, arguments
from scripts.benchmarks.contender import Result, Task
from scripts.benchmarks.schedule import Service
from tests.oracle import PUBLIC, oracle_window

ROOT = Path(__file__).resolve().parents[2]
RIVAL_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
S2 = "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"
BANDS = ("B2", "B3", "B4", "B8")
SCENE = (0, 0, 10980, 10980)
PATIENCE_S = 240.0
_HIDDEN = ("GOOGLE_", "EARTHENGINE_", "CLOUDSDK_", "DOWNLOADER_", "GEE_", "EEDA_")


class DidNotRunError(Exception):
    """A contender that brought no result; the message is the cause, short."""


@dataclass
class Bench:
    """One emulator with a fixed latency, and a folder for what is stored."""

    emulator: EmulatorProcess
    service: Service
    folder: Path

    def task(self, window: tuple[int, int, int, int] = SCENE, **fields: Any) -> Task:
        """The quickstart's image and bands, in this window."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        fields.setdefault("concurrency", self.service.concurrency)
        return Task(
            **{
                "url": self.emulator.high_volume_url,
                "key_file": str(self.emulator.key_file),
                "project": "p-test-1",
                "asset": S2,
                "bands": BANDS,
                "window": window,
                "out": str(out),
                **fields,
            }
        )

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """What the emulator was asked."""
        return self.emulator.control(f"requests?since={since}")["requests"]

    def slots(self, since: int) -> list[float]:
        """Requests for pixels that were under way, the mean of each quarter second from the first on."""
        calls = [call for call in self.calls(since) if call["ended_s"] and (call["size"] or [1, 1]) != [1, 1]]
        begin = min(call["at_s"] for call in calls)
        times = [(call["at_s"] - begin, call["ended_s"] - begin) for call in calls]
        return under_way(times, 0.25)


@contextmanager
def bench(service: Service, folder: Path, **switches: Any) -> Iterator[Bench]:
    """A freshly started emulator with the latency of `service`."""
    flags = arguments(
        tokens={"bench": "p-test-1"},
        **{
            "latency_ms": service.base_s * 1e3,
            "latency_ms_per_mb": service.per_mb_s * 1e3,
            "quota_concurrency": 0,
            "quota_per_minute": 0,
            **switches,
        },
    )
    with EmulatorProcess(flags) as emulator:
        started = Bench(emulator, service, folder)
        _warm(started)
        yield started


def under_way(times: Sequence[tuple[float, float]], bin_s: float) -> list[float]:
    """How many of these (begin, end) lie in each bin from 0 to the last end, on the average; part of a bin counts as part."""
    bins = [0.0] * math.ceil(max(end for _, end in times) / bin_s)
    for begin, end in times:
        for k in range(int(begin / bin_s), math.ceil(end / bin_s)):
            bins[k] += (min(end, (k + 1) * bin_s) - max(begin, k * bin_s)) / bin_s
    return bins


def _warm(on: Bench) -> None:
    """Let the emulator work out the land of every band, which it keeps: a service needs no such second."""
    task = on.task((0, 0, 16, 16))
    request = urllib.request.Request(
        f"{task.url}/v1/{task.name}:getPixels",
        json.dumps(task.body(0, 0, 16, 16)).encode(),
        {"Authorization": "Bearer bench", "Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        answer.read()
    throw_away(task)


def run(module: str, name: str, task: Task, python: Path | None = None) -> Result:
    """What contender `name` of a module did.

    Raises:
        DidNotRunError: with the last line it said.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_HIDDEN)}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "NO_GCE_CHECK": "true",
        "HOME": task.out,
        "PYTHONWARNINGS": "ignore",
    }
    command = [str(python or sys.executable), "-m", f"scripts.benchmarks.{module}", name]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(asdict(task)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DidNotRunError(f"not done after {PATIENCE_S:g} s") from error
    if ended.returncode:
        said = [line for line in ended.stderr.strip().splitlines() if line.strip()] or ["said nothing"]
        raise DidNotRunError(f"status {ended.returncode}: {said[-1].strip()[:160]}")
    return Result(**json.loads(ended.stdout.strip().splitlines()[-1]))


def rival(name: str, task: Task) -> Result:
    """A rival, in the environment made for them."""
    if not RIVAL_PYTHON.exists():
        raise DidNotRunError("the rivals' environment is not there")
    return run("rivals", name, task, RIVAL_PYTHON)


def throw_away(task: Task) -> None:
    """Free the disk of what a contender stored."""
    shutil.rmtree(task.out, ignore_errors=True)


class Truth:
    """The pixels as the tests' oracle has them, worked out once for a whole image and band."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def band(self, asset: str, band: str, window: tuple[int, int, int, int]) -> np.ndarray:
        """(height, width) of a window."""
        column, row, width, height = window
        if max(width, height) <= 4096:
            return oracle_window(PUBLIC + asset, band, column, row, width, height)
        file = self._folder / f"{asset.replace('/', '_')}-{band}.npy"
        if not file.exists():
            np.save(file, oracle_window(PUBLIC + asset, band, 0, 0, 10980, 10980))
        return np.load(file, mmap_mode="r")[row : row + height, column : column + width]

    def wrong(self, result: Result, task: Task) -> int:
        """Pixels that differ from the oracle's, over all bands."""
        return sum(
            int(np.count_nonzero(found != self.band(task.asset, band, task.window)))
            for band, found in zip(task.bands, _read(result, task), strict=True)
        )

    def verdict(self, result: Result, task: Task) -> str:
        """One or two words for the table."""
        if not result.stored:
            return "stores none"
        try:
            wrong = self.wrong(result, task)
        except ValueError as error:
            return f"other: {error}"
        return "bit-exact" if not wrong else f"{wrong:,} pixels differ"


def _read(result: Result, task: Task) -> Iterator[np.ndarray]:
    _, _, width, height = task.window
    shape = (height, width)
    if result.stored == "raw":
        yield from np.memmap(result.path, "<u2", "r", shape=(len(task.bands), *shape))
    elif result.stored == "zarr":
        import zarr

        root = zarr.open_group(result.path, mode="r")
        for band in task.bands:
            array = root[band][:]
            if array.shape != shape or array.dtype != np.dtype("<u2"):
                raise ValueError(f"{array.dtype} {array.shape}")
            yield array
    else:
        import rasterio
        from rasterio.windows import Window

        with rasterio.open(result.path) as dataset:
            left, top = ~dataset.transform * (499980 + 10 * task.window[0], 4200000 - 10 * task.window[1])
            if abs(dataset.transform.a) != 10:
                raise ValueError(f"pixels of {dataset.transform.a:g} m in place of 10 m")
            for index in range(1, len(task.bands) + 1):
                found = dataset.read(index, window=Window(round(left), round(top), width, height))
                if found.shape != shape:
                    raise ValueError(f"{dataset.height} × {dataset.width} pixels")
                yield found


def stored_chips(path: str, bands: tuple[str, ...]) -> np.ndarray:
    """(place, date, band, height, width): the chips of a mosaic of points."""
    import zarr

    root = zarr.open_group(path, mode="r")
    return np.stack([root[band][:] for band in bands], axis=2)


def chip_truth(asset: str, bands: tuple[str, ...], corner: tuple[int, int], chip: int) -> np.ndarray:
    """(band, height, width) of an image as the tests' oracle has it; `corner` is a column and row of tile 10SEG."""
    column, row = corner
    if asset.endswith("10SFG"):
        column -= 10_002
    return np.stack([oracle_window(PUBLIC + asset, band, column, row, chip, chip) for band in bands])


def scaled(window: tuple[int, int, int, int], whole: tuple[int, int, int, int]) -> float:
    """How many times `window` the whole is, by pixels."""
    return whole[2] * whole[3] / (window[2] * window[3])


def with_job(task: Task, **sections: dict[str, Any]) -> Task:
    """The task with sections of the job added for the downloader."""
    return replace(task, options={**task.options, "job": {**task.options.get("job", {}), **sections}})
