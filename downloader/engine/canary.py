"""Compare one tile of each group, read and computed, before the first run: only equal integers may come in stacks.

A computed answer does not tell which pixels of integers are masked. It can take the place of stored pixels where both have the
same values, masked pixels included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.errors import Action, DownloadError, TileError
from downloader.expressions.mask_bands import with_masks
from downloader.expressions.stack import pinned_expression
from downloader.model.grid import Window
from downloader.model.image import asset_id
from downloader.planning.plan import pixel_request, stacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.earthengine.pixels import RestPixelSource
    from downloader.job import Job
    from downloader.model.grid import PixelGrid
    from downloader.planning import Existing, Group, PixelRequest, Plan
    from downloader.resolve.resolved import ResolvedSource

_EDGE: Final = 8
"""Pixels on either side of an image's corner: what lies beyond is masked for certain."""


def stacks_if_equal(resolved: ResolvedSource, job: Job, there: Existing | None, plan: Plan) -> Plan | None:
    """Return the plan that holds if computed answers equal stored pixels; None where it is the same plan.

    Args:
        resolved: what the plan is made of.
        job: what the user asks for.
        there: what the mosaic that exists has settled: how its images are read, too.
        plan: where integers are read one by one.
    """
    new = [group for group in plan.groups if there is None or group.name not in there.tilings]
    if not any(group.tiling.run > 1 and not group.stack and not group.is_computed for group in new):
        return None
    likely = resolved.plan(job, there, [group.name for group in new])
    return likely if any(group.stack for group in likely.groups if not plan.group(group.name).stack) else None


async def compare_roads(plan: Plan, source: RestPixelSource) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the groups whose stored and computed pixels are the same, and a line for each of the others.

    Args:
        plan: as it would be if they were.
        source: asks the service.

    Raises:
        DownloadError: the job cannot go on: a quota is used up, or a login refused.
    """
    equal, notices = set(), []
    for group in plan.groups:
        if not group.stack or all(band.dtype.kind == "f" for band in group.bands):
            continue
        if difference := await _difference(plan, group, source):
            of = f" of group {group.name}" if group.name else ""
            notices.append(
                f"images{of} are read one by one, not in stacks: {difference}. mosaic.mask: any stores the masks, and allows stacks"
            )
        else:
            equal.add(group.name)
    return frozenset(equal), tuple(notices)


async def _difference(plan: Plan, group: Group, source: RestPixelSource) -> str:
    """Return how stored and computed pixels of a tile differ, or why they cannot be compared; empty where they are equal."""
    masked = 0
    try:
        for slice_, grid in _looked_at(plan, group):
            part = (group.parts or plan.slices)[slice_]
            present = group.present(slice_)
            bands = tuple(
                replace(band, is_filled=False) for number, band in enumerate(group.bands) if number in present
            )
            expression = pinned_expression(asset_id(part.asset), dict(part.images).get(part.asset, ""))
            read = await _fetch(source, pixel_request(bands, grid, part.asset), part.id)
            computed = await _fetch(
                source, stacked(with_masks(bands, "per-band"), grid, [expression]), part.id
            )
            names = computed.dtype.names or ()  # those of the bands, and behind them those of their masks
            for band, name, valid in zip(bands, names[: len(bands)], names[len(bands) :], strict=True):
                inside = computed[valid] != 0
                one, other = read[band.id], computed[name]
                if one[inside].tobytes() != other[inside].tobytes():
                    return f"valid pixels of {band.id} of {part.id} are others when they are computed"
                if band.dtype.kind != "f" and not np.array_equal(one[~inside], other[~inside]):
                    return f"masked pixels of {band.id} of {part.id} are others when they are computed"
                masked += int((~inside).sum()) if band.dtype.kind != "f" else 0
    except DownloadError as error:
        tile = error.__cause__
        if not isinstance(tile, TileError) or tile.problem.action is Action.FAIL_JOB:
            raise  # a quota or a login is not the tile's fault: what a later run finds counts
        return f"the two could not be compared ({error})"
    return "" if masked else "no masked pixel was found to compare"


def _looked_at(plan: Plan, group: Group) -> Iterator[tuple[int, PixelGrid]]:
    """Yield (slice, grid) of a tile that is wanted, and of a corner of its image."""
    request = next((one for key in group.shards() for one in group.requests(key)), None)
    if request is None:
        return
    block = request.block
    yield block.slice, group.request_grid(group.tiling.window(block.row, block.column), block.slice)
    name = (group.parts or plan.slices)[block.slice].asset
    images = (image for image in (plan.listed.images if plan.listed else ()) if image.name == name)
    bands = {band.id: band for image in images for band in image.bands}
    if (band := bands.get(group.bands[0].id)) is not None:
        yield block.slice, band.grid.window(Window(-_EDGE, -_EDGE, 2 * _EDGE, 2 * _EDGE))


async def _fetch(source: RestPixelSource, request: PixelRequest, name: str) -> NDArray[np.void]:
    return await source.client.persist(lambda: source.fetch(request), f"{name}, a tile by either road")
