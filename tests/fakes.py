"""Parts that answer in closed form, for tests of the engine: each pixel spells its own place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import anyio
import numpy as np
from numpy.typing import NDArray

from downloader.errors import Action, Cause, FetchProblem, TileError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.planning import Group, PixelRequest, Plan, Request, ServiceModel, ShardKey, Slice, Tiling
from downloader.protocols import Clock, Limiter, Mosaic, PixelSource

__all__ = ["MemoryMosaic", "PositionSource", "make_plan_of", "problem"]


def make_plan_of(
    tiles: tuple[int, int] = (4, 4),
    *,
    bands: int = 2,
    tile: int = 4,
    shard: int = 2,
    shape: tuple[int, int] = (1, 1),
    dtype: str = "<u2",
) -> Plan:
    """A plan of one group of `tiles` (rows, columns) tiles, at the root."""
    height, width = tiles[0] * tile, tiles[1] * tile
    grid = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 0, 0, -10, 0), width, height)
    of = tuple(Band(f"B{k}", np.dtype(dtype), grid) for k in range(bands))
    group = Group("", grid, grid.bounds, of, Tiling(width, height, tile=tile, shard=shard), shape)
    return Plan(
        Image("projects/p/assets/a", "a", of),
        (group,),
        ServiceModel(),
        slices=(Slice("a", "projects/p/assets/a"),),
    )


def problem(action: Action, cause: str = "unexpected status", **more: object) -> TileError:
    """A failure of one call."""
    return TileError(FetchProblem(action, Cause(cause), f"{cause} happened", **more))  # type: ignore[arg-type]


class PositionSource:
    """value = column + 1000·row of the lattice + 7 per band; faults by a function of the request."""

    def __init__(
        self,
        clock: Clock,
        latency_s: float = 0.25,
        fault: Callable[[PixelRequest, int], TileError | None] = lambda request, call: None,
    ) -> None:
        self._clock = clock
        self._latency_s = latency_s
        self._fault = fault
        self.calls: list[PixelRequest] = []
        self.in_flight = 0
        self.most = 0

    async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
        self.calls.append(request)
        number = len(self.calls)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self._clock.sleep(self._latency_s)
            if error := self._fault(request, number):
                raise error
        finally:
            self.in_flight -= 1
        return expected(request)


def expected(request: PixelRequest) -> NDArray[np.void]:
    """The pixels that `PositionSource` answers with."""
    t = request.grid.transform
    rows = int(-t.translate_y / 10) + np.arange(request.grid.height)[:, None]
    columns = int(t.translate_x / 10) + np.arange(request.grid.width)
    pixels = np.zeros(request.grid.shape, request.dtype)
    for band in request.bands:
        pixels[band.id] = columns + 1000 * rows + 7 * int(band.id[1:])
    return pixels


class MemoryMosaic:
    """Keeps pixels in arrays; what is placed counts as stored once it is committed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stored: dict[ShardKey, dict[int, int]] = {}
        self.placed: dict[ShardKey, dict[int, int]] = {}
        self.failures: list[tuple[Request, FetchProblem]] = []
        self.commits: Counter[ShardKey] = Counter()
        self.placements: Counter[tuple[int, int, int]] = Counter()
        self.most_open = 0
        self.on_commit: Callable[[ShardKey], None] = lambda key: None
        group = plan.groups[0]
        self.pixels = np.zeros(group.grid.shape, [(b.id, b.dtype) for b in group.bands])

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        group = self.plan.group(key.group)
        full, have = group.full_mask(key), self.stored.get(key, {})
        missing = {band: full & ~have.get(band, 0) for band in range(len(group.bands))}
        return {band: mask for band, mask in missing.items() if mask}

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        group = self.plan.group(request.shard.group)
        names = [group.bands[band].id for band in request.bands]
        assert pixels.dtype.names == tuple(names)
        for name in names:
            self.pixels[request.window.slices][name] = pixels[name]
        bits = 0
        for row, column in request.block:
            bits |= 1 << group.tiling.slot(request.block.slice, row, column)
            for band in request.bands:
                self.placements[row, column, band] += 1
        placed = self.placed.setdefault(request.shard, {})
        for band in request.bands:
            placed[band] = placed.get(band, 0) | bits
        self.most_open = max(self.most_open, len(self.placed))

    def fail(self, request: Request, problem: FetchProblem) -> None:
        self.failures.append((request, problem))

    async def commit(self, key: ShardKey) -> None:
        self.on_commit(key)
        self.commits[key] += 1
        await anyio.lowlevel.checkpoint()
        for band, bits in self.placed.pop(key, {}).items():
            stored = self.stored.setdefault(key, {})
            stored[band] = stored.get(band, 0) | bits

    @property
    def is_complete(self) -> bool:
        return not any(self.missing(key) for key in self.plan.shards())


class FreeLimiter:
    """Lets `concurrency` requests through."""

    def __init__(self, concurrency: int) -> None:
        self._slots = anyio.Semaphore(concurrency)
        self._concurrency = concurrency
        self.problems: list[FetchProblem | None] = []

    async def acquire(self) -> int:
        await self._slots.acquire()
        return 0

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        assert ticket == 0
        self.problems.append(problem)
        self._slots.release()

    def restrict(self) -> None:
        pass

    @property
    def in_doubt(self) -> bool:
        return False

    @property
    def in_flight(self) -> int:
        return self._concurrency - self._slots.value

    @property
    def ceiling(self) -> int:
        return self._concurrency


_source: type[PixelSource] = PositionSource
_mosaic: type[Mosaic] = MemoryMosaic
_limiter: type[Limiter] = FreeLimiter
