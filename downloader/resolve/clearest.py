"""Pick the images of each point that show most of it, counted around the point or in the field."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from downloader.flow.concurrent import for_each
from downloader.job import Job
from downloader.model.crs import LONLAT, transformer
from downloader.model.image import Image
from downloader.model.time import instant_us
from downloader.planning.image_shares import coarse_grid
from downloader.planning.samples import Point, Points
from downloader.resolve.choose import finest_side_m, pick_clearest, picked_period
from downloader.resolve.measure import measure
from downloader.resolve.partners import find_steps
from downloader.resolve.search import Search

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


async def clearest_images(
    search: Search,
    candidates: Mapping[int, Sequence[Image]],
    kept: Mapping[int, Sequence[Image]],
    origin_us: int,
) -> dict[int, list[Image]]:
    """Return by point those of its candidates that `source.pick` takes of each period, by time and then by id.

    How much of a point's chip, or of a field, the mask leaves is counted for each of them, unless no more are there than are
    taken.

    Args:
        search: its job picks the clearest images of points.
        candidates: by point the images that cover it in its window, and that no mosaic has of it.
        kept: by point the images that a mosaic has of it, each of which takes its place in its period.
        origin_us: moment that periods of 16 days are counted from.

    Raises:
        JobError: what `measure` raises.
        AuthenticationError, StoppedError: as `Catalogue.pixels`.
    """
    job, pick, points = search.job, search.job.source.clearest, search.points
    assert pick is not None  # noqa: S101  # the job picks
    every = {image.name: image for own in candidates.values() for image in own}
    steps = await find_steps(search, list(every.values()))
    found: dict[int, list[Image]] = {}

    def period(image: Image) -> str:
        return picked_period(image, pick.per, origin_us)

    async def choose(number: int) -> None:
        taken = Counter(map(period, kept.get(number, ())))
        whole = [image for image in candidates[number] if not steps.lacking(image)]
        there = Counter(map(period, whole))
        crowded = [
            one
            for one in whole
            if taken[period(one)] < pick.clearest < taken[period(one)] + there[period(one)]
        ]
        shows = {}
        if crowded:
            finest_m = finest_side_m(steps, crowded)
            coarse = coarse_grid(_place(job, points, points.rows[number], finest_m), finest_m)
            counted = [(image, steps.input_of(image)) for image in crowded]
            shares = await measure(search.catalogue, counted, steps.recipes, coarse, "source.pick")
            shows = {image.name: shares[image.id].shows for image in crowded}
        picked = pick_clearest(whole, pick.clearest, taken, period, lambda one: shows.get(one.name, 0.0))
        if picked:
            found[number] = sorted(picked, key=lambda one: (instant_us(one.start_time) or 0, one.id))

    await for_each(sorted(candidates), choose, job.limits.concurrency)
    return found


def _place(job: Job, points: Points, point: Point, finest_m: float) -> BaseGeometry:
    """Return a field, or the square that a chip fills, in longitude and latitude."""
    import shapely

    if point.shape:
        shape = shapely.from_wkb(point.shape)
        if points.crs == LONLAT:
            return shape
        move = transformer(points.crs, LONLAT).transform
        return shapely.transform(shape, lambda at: np.column_stack(move(at[:, 0], at[:, 1])))
    half_m = finest_m * getattr(job.region.samples, "chip", 1) / 2
    down = half_m / LONLAT.metres_per_unit
    across = down / max(math.cos(math.radians(point.lat)), 0.01)
    return shapely.box(point.lon - across, point.lat - down, point.lon + across, point.lat + down)
