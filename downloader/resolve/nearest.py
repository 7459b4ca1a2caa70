"""Find the image that is nearest in time to a point's date and covers the point."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from downloader.errors import DownloadError, JobError
from downloader.flow.concurrent import for_each
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid
from downloader.model.image import Band, Image, collection_of
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us
from downloader.planning.periods import month_of
from downloader.planning.samples import Point, Points, pixels_of, project
from downloader.planning.steps import steps_of
from downloader.protocols import Catalogue
from downloader.resolve.collection import listed_ids
from downloader.resolve.lookup import is_of_one_image, look_up
from downloader.text import duration

T = TypeVar("T")

_CELL: Final = 1.0
"""Degrees of longitude and latitude within which points share one listing."""

_MARGIN: Final = 1e-3
"""Degrees by which a footprint is taken wider: its edges are coarse."""


async def nearest_images(
    job: Job, catalogue: Catalogue, points: Points, numbers: list[int]
) -> dict[int, Image]:
    """Number → the image nearest in time that covers the point; of equally near ones the first by id.

    Args:
        job: whose source is a collection, or a list of images.
        catalogue: the service.
        points: the file.
        numbers: of the points that want one. Those that no image covers are left out.

    Raises:
        JobError: there is no such collection, or an image of the list cannot be read.
        AuthenticationError: it may not be read.
    """
    if job.source.collection is None:
        return checked(*_choose(job, points, numbers, await named_images(job, catalogue)))
    cells: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        point = points.rows[number]
        cells.setdefault((int(point.lon // _CELL), int(point.lat // _CELL)), []).append(number)
    found: dict[int, Image] = {}
    wrong: list[JobError] = []

    async def look(members: list[int]) -> None:
        query = ImageQuery(
            job.source.collections[0],
            job.source.start,
            job.source.end,
            around([points.rows[k] for k in members]),
            job.source.filter,
        )
        images = await listed_images(job, catalogue, query)
        chosen, errors = _choose(job, points, members, images)
        found.update(chosen)
        wrong.extend(errors)

    await for_each(cells.values(), look)
    return checked(found, wrong)


def checked(found: dict[int, T], wrong: list[JobError]) -> dict[int, T]:
    """Return what was found; raise JobError if that is nothing, since images lack what the job names."""
    if wrong and not found:
        raise wrong[0]
    return found


async def listed_images(
    job: Job, catalogue: Catalogue, query: ImageQuery, keep: Sequence[str] = ()
) -> list[Image]:
    """Return what a query finds in each of the job's collections, with footprints and these properties.

    Raises:
        JobError: there is no such collection.
        AuthenticationError: it may not be read.
    """
    bands, found = job.source.catalogue_bands, list[Image]()
    for collection in job.source.collections:
        listing = catalogue.images(
            replace(query, collection=collection), bands=bands, keep=keep, footprints=True
        )
        found += [image async for image in listing]
    months = job.source.months_taken
    return [one for one in found if len(months) == 12 or month_of(instant_us(one.start_time)) in months]


async def named_images(job: Job, catalogue: Catalogue) -> list[Image]:
    """Return the images that a job names one by one. Raises JobError where one cannot be read."""
    listed = await look_up(catalogue, listed_ids(job), job.source.catalogue_bands, is_of_one_image)
    images = []
    for image in listed.values():
        if isinstance(image, DownloadError):
            raise JobError(str(image), key="source.images") from image
        images.append(image)
    return images


def around(points: Sequence[Point]) -> dict[str, Any]:
    """GeoJSON in longitude and latitude of a box around points."""
    west, east = min(p.lon for p in points), max(p.lon for p in points)
    south, north = min(p.lat for p in points), max(p.lat for p in points)
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    west, south, east, north = west - 1e-6, south - 1e-6, east + 1e-6, north + 1e-6
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _choose(
    job: Job, points: Points, numbers: list[int], images: Iterable[Image]
) -> tuple[dict[int, Image], list[JobError]]:
    """Return number → image, of points that share their candidates, and why candidates cannot be used."""
    rows = [points.rows[k] for k in numbers]
    dates = np.array([instant_us(row.date) or 0 for row in rows])
    best = np.full(len(rows), np.iinfo(np.int64).max)
    which: list[Image | None] = [None] * len(rows)
    wrong: list[JobError] = []
    for image, time, _, covered in covering(job, replace(points, rows=tuple(rows)), images, wrong):
        apart = np.abs(dates - time)
        for k in np.flatnonzero(covered & (apart < best)).tolist():
            best[k], which[k] = apart[k], image
    found = {
        number: replace(image, footprint=None)
        for number, image in zip(numbers, which, strict=True)
        if image is not None
    }
    return found, wrong


def covering(
    job: Job, points: Points, images: Iterable[Image], wrong: list[JobError]
) -> Iterator[tuple[Image, int, Crs, NDArray[np.bool_]]]:
    """Yield each usable image by id, its time, the CRS of its finest grid, and which points it covers.

    An image covers a point by its pixel grid, and by its footprint where the catalogue states one.

    Args:
        job: what it reads of an image.
        points: any number.
        images: candidates.
        wrong: gets at the end why some of them cannot be used.
    """
    at = {}
    grids: dict[tuple[str, tuple[Band, ...]], PixelGrid | JobError | None] = {}
    for image in sorted(images, key=lambda image: image.id):
        time, kind = instant_us(image.start_time), (collection_of(image), image.bands)
        if kind not in grids:
            grids[kind] = _grid(job, image)
        grid = grids[kind]
        if time is None or not isinstance(grid, PixelGrid):
            continue
        if grid.crs not in at:
            at[grid.crs] = project(points, grid.crs)
        yield image, time, grid.crs, pixels_of(grid, *at[grid.crs])[2] & _within(image, points.rows)
    wrong.extend(grid for grid in grids.values() if isinstance(grid, JobError))


def _grid(job: Job, image: Image) -> PixelGrid | JobError | None:
    """Return the finest grid of what the job reads of an image; None, or the error, where it cannot be used."""
    try:
        return steps_of(job, [image]).finest_grid(image)
    except JobError as error:
        return error


def _within(image: Image, rows: Sequence[Point]) -> NDArray[np.bool_]:
    """Return which points lie in the image's footprint; all of them if it has none that can be read."""
    import shapely

    everywhere = np.ones(len(rows), np.bool_)
    try:
        shape = shapely.from_geojson(json.dumps(image.footprint)) if image.footprint else None
    except (shapely.errors.GEOSException, ValueError):
        return everywhere
    if shape is None or shape.is_empty or shape.area == 0:
        return everywhere
    west, _, east, _ = shape.bounds
    if east - west > 180:
        return everywhere
    wider = shapely.buffer(shape, _MARGIN)
    lon, lat = np.array([row.lon for row in rows]), np.array([row.lat for row in rows])
    inside: NDArray[np.bool_] = shapely.contains_xy(wider, lon, lat)
    return inside


def uncovered(job: Job, point: Point) -> str:
    """Return the message for a point that no image covers."""
    source = job.source
    spec = job.region.samples
    period = f"from {source.start} to {source.end}"
    if spec is not None and (spec.before is not None or spec.after is not None):
        period = f"from {duration(spec.before or 0)} before to {duration(spec.after or 0)} after {point.date}"
    which = (
        f"{', '.join(source.collections)} {period}"
        if source.collections
        else f"source.images{f' {period}' if job.has_steps else ''}"
    )
    more = "" if source.filter is None else f" with {source.filter}"
    return f"{point.where}: no image of {which}{more} covers the point ({point.lon:g}, {point.lat:g})"
