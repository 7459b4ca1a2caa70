"""Fetching random stored tiles again, and holding them against what is stored: does the service still say the same?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import anyio.to_thread
import numpy as np

from downloader.engine.connect import connect, prepare
from downloader.engine.local import engine
from downloader.engine.memory import pixel_memory
from downloader.engine.stop import Stop
from downloader.events import Notice
from downloader.mosaic.format.layout import MosaicSettings
from downloader.progress import Tally, fanout
from downloader.report.comparison import PixelDifference, ServiceComparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.engine.connect import Credentials
    from downloader.errors import FetchProblem
    from downloader.job import Job
    from downloader.mosaic.record.identity import Identity
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.store import Store
    from downloader.planning import Plan, Request, ShardKey, TileKey
    from downloader.protocols import Mosaic, Progress

__all__ = ["differing", "resample"]


async def resample(
    job: Job,
    identity: Identity,
    states: Mapping[str, GroupState],
    count: int,
    *,
    seed: int,
    tolerance: float = 0.0,
    progress: Progress,
    stop: Stop,
    credentials: Credentials | None = None,
) -> ServiceComparison:
    """Fetch `count` random stored tiles through the normal client and compare; nothing is written.

    Args:
        job: the mosaic's own.
        identity: what the mosaic is.
        states: what of it is whole.
        count: tiles, or all where fewer are stored.
        seed: of the draw.
        tolerance: see `ServiceComparison`; for pixels that are computed, which two machines may round differently.
        progress: told of each event.
        stop: who may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.

    Raises:
        DriftError: the job means something else than the mosaic is, apart from the image's `updateTime`.
        DownloadError: as `run` does.
    """
    from downloader.engine.worker import Listed, work
    from downloader.model.image import asset_id
    from downloader.mosaic.record.identity import Identity as MosaicIdentity
    from downloader.mosaic.tile_reader import draw_tiles
    from downloader.mosaic.updates import plan_update, update_times

    drawn = draw_tiles(states, count, seed)
    async with connect(job, credentials) as connection:
        with stop.cancels():
            plan, notices = await prepare(job, connection, identity.existing)
        new = MosaicIdentity.of(
            plan, MosaicSettings.of(job, plan), connection.client.service_identity, identity
        )
        plan_update(identity, new, str(job.mosaic_path), "keep")
        was, now = update_times(identity), update_times(new)
        notices += tuple(
            f"{asset_id(name)} changed since it was stored ({time} → {now[name]}): differences are to be expected"
            for name, time in was.items()
            if now.get(name, time) != time
        )
        tally = Tally()
        comparing = Comparing(job, plan, identity, drawn, tolerance)
        share, parts = engine(
            job,
            plan,
            pixel_memory(job.limits.memory, plan),
            comparing,
            connection,
            fanout(tally, progress),
            stop,
        )
        for notice in notices:
            parts.progress(Notice(notice))
        await work(share, parts, Listed(drawn))
        if stop.drain.is_set():
            raise stop.error("not all tiles were compared")
    tiles = sum(mask.bit_count() for mask in drawn.values())
    return ServiceComparison(tiles, seed, tolerance, tuple(comparing.differences), tuple(tally.notices))


@dataclass
class Comparing:
    """A `Mosaic` that keeps nothing: what is placed is held against what is stored."""

    job: Job
    plan: Plan
    identity: Identity
    drawn: Mapping[ShardKey, int]
    tolerance: float
    differences: list[PixelDifference] = field(default_factory=list)

    @cached_property
    def _store(self) -> Store:
        from downloader.mosaic.storage.location import locate

        return locate(self.job.mosaic_path).store()

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        """All bands of the tiles drawn."""
        return dict.fromkeys(range(len(self.plan.group(key.group).bands)), self.drawn[key])

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        """Compare."""
        self.differences += await anyio.to_thread.run_sync(self._compare, request, pixels)

    def fail(self, request: Request, problem: FetchProblem) -> None:
        """A tile that cannot be had cannot be compared."""
        for tile, band, _ in self._parts(request):
            self.differences.append(PixelDifference(tile, band, 0, 0, reason=problem.message))

    async def commit(self, key: ShardKey) -> None:
        """Nothing is kept."""

    def _compare(self, request: Request, pixels: NDArray[np.void]) -> list[PixelDifference]:
        from downloader.mosaic.tile_reader import read_tile

        layout = next(one for one in self.identity.layouts if one.group.name == request.shard.group)
        index = {band.id: number for number, band in enumerate(layout.group.bands)}
        side = layout.group.tiling.tile
        found: list[PixelDifference] = []
        for tile, band, (row, column) in self._parts(request):
            came = pixels[band][row * side : (row + 1) * side, column * side : (column + 1) * side]
            try:
                stored = read_tile(self._store, layout, index[band], tile)
            except (OSError, ValueError) as error:
                found.append(
                    PixelDifference(tile, band, came.size, came.size, reason=f"stored pixels: {error}")
                )
                continue
            wrong, largest = differing(stored, came, self.tolerance)
            if wrong:
                found.append(PixelDifference(tile, band, wrong, came.size, largest))
        return found

    def _parts(self, request: Request) -> list[tuple[TileKey, str, tuple[int, int]]]:
        """(tile, band, its row and column in the request's block) of all that a request brings."""
        from downloader.planning import TileKey as Key

        group, block = self.plan.group(request.shard.group), request.block
        return [
            (
                Key(request.shard.group, block.slice, row, column),
                group.bands[band].id,
                (row - block.row, column - block.column),
            )
            for row, column in block
            for band in request.bands
        ]


def differing(
    stored: NDArray[np.generic], came: NDArray[np.generic], tolerance: float
) -> tuple[int, float | None]:
    """How many pixels differ, and by how much at most; two NaNs are the same where a tolerance is given.

    Args:
        stored: (height, width), as it is in the mosaic.
        came: of the same shape and type, as it came now.
        tolerance: absolute difference that counts as none; 0 compares bits.
    """
    bits = np.dtype(f"u{stored.dtype.itemsize}")
    unlike = np.ascontiguousarray(stored).view(bits) != np.ascontiguousarray(came).view(bits)
    if not unlike.any():
        return 0, None
    a, b = stored[unlike].astype(np.float64), came[unlike].astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    if tolerance > 0:
        wrong = ~((apart <= tolerance) | (np.isnan(a) & np.isnan(b)) | (a == b))
    else:
        wrong = np.ones(a.shape, bool)
    finite = apart[wrong & np.isfinite(apart)]
    return int(wrong.sum()), float(finite.max()) if finite.size else None


if TYPE_CHECKING:

    def _conforms(comparing: Comparing) -> Mosaic:
        return comparing
