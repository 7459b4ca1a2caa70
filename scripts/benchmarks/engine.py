"""Parts of the downloader measured alone: its start, its scan of a finished mosaic, its memory over many tiles.

python -m scripts.benchmarks.engine NAME < task.json
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.benchmarks.contender import Meter, Result, Task, serve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.planning import PixelRequest, Plan

GIGA = 31_623
"""Tiles along a side of a square of 10⁹."""


def square_of(tiles: int) -> int:
    """Side, in tiles, of the square of about so many."""
    return round(math.sqrt(tiles))


def plan_of(tiles: int) -> Plan:
    """One band of bytes, a square of about so many tiles, shards and requests as the planner chooses them."""
    import numpy as np

    from downloader.model.crs import Crs
    from downloader.model.grid import AffineTransform, PixelGrid
    from downloader.model.image import Band, Image
    from downloader.planning import Group, Plan, ServiceModel, Slice, Tiling
    from downloader.planning.request_size import pack
    from downloader.planning.shard_size import shard_tiles

    side = square_of(tiles) * 256
    grid = PixelGrid(
        Crs(code="EPSG:32610"), AffineTransform(1.0, 0.0, 499980.0, 0.0, -1.0, 4200000.0), side, side
    )
    bands = (Band("B1", np.dtype("u1"), grid),)
    tiling, model = Tiling(side, side, shard=shard_tiles(side, side, 1)), ServiceModel()
    shape = pack(tiling, (np.dtype("u1"),), None, model, 2**23)
    group = Group("", grid, grid.bounds, bands, tiling, shape)
    return Plan(
        Image("projects/p/assets/a", "a", bands), (group,), model, slices=(Slice("a", "projects/p/assets/a"),)
    )


class _ConstantSource:
    """The same pixels whatever is asked, made once for each shape."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Any] = {}

    async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
        import numpy as np

        await asyncio.sleep(0)
        shape = request.grid.shape
        if shape not in self._known:
            self._known[shape] = np.full(shape, 7, "u1").view(request.dtype).reshape(shape)
        return self._known[shape]


def constant(task: Task) -> Result:
    """Constant tiles through the whole engine and the mosaic's encoder; of shards holes are stored, with the option `disk` pixels."""
    from downloader.engine.order import order
    from downloader.engine.resources import Parts, Share
    from downloader.engine.stop import Stop
    from downloader.engine.worker import ListedShards, work
    from downloader.flow.clock import MonotonicClock
    from downloader.flow.limiter import AdaptiveLimiter
    from downloader.flow.retry import RetryBudget
    from downloader.job.sections.service import Limits
    from downloader.mosaic.open import open_for_writing
    from downloader.mosaic.storage.disk import DiskStore
    from downloader.progress.tally import Tally

    if not task.options.get("disk"):
        put = DiskStore.put

        def hole(self: DiskStore, key: str, buffers: Sequence[Any]) -> None:
            is_shard = key.startswith("B1/c/")
            put(self, key, [] if is_shard else buffers)
            if is_shard:
                os.truncate(self.path / key, sum(memoryview(buffer).nbytes for buffer in buffers))

        DiskStore.put = hole  # type: ignore[method-assign]
    plan = plan_of(task.options["tiles"])

    async def main() -> Meter:
        clock, rng = MonotonicClock(), random.Random(1)
        limiter = AdaptiveLimiter(task.concurrency, 1e6, clock, rng, 60.0)
        share = Share(plan, Limits(concurrency=task.concurrency), 512 * 2**20, checkpoint_s=30.0)
        async with open_for_writing(Path(task.out) / "mosaic.zarr", plan, service="benchmark") as mosaic:
            tally = Tally()
            parts = Parts(_ConstantSource(), mosaic, limiter, clock, rng, tally, RetryBudget(), Stop())
            with Meter() as meter:
                await work(share, parts, ListedShards(order(plan, mosaic)))
                if not task.options.get("disk"):
                    mosaic.touched.clear()  # `finish` lists the objects that were written, and here none was kept
                await mosaic.finish()
            stored = sum(counts.stored for counts in mosaic.counts().values())
        if stored != plan.count_tiles():
            raise SystemExit(f"{stored} of {plan.count_tiles()} tiles")
        return meter

    return asyncio.run(main()).result()


def resume(task: Task) -> Result:
    """Opening a mosaic of which every tile is stored; its state is generated, its objects are holes on the disk."""
    from downloader.mosaic.open import open_for_writing
    from downloader.mosaic.record.ledger import LedgerEntry, LedgerWriter, Piece
    from downloader.mosaic.storage.disk import DiskStore

    plan, path = plan_of(task.options["tiles"]), Path(task.out) / "mosaic.zarr"
    (group,) = plan.groups

    async def generate() -> int:
        async with open_for_writing(path, plan, service="benchmark") as mosaic:
            await mosaic.finish()
            (layout,) = mosaic.identity.layouts
            entries = []
            for key in plan.shards():
                place = (key.slice, key.row, key.column)
                file = path / layout.shard_object(0, *place)
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as shard:
                    shard.truncate(100_000)
                entries.append(LedgerEntry("", place, {"B1": Piece(group.full_mask(key), 100_000)}))
            LedgerWriter(DiskStore(path)).append(*entries)
        return len(entries)

    async def reopen() -> Meter:
        with Meter() as meter:
            async with open_for_writing(path, plan, service="benchmark") as mosaic:
                left = sum(1 for key in plan.shards() if mosaic.missing(key))
        if left:
            raise SystemExit(f"{left} shards are still missing")
        return meter

    objects = asyncio.run(generate())
    return asyncio.run(reopen()).result(more={"objects": objects})


def first_request(task: Task) -> Result:
    """A process of its own, until its first request for pixels beyond the canary reaches the service."""
    job = {
        "source": {"asset": task.asset, "bands": ["B2"]},
        "grid": {"resolution": 109_800 / (GIGA * 256)},
        "mosaic": {"path": str(Path(task.out) / "mosaic.zarr")},
        "service": {"endpoint": task.url, "project": task.project},
        "auth": {"key_file": task.key_file},
        "limits": {"max_requests": 1},
    }
    file = Path(task.out) / "job.yaml"
    file.write_text(json.dumps(job))
    meter = Meter()
    with meter, subprocess.Popen(
        [sys.executable, "-m", "downloader", "run", str(file), "-q", "--yes"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=task.out,
    ) as process:  # fmt: skip
        seconds = _first_pixels(task)
        said = process.communicate()[1]
    if seconds is None:
        raise SystemExit(f"no request came: {said[-300:]}")
    result = meter.result()
    result.seconds = seconds
    return result


def _first_pixels(task: Task) -> float | None:
    """Seconds until now; polls the emulator's own records, a hundred times a second."""
    begun = time.perf_counter()
    control = task.options["control"]
    while time.perf_counter() - begun < 30:
        with urllib.request.urlopen(f"{control}/requests?since={task.options['since']}") as answer:
            records = json.load(answer)["requests"]
        if any(r["method"] == "assets.getPixels" and r["size"] not in ([1, 1], None) for r in records):
            return time.perf_counter() - begun
        time.sleep(0.01)
    return None


def help_text(task: Task) -> Result:
    """`downloader --help`."""
    with Meter() as meter:
        subprocess.run(
            [sys.executable, "-m", "downloader", "--help"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=task.out,
        )
    return meter.result()


CONTENDERS: dict[str, Callable[[Task], Result]] = {
    contender.__name__: contender for contender in (constant, resume, first_request, help_text)
}

if __name__ == "__main__":
    os.environ.setdefault("NO_GCE_CHECK", "true")
    serve(CONTENDERS)
