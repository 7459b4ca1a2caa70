"""Choose one image of each point: the one that is named, or the nearest in time to its date that covers it.

What a mosaic has frozen stays: a point keeps its image, whatever joins the collection later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from downloader.errors import DownloadError, JobError
from downloader.flow.concurrent import for_each
from downloader.job import Job
from downloader.model.image import Image
from downloader.model.time import instant_us
from downloader.planning.samples import Point
from downloader.resolve.covering import PointImages, candidates, checked, covering, refuse_first, uncovered
from downloader.resolve.lookup import gone_told, is_of_one_image, look_up
from downloader.resolve.search import Search

_CELL: Final = 1.0
"""Degrees of longitude and latitude within which points share one listing."""


async def one_image(search: Search, default: Image | None) -> PointImages:
    """Return the one image of each point, or why it has none.

    Args:
        search: its job has points.
        default: image of the points that name none; None takes the nearest in time.

    Raises:
        JobError: a point names neither image nor date, there is no such collection, or an image of the list cannot be read.
        AuthenticationError: it may not be read.
    """
    job, points = search.job, search.points
    if default is None:
        dateless = (point for point in points.rows if not point.image and not point.date)
        told = (
            f": names neither image nor date, and source.{job.source.kind} has many images; fill in column image (an id) or "
            "date (the nearest in time is taken), or name one image with source.asset"
        )
        refuse_first(job, dateless, told)
    known, frozen = search.sample_images, search.frozen_samples
    wanted = {number: _asset(job, point) for number, point in enumerate(points.rows) if point.image}
    if frozen is not None and not frozen.steps:
        pairs = enumerate(zip(frozen.samples, points.rows, strict=False))
        wanted |= {
            number: one.image
            for number, (one, point) in pairs
            if one.image and not one.problem and one.point.said == point.said
        }
    if default is not None:
        wanted = {number: asset for number, asset in wanted.items() if asset != default.name}
    answers = await look_up(search.catalogue, wanted.values(), job.source.catalogue_bands, is_of_one_image)
    chosen: dict[int, Image] = {}
    problems: dict[int, str] = {}
    gone: dict[str, str] = {}
    for number, asset in wanted.items():
        image = answers[asset]
        if isinstance(image, DownloadError) and asset in known:
            gone[known[asset].id] = str(image)
            image = known[asset]
        if isinstance(image, DownloadError):
            problems[number] = f"{points.rows[number].where}: {image}"
        else:
            chosen[number] = image
    left = [number for number in range(len(points.rows)) if number not in wanted]
    if default is not None:
        chosen |= dict.fromkeys(left, default)
    else:
        chosen |= await _nearest(search, left)
    problems |= {number: uncovered(job, points.rows[number]) for number in left if number not in chosen}
    return PointImages(chosen, problems, gone_told(gone))


async def _nearest(search: Search, numbers: Sequence[int]) -> dict[int, Image]:
    """Return by number the image nearest in time that covers the point; of equally near ones the first by id."""
    source, points = search.job.source, search.points
    cells: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        point = points.rows[number]
        # Images that are named one by one are looked up once.
        cell = (int(point.lon // _CELL), int(point.lat // _CELL)) if source.collections else (0, 0)
        cells.setdefault(cell, []).append(number)
    found: dict[int, Image] = {}
    wrong: list[JobError] = []

    async def look(members: Sequence[int]) -> None:
        rows = tuple(points.rows[k] for k in members)
        images = await candidates(search, rows, source.start, source.end)
        dates = np.array([instant_us(row.date) or 0 for row in rows])
        best = np.full(len(rows), np.iinfo(np.int64).max)
        for image, time, _, covered in covering(search.job, replace(points, rows=rows), images, wrong):
            apart = np.abs(dates - time)
            for k in np.flatnonzero(covered & (apart < best)).tolist():
                best[k], found[members[k]] = apart[k], image

    await for_each(cells.values(), look)
    return checked(found, wrong)


def _asset(job: Job, point: Point) -> str:
    """Return the image that a point names: an id, or the last part of one in the source's collection."""
    collections = job.source.collections
    if "/" in point.image or not collections:
        return point.image
    if len(collections) > 1:
        told = f"{point.image!r} may be of any of {len(collections)} collections; write the whole id"
        refuse_first(job, [point], f", column image: {told}")
    return f"{collections[0]}/{point.image}"
