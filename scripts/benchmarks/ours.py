"""The downloader as a contender: the library's own call, in a process of its own.

python -m scripts.benchmarks.ours NAME < task.json
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from downloader import download
from downloader.events import Event, Started
from scripts.benchmarks.contender import Meter, Result, Task, serve


class _Start:
    """Starts the meter with the first request."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.began = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.began = time.time()
            self.meter.__enter__()


def job(task: Task) -> dict[str, Any]:
    """The task as a job; `options["job"]` holds sections to add, in which None leaves a key out."""
    column, row, width, height = task.window
    values: dict[str, Any] = {
        "source": {"asset": task.asset, "bands": list(task.bands)},
        "region": {"window": {"column": column, "row": row, "width": width, "height": height}},
        "mosaic": {"path": str(Path(task.out) / "mosaic.zarr")},
        "service": {"endpoint": task.url, "project": task.project},
        "auth": {"key_file": task.key_file},
        "limits": {"concurrency": task.concurrency},
    }
    for name, section in task.options.get("job", {}).items():
        values[name] = {k: v for k, v in {**values.get(name, {}), **section}.items() if v is not None}
    return values


def downloader(task: Task) -> Result:
    """The job, from its first request for pixels to its last commit."""
    if rate := task.options.get("disk_mb_per_s"):
        _slow_disk(rate * 1e6)
    watch = _Start()
    begun = time.perf_counter()
    report = download(job(task), progress=False, on_event=watch)
    watch.meter.__exit__()
    more = {
        "requests": report.requests,
        "wire_mb": report.wire_bytes / 1e6,
        "disk_mb": report.disk_bytes / 1e6,
        "retries": sum(report.retries.values()),
        "whole_s": time.perf_counter() - begun,
    }
    result = watch.meter.result(stored="zarr", path=report.mosaic, more=more)
    # The ledger's last line is the last commit; a look at the catalogue follows, whether the image changed meanwhile.
    ledger = Path(report.mosaic, ".downloader", "ledger")
    result.seconds = max(file.stat().st_mtime for file in ledger.iterdir()) - watch.began
    return result


def chips(task: Task) -> Result:
    """Every date of many places, from the call to the last commit."""
    told = task.options
    values = {
        "source": {name: told[name] for name in ("collection", "start", "end")} | {"bands": list(task.bands)},
        "region": {"points": {"file": told["points"], "chip": told["chip"]}, "crs": "EPSG:32610"},
        "mosaic": {"path": str(Path(task.out) / "mosaic.zarr"), "mask": "any"},
        "service": {"endpoint": task.url, "project": task.project},
        "auth": {"key_file": task.key_file},
        "limits": {"concurrency": task.concurrency},
    }
    with Meter() as meter:
        began = time.time()
        report = download(values, progress=False)
    ledger = Path(report.mosaic, ".downloader", "ledger")
    result = meter.result(stored="zarr", path=report.mosaic, more={"requests": report.requests})
    result.seconds = max(file.stat().st_mtime for file in ledger.iterdir()) - began
    return result


def _slow_disk(bytes_per_s: float) -> None:
    """One disk of that speed for all objects: whoever writes waits its turn."""
    from downloader.mosaic.storage.disk import DiskStore

    put, turn = DiskStore.put, threading.Lock()

    def slow(self: DiskStore, key: str, buffers: Sequence[Any]) -> None:
        with turn:
            time.sleep(sum(memoryview(buffer).nbytes for buffer in buffers) / bytes_per_s)
        put(self, key, buffers)

    DiskStore.put = slow  # type: ignore[method-assign]


CONTENDERS: dict[str, Callable[[Task], Result]] = {"downloader": downloader, "chips": chips}

if __name__ == "__main__":
    os.environ.setdefault("NO_GCE_CHECK", "true")
    serve(CONTENDERS)
