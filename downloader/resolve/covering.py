"""Find images that cover points: list candidates, and compare their pixel grids and footprints with the points."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from downloader.errors import DownloadError, JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid
from downloader.model.image import Band, Image, collection_of
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us
from downloader.planning.recipes import steps_of
from downloader.planning.samples import Point, Points, pixels_of, project
from downloader.resolve.collection import listed_ids
from downloader.resolve.lookup import in_months, is_of_one_image, look_up
from downloader.resolve.search import Search
from downloader.text import duration

T = TypeVar("T")

_MARGIN: Final = 1e-3
"""Degrees by which a footprint is widened, as its edges are coarse."""


@dataclass(frozen=True, slots=True)
class PointImages:
    """The images of points, by number of the sample; with steps those of a point are consecutive."""

    chosen: dict[int, Image]
    problems: dict[int, str] = field(default_factory=dict)
    """Messages for samples that have no image."""
    notices: Sequence[str] = ()
    steps: int = 0
    """Steps of each point; 0 where a point has one image."""
    window: str = ""
    """The period of each point in words, to be compared between runs; without the values of `source.start` and `end`."""
    period: tuple[int, int] | None = None
    """`source.start` and `end` in microseconds since 1970; None where they are not given."""


async def candidates(
    search: Search, points: Sequence[Point], start: str | None, end: str | None, keep: Sequence[str] = ()
) -> list[Image]:
    """Return the images that may cover points: those that the job names, or those listed around the points.

    Args:
        search: its job's source is a collection, or a list of images.
        points: one at least.
        start: first moment of the listing.
        end: first moment that is not taken.
        keep: properties to keep of listed images.

    Raises:
        JobError: there is no such collection, or an image of the list cannot be read.
        AuthenticationError: the collection may not be read.
    """
    source, found = search.job.source, list[Image]()
    if source.collection is None:
        answers = await look_up(
            search.catalogue, listed_ids(search.job), source.catalogue_bands, is_of_one_image
        )
        for answer in answers.values():
            if isinstance(answer, DownloadError):
                raise JobError(str(answer), key="source.images") from answer
            found.append(answer)
        return found
    region = _around(points)
    for collection in source.collections:
        query = ImageQuery(collection, start, end, region, source.filter)
        query = replace(query, bands=source.catalogue_bands, keep=keep, footprints=True)
        found += await search.catalogue.images(query)
    return in_months(search.job, found)


def _around(points: Sequence[Point]) -> dict[str, Any]:
    """Return GeoJSON in longitude and latitude of a box around points."""
    from shapely.geometry import MultiPoint, mapping

    box = MultiPoint([(point.lon, point.lat) for point in points]).envelope
    return mapping(box if box.geom_type == "Point" else box.buffer(1e-6).envelope)  # type: ignore[no-any-return]


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
            try:
                grids[kind] = steps_of(job, [image]).finest_grid(image)
            except JobError as error:
                grids[kind] = error
        grid = grids[kind]
        if time is None or not isinstance(grid, PixelGrid):
            continue
        if grid.crs not in at:
            at[grid.crs] = project(points, grid.crs)
        covered = pixels_of(grid, *at[grid.crs])[2] & _within(image, points.rows)
        yield replace(image, footprint=None), time, grid.crs, covered
    wrong.extend(grid for grid in grids.values() if isinstance(grid, JobError))


def _within(image: Image, rows: Sequence[Point]) -> NDArray[np.bool_]:
    """Return which points lie in the image's footprint; all of them if it has none that can be read."""
    import shapely

    everywhere = np.ones(len(rows), np.bool_)
    try:
        shape = shapely.from_geojson(json.dumps(image.footprint)) if image.footprint else None
    except (shapely.errors.GEOSException, ValueError):
        return everywhere
    if shape is None or shape.is_empty or shape.area == 0 or shape.bounds[2] - shape.bounds[0] > 180:
        return everywhere
    lon, lat = np.array([row.lon for row in rows]), np.array([row.lat for row in rows])
    inside: NDArray[np.bool_] = shapely.contains_xy(shapely.buffer(shape, _MARGIN), lon, lat)
    return inside


def checked(found: dict[int, T], wrong: Sequence[JobError]) -> dict[int, T]:
    """Return what was found; raise JobError if that is nothing, since images lack what the job names."""
    if wrong and not found:
        raise wrong[0]
    return found


def refuse_first(job: Job, rows: Iterable[Point], told: str) -> None:
    """Raise JobError for the first of some rows of the file; `told` follows its place in the message."""
    for row in rows:
        raise JobError(f"{row.where}{told}", key=f"{job.region.samples_key}.file")


def uncovered(job: Job, point: Point) -> str:
    """Return the message for a point that no image covers."""
    source, spec = job.source, job.region.samples
    period = f"from {source.start} to {source.end}"
    if spec is not None and (spec.before is not None or spec.after is not None):
        period = f"from {duration(spec.before or 0)} before to {duration(spec.after or 0)} after {point.date}"
    which = ", ".join(source.collections) or "source.images"
    when = f" {period}" if source.collections or job.has_steps else ""
    more = "" if source.filter is None else f" with {source.filter}"
    return f"{point.where}: no image of {which}{when}{more} covers the point ({point.lon:g}, {point.lat:g})"
