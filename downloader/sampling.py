"""Which image each sample is cut from: the one that the job or the point names, or the nearest in time that covers it.

What a mosaic has frozen stays: a sample keeps its image, whatever joins the collection later. A point without an image
ends no job; it is a sample that failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import anyio
import numpy as np
from numpy.typing import NDArray

from downloader.compute import composite, expression, resampled
from downloader.errors import Action, DownloadError, JobError, TileError
from downloader.image import Image
from downloader.instant import instant_us
from downloader.job import Job
from downloader.planning import Existing, ImageList
from downloader.planning.footprint import region_geojson
from downloader.planning.given import Given
from downloader.planning.samples import Point, Points, Sample, pixels_of, project
from downloader.planning.target import pixel_area

if TYPE_CHECKING:
    from downloader.earthengine.catalogue import EarthEngineCatalogue

__all__ = ["Sampled", "find_images_again", "sample"]

_AT_ONCE: Final = 16
_CELL: Final = 1.0
"""Degrees of longitude and latitude within which points share one listing."""

_MARGIN: Final = 1e-3
"""Degrees by which a footprint is taken wider: its edges are coarse."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Points and their images."""

    samples: tuple[Sample, ...]
    listed: ImageList
    """Each image once, those of the mosaic that is there first."""
    expressions: Mapping[str, str] = field(default_factory=dict)
    """By image, what computes its pixels, where they are not read."""
    notices: tuple[str, ...] = ()

    @property
    def first(self) -> Image:
        """The image of the first sample that has one, whose bands and types the others share.

        Raises:
            JobError: there is none.
        """
        images = {image.name: image for image in self.listed.images}
        for one in self.samples:
            if one.image:
                return images[one.image]
        told = self.samples[0].problem
        raise JobError(
            f"region.points: none of the {len(self.samples):,} points has an image; of the first: {told}"
        )


async def sample(
    job: Job, catalogue: EarthEngineCatalogue, given: Given, existing: Existing | None = None
) -> Sampled:
    """Find the image of each point.

    Args:
        job: its region are points.
        catalogue: the service.
        given: the points.
        existing: what the mosaic that is there has settled.

    Raises:
        JobError: the source itself is wrong, or the file lacks what it needs.
        AuthenticationError: the source, or the service, may not be used.
    """
    points = given.points
    if points is None:
        raise JobError("region.points: is not given")
    source = job.source
    if source.expression is not None or source.composite is not None:
        return await _computed(job, catalogue, given, points)
    facts = _facts(job)
    default: Image | None = None
    if source.asset is not None:
        default = await catalogue.image(source.asset, source.bands)
        facts = {"asset": default.name}
    else:
        _check_dates(points, source.kind)
    known = {image.name: image for image in _listed_images(existing)}
    named = await _named(job, catalogue, points, existing, default)
    chosen, problems = dict(named.chosen), dict(named.problems)
    open_ = [k for k in range(len(points.rows)) if k not in chosen and k not in problems]
    if default is not None:
        chosen |= dict.fromkeys(open_, default)
    elif open_:
        found = await _nearest(job, catalogue, points, open_)
        chosen |= found
        for k in open_:
            if k not in found:
                problems[k] = _uncovered(job, points.rows[k])
    samples = tuple(
        Sample(point, chosen[k].name if k in chosen else "", problems.get(k, ""))
        for k, point in enumerate(points.rows)
    )
    images = {name: image for name, image in known.items() if name in {s.image for s in samples}}
    for k in sorted(chosen):
        images[chosen[k].name] = chosen[k]
    expressions = {}
    if job.grid.resampling != "nearest":
        expressions = {
            image.name: resampled(image, job.grid.resampling).expression for image in images.values()
        }
    notices = tuple(
        f"{name}: cannot be read any more ({why}); what is stored stays, what is missing counts as failed"
        for name, why in named.gone.items()
    )
    return Sampled(samples, _image_list(images.values(), facts), expressions, notices)


@dataclass(frozen=True, slots=True)
class _Named:
    """Points whose image is settled before any is looked for, by number."""

    chosen: dict[int, Image]
    problems: dict[int, str]
    gone: dict[str, str]
    """Id → why, of images that the mosaic has pixels of and that cannot be read any more."""


async def _named(
    job: Job,
    catalogue: EarthEngineCatalogue,
    points: Points,
    existing: Existing | None,
    default: Image | None,
) -> _Named:
    known = {image.name: image for image in _listed_images(existing)}
    wanted = {number: _asset(job, point) for number, point in enumerate(points.rows) if point.image}
    wanted |= _frozen(points, existing)
    if default is not None:
        wanted = {number: asset for number, asset in wanted.items() if asset != default.name}
    answers = await _ask(catalogue, list(dict.fromkeys(wanted.values())), job.source.bands)
    named = _Named({}, {}, {})
    for number, asset in wanted.items():
        image, why = answers[asset]
        if image is None and asset in known:
            image = known[asset]
            named.gone[image.id] = why
        if image is None:
            named.problems[number] = f"{points.rows[number].where}: {why}"
        else:
            named.chosen[number] = image
    return named


async def find_images_again(catalogue: EarthEngineCatalogue, listed: ImageList) -> dict[str, str]:
    """Full name → `updateTime` now, of the images of a list that are still there; computed ones are left out."""
    names = [image.name for image in listed.images if not image.name.startswith("expression:")]
    answers = await _ask(catalogue, names, None)
    return {name: image.update_time for name, (image, _) in answers.items() if image is not None}


async def _computed(job: Job, catalogue: EarthEngineCatalogue, given: Given, points: Points) -> Sampled:
    stray = next((point for point in points.rows if point.image), None)
    if stray is not None:
        raise JobError(
            f"region.points.file: {stray.where}, column image: means nothing with source.{job.source.kind}, which is one "
            "image; leave the column out, or name a collection"
        )
    made = (
        await expression(job, catalogue)
        if job.source.composite is None
        else await composite(job, catalogue, region_geojson(job, given))
    )
    # The composite's name says what it is made of; an image of the catalogue is none.
    image = replace(made.image, name=made.part.id)
    samples = tuple(Sample(point, image.name) for point in points.rows)
    return Sampled(samples, _image_list([image], {"asset": image.name}), {image.name: made.part.expression})


def _image_list(images: Iterable[Image], facts: Mapping[str, str]) -> ImageList:
    return ImageList(tuple((image.id, (image,)) for image in images), None, facts)


def _facts(job: Job) -> dict[str, str]:
    source = job.source
    if source.collection is None:
        return {"images": "named one by one"}
    facts = {"collection": source.collection}
    return facts if source.filter is None else {**facts, "filter": " ".join(source.filter.split())}


def _check_dates(points: Points, kind: str) -> None:
    lacking = next((point for point in points.rows if not point.image and not point.date), None)
    if lacking is not None:
        raise JobError(
            f"region.points.file: {lacking.where}: names neither image nor date, and source.{kind} has many images; fill "
            "in column image (an id) or date (the nearest in time is taken), or name one image with source.asset"
        )


def _asset(job: Job, point: Point) -> str:
    """The image that a point names: an id, or the last part of one in the source's collection."""
    if "/" in point.image or job.source.collection is None:
        return point.image
    return f"{job.source.collection}/{point.image}"


def _listed_images(existing: Existing | None) -> list[Image]:
    if existing is None or existing.samples is None or existing.images is None:
        return []
    return list(existing.images.images)


def _frozen(points: Points, existing: Existing | None) -> dict[int, str]:
    """Number → image of the samples that a mosaic has settled, as far as the file still says the same of them."""
    if existing is None or existing.samples is None:
        return {}
    pairs = zip(existing.samples.samples, points.rows, strict=False)
    return {
        number: one.image
        for number, (one, point) in enumerate(pairs)
        if one.image and not one.problem and one.point.said == point.said
    }


async def _ask(
    catalogue: EarthEngineCatalogue, assets: Sequence[str], bands: tuple[str, ...] | None
) -> dict[str, tuple[Image | None, str]]:
    """Each image of these ids or names, or why it cannot be had; a few are asked for at a time."""
    answers: dict[str, tuple[Image | None, str]] = {}
    errors: list[DownloadError] = []
    slots = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(asset: str) -> None:
        async with slots:
            try:
                answers[asset] = (await catalogue.image(asset, bands), "")
            except DownloadError as error:  # kept: a task group would wrap it
                if isinstance(error, JobError) or _is_gone(error):
                    answers[asset] = (None, str(error))
                    return
                errors.append(error)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for asset in assets:
            tasks.start_soon(ask, asset)
    if errors:
        raise errors[0]
    return answers


def _is_gone(error: DownloadError) -> bool:
    """Whether the service says of the asset itself that it is not there, or not for these credentials."""
    return isinstance(error.__cause__, TileError) and error.__cause__.problem.action is Action.FAIL_ASSET


async def _nearest(
    job: Job, catalogue: EarthEngineCatalogue, points: Points, numbers: list[int]
) -> dict[int, Image]:
    """Number → the image nearest in time that covers the point; of equally near ones the first by id."""
    if job.source.collection is None:
        asked = await _ask(catalogue, _ids(job), job.source.bands)
        lacking = next((why for image, why in asked.values() if image is None), None)
        if lacking is not None:
            raise JobError(f"source.images: {lacking}")
        return _choose(job, points, numbers, [image for image, _ in asked.values() if image is not None])
    cells: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        point = points.rows[number]
        cells.setdefault((int(point.lon // _CELL), int(point.lat // _CELL)), []).append(number)
    found: dict[int, Image] = {}
    errors: list[DownloadError] = []
    slots = anyio.CapacityLimiter(_AT_ONCE)

    async def look(members: list[int]) -> None:
        async with slots:
            try:
                listing = catalogue.images(
                    job.source.collection or "",
                    start=job.source.start,
                    end=job.source.end,
                    region=_around([points.rows[k] for k in members]),
                    filter=job.source.filter,
                    bands=job.source.bands,
                    keep=(),
                    footprints=True,
                )
                found.update(_choose(job, points, members, [image async for image in listing]))
            except DownloadError as error:  # kept: a task group would wrap it
                errors.append(error)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for members in cells.values():
            tasks.start_soon(look, members)
    if errors:
        raise errors[0]
    return found


def _ids(job: Job) -> list[str]:
    from downloader.collecting import listed_ids

    return listed_ids(job)


def _around(points: list[Point]) -> dict[str, Any]:
    """GeoJSON in longitude and latitude of a box around points."""
    west, east = min(p.lon for p in points), max(p.lon for p in points)
    south, north = min(p.lat for p in points), max(p.lat for p in points)
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    west, south, east, north = west - 1e-6, south - 1e-6, east + 1e-6, north + 1e-6
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _choose(job: Job, points: Points, numbers: list[int], images: Iterable[Image]) -> dict[int, Image]:
    """Number → image, of points that share their candidates."""
    rows = [points.rows[k] for k in numbers]
    here = replace(points, rows=tuple(rows))
    at = {}
    dates = np.array([instant_us(row.date) or 0 for row in rows])
    best = np.full(len(rows), np.iinfo(np.int64).max)
    which: list[Image | None] = [None] * len(rows)
    for image in sorted(images, key=lambda image: image.id):
        time = instant_us(image.start_time)
        try:
            bands = image.select(job.source.bands)
        except JobError:
            continue
        if time is None or not bands:
            continue
        grid = min((band.grid for band in bands), key=pixel_area)
        if grid.crs not in at:
            at[grid.crs] = project(here, grid.crs)
        covered = pixels_of(grid, *at[grid.crs])[2] & _within(image, rows)
        apart = np.abs(dates - time)
        for k in np.flatnonzero(covered & (apart < best)).tolist():
            best[k], which[k] = apart[k], image
    return {
        number: replace(image, footprint=None)
        for number, image in zip(numbers, which, strict=True)
        if image is not None
    }


def _within(image: Image, rows: list[Point]) -> NDArray[np.bool_]:
    """Which points lie in the image's footprint; all where the catalogue states none that can be read."""
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


def _uncovered(job: Job, point: Point) -> str:
    source = job.source
    which = (
        f"{source.collection} from {source.start} to {source.end}" if source.collection else "source.images"
    )
    more = "" if source.filter is None else f" with {source.filter}"
    return f"{point.where}: no image of {which}{more} covers the point ({point.lon:g}, {point.lat:g})"
