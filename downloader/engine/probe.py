"""Fetch a few random tiles, and extrapolate the duration and the size of the whole job from them.

Single tiles tell the latency and how well the pixels compress; a few requests of the plan's own size tell beside them
what a request costs and what a megabyte does, from which the time of the whole follows as in the plan.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean, linear_regression, pstdev, stdev
from typing import TYPE_CHECKING, Final

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
    from downloader.planning.requests import TileBlock


_AT_ONCE: Final = 4
"""Requests under way: a probe is to see the service, not to load it."""

_LARGE: Final = 3
"""Requests of the plan's own size beside the single tiles."""

_ATTEMPTS: Final = 200
"""Draws for each tile that is wanted; after them a group is walked through."""

_TELLING: Final = ("x-earth-engine-", "server-timing")
"""How headers begin that may tell what a request cost; `x-earth-engine-emulator` tells something else."""


@dataclass(slots=True)
class _Sample:
    group: Group
    request: Request
    nbytes: int = 0
    """Bytes of its pixels; 0 as long as none came."""
    seconds: float = 0.0
    encoded: int = 0
    """Bytes on disk, of a single tile."""


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
    single = draw(plan, tiles, rng)
    large = draw(plan, min(_LARGE, max(1, tiles // 4)), rng, whole=True)
    samples = [_Sample(*one) for one in (*single, *(one for one in large if one[1].tiles > 1))]
    codec = ChunkCodec(job.mosaic.compressor, job.mosaic.profile == "sharded")
    source, client = RestPixelSource(connection.client), connection.client
    problems: list[FetchProblem] = []

    async def measure(sample: _Sample) -> None:
        wanted = plan.pixel_request(sample.request)

        async def attempt() -> None:
            began = time.perf_counter()
            try:
                pixels = await source.fetch(wanted)
            except TileError as error:
                if error.problem.action in {Action.RETRY, Action.SLOW, Action.FAIL_JOB}:
                    raise
                problems.append(error.problem)
                return
            sample.seconds, sample.nbytes = time.perf_counter() - began, wanted.nbytes
            if sample.request.tiles == 1:
                sample.encoded = _encoded(pixels, codec, sample.group.tiling.tile)

        await client.persist(attempt, str(sample.request))

    client.headers.clear()
    await for_each(samples, measure, min(_AT_ONCE, job.limits.concurrency))
    came = [sample for sample in samples if sample.nbytes]
    small = [sample for sample in came if sample.request.tiles == 1]
    base_s, per_mb_s = fitted(
        [(sample.nbytes / 1e6, sample.seconds) for sample in came], (plan.model.base_s, plan.model.per_mb_s)
    )
    paced = replace(plan, model=replace(plan.model, base_s=base_s, per_mb_s=per_mb_s))
    ratio, disk_bytes, disk_error = _disk(plan, small)
    return Probe(
        tiles=len({(sample.group.name, sample.request.block) for sample in small}),
        seed=seed,
        requests=len(came),
        wire_bytes=sum(sample.nbytes for sample in came),
        failed=len(problems),
        problem=problems[0].message if problems else "",
        latency=_tenths([sample.seconds for sample in small]) if small else None,
        tile_mb=fmean(sample.nbytes for sample in small) / 1e6 if small else 0.0,
        base_s=base_s,
        per_mb_s=per_mb_s,
        seconds=paced.estimate().seconds,
        compressor=job.mosaic.compressor,
        ratio=ratio,
        disk_bytes=disk_bytes,
        disk_error=disk_error,
        headers={
            name: value
            for name, value in client.headers.items()
            if name.startswith(_TELLING) and not name.endswith("-emulator")
        },
    )


def draw(plan: Plan, tiles: int, rng: random.Random, *, whole: bool = False) -> list[tuple[Group, Request]]:
    """Return requests of random tiles of a plan: of each group in proportion to its bytes, and at least one.

    Args:
        plan: what is drawn from.
        tiles: how many tiles; at least one of each group.
        rng: the draw.
        whole: take the plan's own request around each tile, not the tile alone.
    """
    total = sum(group.count_tiles() * group.itemsize for group in plan.groups)
    drawn: list[tuple[Group, Request]] = []
    for group in plan.groups:
        count = group.count_tiles()
        share = min(count, max(1, round(tiles * count * group.itemsize / total)))
        seen: set[tuple[int, int, int]] = set()
        for place in _places(group, rng, _ATTEMPTS * share):
            if place not in seen:
                seen.add(place)
                drawn += [(group, request) for request in _requests(group, place, whole=whole)]
            if len(seen) == share:
                break
    return drawn


def _places(group: Group, rng: random.Random, attempts: int) -> Iterator[tuple[int, int, int]]:
    """Yield (slice, row, column) of tiles that are fetched: random ones, and where these are few, the first ones."""
    tiling = group.tiling
    for _ in range(attempts):
        place = (
            rng.randrange(tiling.slices),
            rng.randrange(tiling.tile_rows),
            rng.randrange(tiling.tile_columns),
        )
        key = ShardKey(group.name, *tiling.shard_of(*place))
        if any(mask >> tiling.slot(*place) & 1 for mask in group.wanted(key).values()):
            yield place
    for key in group.shards():
        for request in group.requests(key):
            yield request.block.slice, request.block.row, request.block.column


def _requests(group: Group, place: tuple[int, int, int], *, whole: bool) -> list[Request]:
    """Return the requests that fetch one tile with all its bands; with `whole`, the run's own request that holds it."""
    slice_, row, column = place
    key = ShardKey(group.name, *group.tiling.shard_of(*place))
    if whole:
        held = (
            one for one in group.requests(key) if slice_ in one.block.numbers and (row, column) in one.block
        )
        return list(islice(held, 1))
    alone = replace(group, shape=(1, 1), stack=min(group.stack, 1))
    return list(alone.requests(key, dict.fromkeys(range(len(group.bands)), 1 << group.tiling.slot(*place))))


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


def _tenths(times: list[float]) -> tuple[float, float, float]:
    """Return the 10th, 50th and 90th percentile."""
    import numpy as np

    low, median, high = np.percentile(times, (10, 50, 90)).tolist()
    return low, median, high


def _disk(plan: Plan, samples: list[_Sample]) -> tuple[float | None, int | None, int]:
    """Return (encoded ÷ pixel bytes, bytes of the whole mosaic, its standard error)."""
    sizes: dict[str, Counter[TileBlock]] = defaultdict(Counter)
    for sample in samples:
        sizes[sample.group.name][sample.request.block] += sample.encoded
    total = variance = pixels = 0.0
    for group in plan.groups:
        count, drawn = group.count_tiles(), list(sizes[group.name].values())
        if count and not drawn:
            return None, None, 0  # no other group speaks for it
        total += count * fmean(drawn) if count else 0
        pixels += count * group.tiling.tile**2 * group.itemsize
        if len(drawn) > 1:
            variance += (count * stdev(drawn)) ** 2 / len(drawn) * (1 - len(drawn) / count)
    return total / pixels, math.ceil(total), math.ceil(math.sqrt(variance))
