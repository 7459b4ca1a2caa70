"""Compare random stored tiles with what the service returns for them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import anyio.to_thread
import numpy as np

from downloader.engine.connect import connect
from downloader.engine.context import FetchContext
from downloader.engine.executors import LocalExecutor
from downloader.engine.memory import pixel_memory
from downloader.engine.prepare import prepare
from downloader.engine.stop import Stop
from downloader.events import Notice
from downloader.model.image import asset_id
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.storage.location import locate
from downloader.mosaic.tile_reader import draw_tiles, read_tile
from downloader.mosaic.updates import plan_update, update_times
from downloader.planning import TileKey
from downloader.progress.tally import Tally, fanout
from downloader.report.comparison import PixelDifference, ServiceComparison

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from numpy.typing import NDArray

    from downloader.errors import FetchProblem
    from downloader.job import Job
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.store import Store
    from downloader.planning import Plan, Request, ShardKey
    from downloader.protocols import Progress


@dataclass(frozen=True, slots=True)
class Draw:
    """A draw of random tiles, and how they are compared."""

    count: int
    """Tiles, or all if fewer are stored."""
    seed: int
    """Seed of the draw: the same seed draws the same tiles from the same mosaic."""
    tolerance: float = 0.0
    """Absolute difference that counts as none; 0 compares bit by bit. For pixels that are computed, which two machines
    may round differently."""


async def compare(
    job: Job,
    identity: Identity,
    states: Mapping[str, GroupState],
    draw: Draw,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None = None,
) -> ServiceComparison:
    """Fetch random stored tiles again and compare them with what is stored; nothing is written.

    Args:
        job: the mosaic's own.
        identity: what the mosaic is.
        states: what of it is whole.
        draw: how many tiles, and how they are compared.
        progress: told of each event.
        stop: may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.

    Raises:
        DriftError: the job means something else than the mosaic is, apart from the image's `updateTime`.
        DownloadError: as `run` does.
    """
    drawn = draw_tiles(states, draw.count, draw.seed)
    async with connect(job, credentials) as connection:
        with stop.cancels():
            plan, notices = await prepare(job, connection, identity.existing)
        new = Identity.of(plan, MosaicSettings.of(job, plan), connection.client.service_identity, identity)
        plan_update(identity, new, str(job.mosaic_path), "keep")
        was, now = update_times(identity), update_times(new)
        notices += tuple(
            f"{asset_id(name)} changed since it was stored ({time} → {now[name]}): differences are to be expected"
            for name, time in was.items()
            if now.get(name, time) != time
        )
        tally = Tally()
        comparing = Comparing(locate(job.mosaic_path).store(), plan, identity, drawn, draw.tolerance)
        context = FetchContext(
            job=job,
            plan=plan,
            connection=connection,
            memory=pixel_memory(job.limits.memory, plan),
            progress=fanout(tally, progress),
            stop=stop,
        )
        for notice in notices:
            context.progress(Notice(notice))
        bounded = stop.asks_after(job.limits.max_time, "limits.max_time")
        with connection.limiter.listen(context.progress), bounded:
            await LocalExecutor(context, comparing).run(drawn)
        if stop.drain.is_set():
            raise stop.error("not all tiles were compared")
    tiles = sum(mask.bit_count() for mask in drawn.values())
    return ServiceComparison(
        tiles, draw.seed, draw.tolerance, tuple(comparing.differences), tuple(tally.notices)
    )


@dataclass
class Comparing:
    """A `Mosaic` that stores nothing: what is placed is compared with what is stored."""

    store: Store
    plan: Plan
    identity: Identity
    drawn: Mapping[ShardKey, int]
    tolerance: float
    differences: list[PixelDifference] = field(default_factory=list)

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        """Return all bands of the tiles drawn."""
        return dict.fromkeys(range(len(self.plan.group(key.group).bands)), self.drawn[key])

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        """Compare the pixels with those that are stored."""
        self.differences += await anyio.to_thread.run_sync(self._compare, request, pixels)

    def fail(self, request: Request, problem: FetchProblem) -> None:
        """Record tiles that cannot be compared, as they cannot be fetched."""
        self.differences += [
            PixelDifference(tile, band, 0, 0, reason=problem.message)
            for tile, band, *_ in self._parts(request)
        ]

    async def commit(self, key: ShardKey) -> None:
        """Do nothing: nothing is stored."""

    def _compare(self, request: Request, pixels: NDArray[np.void]) -> list[PixelDifference]:
        layout = next(one for one in self.identity.layouts if one.group.name == request.shard.group)
        index = {band.id: number for number, band in enumerate(layout.group.bands)}
        side = layout.group.tiling.tile
        names, found = pixels.dtype.names or (), []
        for tile, band, field_, (row, column) in self._parts(request):
            # Bands of a stack have names of their own, slice after slice.
            came = pixels[names[field_]]
            came = came[row * side : (row + 1) * side, column * side : (column + 1) * side]
            try:
                stored = read_tile(self.store, layout, index[band], tile)
            except (OSError, ValueError) as error:
                why = f"stored pixels: {error}"
                found.append(PixelDifference(tile, band, came.size, came.size, reason=why))
                continue
            stored = stored[: came.shape[0], : came.shape[1]]  # of a field the box alone comes
            wrong, largest = differing(stored, came, self.tolerance)
            if wrong:
                found.append(PixelDifference(tile, band, wrong, came.size, largest))
        return found

    def _parts(self, request: Request) -> Iterator[tuple[TileKey, str, int, tuple[int, int]]]:
        """Yield (tile, band, its number in the answer, row and column in the block) for all that a request brings."""
        group, block = self.plan.group(request.shard.group), request.block
        numbers = count()
        for slice_ in block.numbers:
            fields = [(group.bands[band].id, next(numbers)) for band in request.bands]
            for row, column in block:
                for band, field_ in fields:
                    yield (
                        TileKey(request.shard.group, slice_, row, column), band, field_,
                        (row - block.row, column - block.column),
                    )  # fmt: skip


def differing(
    stored: NDArray[np.generic], came: NDArray[np.generic], tolerance: float
) -> tuple[int, float | None]:
    """Return how many pixels differ, and by how much at most; with a tolerance, two NaNs are the same.

    Args:
        stored: (height, width), as it is in the mosaic.
        came: of the same shape and type, as it came now.
        tolerance: absolute difference that counts as none; 0 compares bits.
    """
    if tolerance:
        wrong = ~np.isclose(stored.astype(np.float64), came, rtol=0, atol=tolerance, equal_nan=True)
    else:
        bits = np.dtype(f"u{stored.dtype.itemsize}")
        wrong = np.ascontiguousarray(stored).view(bits) != np.ascontiguousarray(came).view(bits)
    with np.errstate(invalid="ignore"):
        apart = np.abs(stored[wrong].astype(np.float64) - came[wrong].astype(np.float64))
    finite = apart[np.isfinite(apart)]
    return int(wrong.sum()), float(finite.max()) if finite.size else None
