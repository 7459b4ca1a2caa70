"""Find the images that a user's expression computes: the elements of its collection, with the versions of their assets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from downloader.errors import JobError
from downloader.expressions.elements import TIME, origin_of
from downloader.job import Job
from downloader.model.expression import graph_of
from downloader.model.image import Image
from downloader.model.image_query import ImageQuery
from downloader.planning.inputs import JobFiles
from downloader.planning.search_area import region_geojson, region_lonlat
from downloader.resolve.partners import find_partners
from downloader.resolve.search import Search

_KEY: Final = "source.expression"

_AROUND: Final = 1e-6
"""Degrees around points and lines, which have no area."""


async def find_elements(search: Search, properties: Sequence[str], limit: int | None) -> list[Image]:
    """Return the elements of the expression's collection that begin in the job's period and meet its region.

    An element that is computed from an asset has no version of its own. Where the graph tells which collection its elements
    are made of, one each, it has that of the image of the same index there.

    Args:
        search: its job's source is an expression.
        properties: kept.
        limit: no more than so many.

    Raises:
        JobError: what is computed is no list of images with an index each, or one has no time where it needs one.
    """
    source, expression = search.job.source, search.files.expression
    area = _area(search.job, search.files)
    query = ImageQuery("", source.start, source.end, area, None, limit, source.order_by, expression)
    found = await search.catalogue.images(replace(query, keep=properties))
    if source.every != "all":
        _check_times(found)
    without = [image for image in found if not image.update_time]
    origin = origin_of(graph_of(expression))
    if not without or not origin:
        return found
    try:
        made_of = await find_partners(search, [(origin, image) for image in without])
    except JobError:
        return found  # it cannot be listed, or is too large to be
    versions = {name: partners[0].update_time for name, partners in made_of.items()}
    return [replace(image, update_time=versions.get(image.name, image.update_time)) for image in found]


def _area(job: Job, files: JobFiles) -> dict[str, Any]:
    """Return the job's region as GeoJSON of areas: of points and lines the box around them."""
    region = region_geojson(job, files)
    if region["type"] in {"Polygon", "MultiPolygon"}:
        return region
    from shapely.geometry import mapping

    box: dict[str, Any] = mapping(region_lonlat(job, files).buffer(_AROUND).envelope)
    return box


async def why_none(search: Search) -> JobError:
    """Return the error for a collection of which no element is taken."""
    query = ImageQuery("", limit=1, expression=search.files.expression, keep=())
    first = await search.catalogue.images(query)
    if not first:
        return JobError("computes an empty image collection; loosen its filters", key=_KEY)
    if search.job.source.start is not None:
        _check_times(first)
    when = f" of {first[0].start_time}" if first[0].start_time else ""
    return JobError(
        f"computes no image in the region and the period that the job asks for; the first of all is {first[0].id}{when}. "
        "Widen region, or start and end",
        key=_KEY,
    )


def _check_times(images: Sequence[Image]) -> None:
    for image in images:
        if not image.start_time:
            raise JobError(
                f"computes {image.id} without {TIME}, so there is no time axis; keep it in the map, as by "
                f"copyProperties(image, ['{TIME}']), or write every: all with reduce",
                key=_KEY,
            )


def check_own_grid(job: Job, images: Sequence[Image]) -> None:
    """Raise JobError if the job leaves the grid to images that have none of their own."""
    band = next((band for image in images for band in image.bands if not band.is_bounded), None)
    if job.grid.is_native and band is not None:
        raise JobError(
            "this expression has no pixel grid of its own (the service would use pixels of "
            f"{band.grid.transform.pixel_size[0]:g} {band.grid.crs.unit} in {band.grid.crs}); say one, such as  grid: "
            "{crs: EPSG:32610, resolution: 10}",
            key="grid",
        )
