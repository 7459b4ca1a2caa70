"""What every contender is given and gives back, whichever environment it runs in. Knows neither downloader nor rival."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Meter", "Result", "Task", "serve"]


@dataclass(frozen=True, slots=True)
class Task:
    """Fetch this window, and store it if you store anything."""

    url: str
    """Base URL of the emulator, as the high-volume endpoint."""
    key_file: str
    """A service-account key file that works there."""
    project: str
    asset: str
    bands: tuple[str, ...]
    window: tuple[int, int, int, int]
    """Column, row, width and height in pixels of the bands' grid."""
    out: str
    """A folder of the contender's own."""
    concurrency: int = 40
    options: dict[str, Any] = field(default_factory=dict)
    """What else a scenario asks of this contender."""

    @property
    def name(self) -> str:
        """The asset's resource name."""
        if self.asset.startswith("projects/"):
            return self.asset
        return f"projects/earthengine-public/assets/{self.asset}"

    def body(self, column: int, row: int, width: int, height: int) -> dict[str, Any]:
        """The quickstart's request for some pixels of the window."""
        affine = {
            "scaleX": 10,
            "shearX": 0,
            "translateX": 499980 + 10 * (self.window[0] + column),
            "shearY": 0,
            "scaleY": -10,
            "translateY": 4200000 - 10 * (self.window[1] + row),
        }
        grid = {
            "dimensions": {"width": width, "height": height},
            "affineTransform": affine,
            "crsCode": "EPSG:32610",
        }
        return {"fileFormat": "NPY", "bandIds": list(self.bands), "grid": grid}

    def squares(self, side: int) -> list[tuple[int, int, int, int]]:
        """The window in squares of `side` pixels, clipped at its edge: column, row, width, height."""
        _, _, width, height = self.window
        return [
            (column, row, min(side, width - column), min(side, height - row))
            for row in range(0, height, side)
            for column in range(0, width, side)
        ]


@dataclass(slots=True)
class Result:
    """What a contender did."""

    seconds: float = 0.0
    """From its first request for pixels to its end."""
    cpu_s: float = 0.0
    """User and system time of its process in them."""
    peak_mb: float = 0.0
    """Largest resident size of its process, in 10⁶ bytes."""
    stored: str = ""
    """`raw`, `tif` or `zarr`: what lies at `path`; empty where it stores nothing."""
    path: str = ""
    note: str = ""
    """What a reader of the table should know."""
    more: dict[str, Any] = field(default_factory=dict)


class Meter:
    """Wall clock and processor time of a block, and the process's peak memory."""

    def __enter__(self) -> Self:
        self._cpu, self._wall = _cpu_s(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_s = time.perf_counter() - self._wall, _cpu_s() - self._cpu

    def result(self, **more: Any) -> Result:  # the fields of Result
        """What was measured, with whatever else is to be said."""
        return Result(self.seconds, self.cpu_s, _peak_bytes() / 1e6, **more)


def serve(contenders: dict[str, Callable[[Task], Result]]) -> None:
    """Do the task on standard input as the contender named on the command line; the result is the last line printed."""
    given = json.load(sys.stdin)
    task = Task(**{**given, "bands": tuple(given["bands"]), "window": tuple(given["window"])})
    print("\n" + json.dumps(asdict(contenders[sys.argv[1]](task))), flush=True)


def _peak_bytes() -> int:
    # Linux counts in ru_maxrss what the parent had when it forked; the kernel's high-water mark is this program's own.
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
