"""Pick the images of each point that show most of it: counted where the point or field is, in few requests each."""

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
from downloader.planning import Existing
from downloader.planning.image_shares import coarse_grid
from downloader.planning.inputs import JobFiles
from downloader.planning.lattice import pixel_area
from downloader.planning.periods import period_of
from downloader.planning.samples import Point, Points
from downloader.planning.steps import steps_of
from downloader.protocols import Catalogue
from downloader.resolve.measure import measure
from downloader.resolve.partners import with_partners

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


async def clearest_images(
    job: Job,
    catalogue: Catalogue,
    files: JobFiles,
    points: Points,
    candidates: Mapping[int, Sequence[Image]],
    existing: Existing | None,
) -> dict[int, list[Image]]:
    """Return point → those of its candidates that `source.pick` takes of each period, by time and then by id.

    How much of a point's chip, or of a field, the mask leaves is counted for each of them; where no more than are taken are
    there, nothing is. What a mosaic has frozen of a point takes its place in its period.

    Args:
        job: whose source picks the clearest.
        catalogue: the service.
        files: what the job names.
        points: the places.
        candidates: point → images that cover it in its window, and that no mosaic has of it.
        existing: what the mosaic that is there has settled.

    Raises:
        JobError: what `measure` raises.
        AuthenticationError, StoppedError: as `Catalogue.pixels`.
    """
    pick = job.source.clearest
    assert pick is not None  # noqa: S101  # the job picks
    every = {image.name: image for own in candidates.values() for image in own}
    steps = await with_partners(
        job, catalogue, files, steps_of(job, every.values(), like=files.like), list(every.values())
    )
    origin_us = instant_us(job.source.start or "") or 0
    if existing is not None and existing.images is not None and existing.images.period is not None:
        origin_us = existing.images.period[0]

    def period(image: Image) -> str:
        return (
            "all" if pick.per == "all" else period_of(instant_us(image.start_time) or 0, pick.per, origin_us)
        )

    known = {image.name: image for image in existing.images.images} if existing and existing.images else {}
    frozen = existing.samples if existing is not None else None
    found: dict[int, list[Image]] = {}

    async def choose(number: int) -> None:
        taken: Counter[str] = Counter()
        if frozen is not None and frozen.steps and number < len(frozen.firsts):
            taken.update(period(known[one.image]) for one in frozen.of_point(number) if one.image in known)
        whole = [image for image in candidates[number] if not steps.lacking(image)]
        there = Counter(map(period, whole))
        crowded = [
            one
            for one in whole
            if taken[period(one)] < pick.clearest < taken[period(one)] + there[period(one)]
        ]
        shows = {}
        if crowded:
            finest_m = min(
                math.sqrt(pixel_area(band.grid)) for image in crowded for band in steps.view(image).bands
            )
            coarse = coarse_grid(_place(job, points, points.rows[number], finest_m), finest_m)
            counted = [(image, steps.input_of(image)) for image in crowded]
            shares = await measure(catalogue, counted, steps.recipes, coarse, "source.pick")
            shows = {image.name: shares[image.id].shows for image in crowded}
        picked = []
        order = sorted(
            whole, key=lambda one: (-shows.get(one.name, 0.0), instant_us(one.start_time) or 0, one.id)
        )
        for image in order:
            if taken[period(image)] < pick.clearest:
                taken[period(image)] += 1
                picked.append(image)
        found[number] = sorted(picked, key=lambda one: (instant_us(one.start_time) or 0, one.id))

    await for_each(sorted(candidates), choose, job.limits.concurrency)
    return {number: own for number, own in found.items() if own}


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
