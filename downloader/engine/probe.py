"""Fetch a few random tiles, and extrapolate the duration and the size of the whole job from them.

Single tiles tell the latency and how well the pixels compress; a few requests of the plan's own size tell beside them
what a request costs and what a megabyte does, from which the time of the whole follows as in the plan.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean, linear_regression, pstdev, quantiles, stdev
from typing import TYPE_CHECKING, Any, Final

from downloader.earthengine.pixels import RestPixelSource
from downloader.errors import Action, FetchProblem, TileError
from downloader.flow.concurrent import for_each
from downloader.mosaic.format.codec import ChunkCodec
from downloader.planning import ShardKey
from downloader.report.probe import Probe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.engine.connect import Connection
    from downloader.job import Job
    from downloader.planning import Group, Plan, Request


_AT_ONCE: Final = 4
"""Requests under way: a probe is to see the service, not to load it."""

_LARGE: Final = 3
"""Requests of the plan's own size beside the single tiles."""

_ATTEMPTS: Final = 200
"""Draws until a tile that is wanted is found; after them a group is walked through."""

_TELLING: Final = ("x-earth-engine-", "server-timing")
"""How headers begin that may tell what a request cost; `x-earth-engine-emulator` tells something else."""


@dataclass(slots=True)
class _Sample:
    group: Group
    request: Request
    seconds: float = 0.0
    encoded: int | None = None
    """Bytes on disk; None where nothing came, or for more than one tile."""
    came: bool = False


async def probe(job: Job, plan: Plan, connection: Connection, tiles: int, seed: int | None = None) -> Probe:
    """Fetch random tiles of a plan, measure, and extrapolate; nothing is stored.

    Args:
        job: how pixels would be stored.
        plan: what the tiles are drawn from.
        connection: the service.
        tiles: how many, at most; a run of bands that needs several requests counts once.
        seed: of the draw; None draws anew.

    Raises:
        AuthenticationError, JobError, StoppedError: nothing can be fetched at all.
    """
    seed = random.randrange(2**31) if seed is None else seed  # noqa: S311  # a sample, not a secret
    rng = random.Random(seed)  # noqa: S311  # as above
    single = [_Sample(group, request) for group, request in draw(plan, tiles, rng)]
    large = [
        _Sample(group, request)
        for group, request in draw(plan, min(_LARGE, max(1, tiles // 4)), rng, whole=True)
        if request.tiles > 1
    ]
    codec = ChunkCodec(job.mosaic.compressor, job.mosaic.profile == "sharded")
    source, client = RestPixelSource(connection.client), connection.client
    problems: list[FetchProblem] = []

    async def measure(sample: _Sample) -> None:
        wanted = plan.pixel_request(sample.request)

        async def attempt() -> NDArray[np.void] | None:
            began = time.perf_counter()
            try:
                pixels = await source.fetch(wanted)
            except TileError as error:
                if error.problem.action in {Action.RETRY, Action.SLOW, Action.FAIL_JOB}:
                    raise
                problems.append(error.problem)
                return None
            sample.seconds, sample.came = time.perf_counter() - began, True
            return pixels

        pixels = await client.persist(attempt, str(sample.request))
        if pixels is not None and sample.request.tiles == 1:
            sample.encoded = _encoded(pixels, codec, sample.group.tiling.tile)

    client.headers.clear()
    await for_each([*single, *large], measure, min(_AT_ONCE, job.limits.concurrency))
    headers = {
        name: value
        for name, value in client.headers.items()
        if name.startswith(_TELLING) and not name.endswith("-emulator")
    }
    return _summed(plan, job.mosaic.compressor, seed, single, large, problems, headers)


def draw(plan: Plan, tiles: int, rng: random.Random, *, whole: bool = False) -> list[tuple[Group, Request]]:
    """Return requests of random tiles of a plan: of each group in proportion to its bytes, and at least one.

    Args:
        plan: what is drawn from.
        tiles: how many tiles; at least one of each group.
        rng: the draw.
        whole: take the plan's own request around each tile, not the tile alone.
    """
    weights = [group.count_tiles() * group.itemsize for group in plan.groups]
    total = sum(weights)
    drawn: list[tuple[Group, Request]] = []
    for group, weight in zip(plan.groups, weights, strict=True):
        share = max(1, round(tiles * weight / total)) if weight else 0
        seen: set[tuple[int, int, int]] = set()
        for _ in range(min(share, group.count_tiles())):
            place = _place(group, rng, seen)
            if place is None:
                break
            seen.add(place)
            drawn += [(group, request) for request in _requests(group, place, whole=whole)]
    return drawn


def _place(group: Group, rng: random.Random, seen: set[tuple[int, int, int]]) -> tuple[int, int, int] | None:
    """Return (slice, row, column) of a random tile that is fetched and was not drawn before."""
    tiling = group.tiling

    def wanted(slice_: int, row: int, column: int) -> bool:
        key, slot = _shard(group, slice_, row, column), tiling.slot(slice_, row, column)
        return any(mask >> slot & 1 for mask in group.wanted(key).values())

    for _ in range(_ATTEMPTS):
        slice_, row = rng.randrange(tiling.slices), rng.randrange(tiling.tile_rows)
        place = slice_, row, rng.randrange(tiling.tile_columns)
        if place not in seen and wanted(*place):
            return place
    # Few of its tiles are fetched: the first of the requests that a run makes.
    for key in group.shards():
        for request in group.requests(key):
            block = request.block
            place = (block.slice, block.row, block.column)
            if place not in seen:
                return place
    return None


def _shard(group: Group, slice_: int, row: int, column: int) -> ShardKey:
    return ShardKey(group.name, *group.tiling.shard_of(slice_, row, column))


def _requests(group: Group, place: tuple[int, int, int], *, whole: bool) -> list[Request]:
    """Return the requests that fetch one tile with all its bands; with `whole`, the run's own request that holds it."""
    slice_, row, column = place
    key = _shard(group, *place)
    if whole:
        return [
            request
            for request in group.requests(key)
            if slice_ in request.block.numbers
            and request.block.row <= row < request.block.row + request.block.rows
            and request.block.column <= column < request.block.column + request.block.columns
        ][:1]
    slot = group.tiling.slot(*place)
    alone = replace(group, shape=(1, 1), stack=min(group.stack, 1))
    return list(alone.requests(key, dict.fromkeys(range(len(group.bands)), 1 << slot)))


def _encoded(pixels: NDArray[np.void], codec: ChunkCodec, side: int) -> int:
    """Return the bytes of one tile on disk; a tile at the edge is padded, as it is when it is stored."""
    import numpy as np

    total = 0
    for name in pixels.dtype.names or ():
        chunk = np.zeros((side, side), pixels.dtype[name])
        chunk[: pixels.shape[0], : pixels.shape[1]] = pixels[name]
        total += len(codec.encode(chunk))
    return total


def fitted(points: list[tuple[float, float]], default: tuple[float, float]) -> tuple[float, float]:
    """Return (seconds of a request, seconds of a megabyte) that fit (megabytes, seconds) best, neither negative.

    Args:
        points: what was measured.
        default: what is assumed where the points cannot tell; only its proportions count.
    """
    if not points:
        return default
    sizes, times = [size for size, _ in points], [time for _, time in points]
    mean_size, mean_time = fmean(sizes), fmean(times)
    if pstdev(sizes) < 0.1 * mean_size:
        # All of one size: what is assumed, stretched to what was measured.
        assumed = default[0] + default[1] * mean_size
        return default[0] * mean_time / assumed, default[1] * mean_time / assumed
    slope, intercept = linear_regression(sizes, times)
    if slope < 0:
        return mean_time, 0.0
    return (0.0, mean_time / mean_size) if intercept < 0 else (intercept, slope)


def _summed(
    plan: Plan,
    compressor: str,
    seed: int,
    single: list[_Sample],
    large: list[_Sample],
    problems: list[FetchProblem],
    headers: Mapping[str, str],
) -> Probe:
    came = [sample for sample in (*single, *large) if sample.came]
    small = [sample for sample in single if sample.came]
    nbytes = {id(sample): plan.pixel_request(sample.request).nbytes for sample in came}
    model = plan.model
    points = [(nbytes[id(sample)] / 1e6, sample.seconds) for sample in came]
    base_s, per_mb_s = fitted(points, (model.base_s, model.per_mb_s))
    paced = replace(plan, model=replace(model, base_s=base_s, per_mb_s=per_mb_s))
    times = [sample.seconds for sample in small]
    ratio, disk, error = _disk(plan, small)
    return Probe(
        tiles=len({(sample.group.name, sample.request.block) for sample in small}),
        seed=seed,
        requests=len(came),
        wire_bytes=sum(nbytes.values()),
        failed=len(problems),
        problem=problems[0].message if problems else "",
        latency=_tenths(times) if times else None,
        tile_mb=fmean(nbytes[id(sample)] for sample in small) / 1e6 if small else 0.0,
        base_s=base_s,
        per_mb_s=per_mb_s,
        seconds=paced.estimate().seconds,
        compressor=compressor,
        ratio=ratio,
        disk_bytes=disk,
        disk_error=error,
        headers=headers,
    )


def _tenths(times: list[float]) -> tuple[float, float, float]:
    if len(times) == 1:
        return (times[0],) * 3
    cuts = quantiles(times, n=10, method="inclusive")
    return cuts[0], cuts[4], cuts[8]


def _disk(plan: Plan, samples: list[_Sample]) -> tuple[float | None, int | None, int]:
    """Return (encoded ÷ pixel bytes, bytes of the whole mosaic, its standard error)."""
    by_group: dict[str, dict[Any, int]] = {}
    for sample in samples:
        tiles = by_group.setdefault(sample.group.name, {})
        tiles[sample.request.block] = tiles.get(sample.request.block, 0) + (sample.encoded or 0)
    if set(by_group) != {group.name for group in plan.groups if group.count_tiles()}:
        return None, None, 0  # of a group nothing came, and no other speaks for it
    total = variance = pixels = 0.0
    for group in plan.groups:
        sizes = list(by_group.get(group.name, {}).values())
        if not sizes:
            continue
        count = group.count_tiles()
        total += count * fmean(sizes)
        pixels += count * group.tiling.tile**2 * group.itemsize
        if len(sizes) > 1:
            variance += (count * stdev(sizes)) ** 2 / len(sizes) * (1 - len(sizes) / max(count, len(sizes)))
    return total / pixels, math.ceil(total), math.ceil(math.sqrt(variance))
