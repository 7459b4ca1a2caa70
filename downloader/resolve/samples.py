"""Which images each sample is cut from: the one that is named, the nearest in time that covers it, or all in its window.

What a mosaic has frozen stays: a sample keeps its image, whatever joins the collection later. A point without an image
ends no job; it is a sample that failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from downloader.datasets.clouds import CLOUD_PROPERTIES
from downloader.errors import DownloadError, JobError
from downloader.job import Job
from downloader.model.image import Image
from downloader.model.time import instant_us
from downloader.planning import Existing, ImageList
from downloader.planning.inputs import JobFiles
from downloader.planning.samples import Point, Points, Sample, SampleList
from downloader.planning.slices import Slice
from downloader.planning.steps import Steps, step_facts, steps_of
from downloader.protocols import Catalogue
from downloader.resolve.clearest import clearest_images
from downloader.resolve.collection import collect
from downloader.resolve.computed import compute
from downloader.resolve.every_image import every_image
from downloader.resolve.lookup import is_of_one_image, look_up, source_facts
from downloader.resolve.nearest import nearest_images, uncovered
from downloader.resolve.partners import frozen_partners, with_partners
from downloader.resolve.resolved import ResolvedSource


async def sample(
    job: Job, catalogue: Catalogue, files: JobFiles, existing: Existing | None = None
) -> ResolvedSource:
    """Find the image of each point.

    Args:
        job: its region are points or fields.
        catalogue: the service.
        files: the points.
        existing: what the mosaic that is there has settled.

    Raises:
        JobError: the source itself is wrong, or the file lacks what it needs.
        AuthenticationError: the source, or the service, may not be used.
    """
    points = files.points
    if points is None:
        raise JobError("is not given", key=job.region.samples_key)
    source = job.source
    if source.expression is not None or source.every == "all":
        return await _computed(job, catalogue, files, points)
    facts = source_facts(job, files) | step_facts(job)
    default: Image | None = None
    if source.asset is not None:
        default = await catalogue.image(source.asset, source.catalogue_bands)
        facts = {"asset": default.name} | step_facts(job)
    elif not job.has_steps:
        _check_dates(points, source.kind, job.region.samples_key)
    if job.has_steps:
        taken = await _every(job, catalogue, files, points, existing)
    else:
        taken = await _one_each(job, catalogue, points, existing, default)
    return await _resolved(job, catalogue, files, existing, taken, facts)


@dataclass(frozen=True, slots=True)
class _Taken:
    """The images of samples by number; with steps those of a point follow on each other."""

    points: Points
    chosen: dict[int, Image]
    problems: dict[int, str]
    notices: tuple[str, ...]
    steps: int = 0
    window: str = ""
    period: tuple[int, int] | None = None

    def point(self, number: int) -> Point:
        """Return the point of a sample."""
        return self.points.rows[number // (self.steps or 1)]


async def _one_each(
    job: Job, catalogue: Catalogue, points: Points, existing: Existing | None, default: Image | None
) -> _Taken:
    """Return the one image of each point."""
    named = await _named(job, catalogue, points, existing, default)
    chosen, problems = dict(named.chosen), dict(named.problems)
    open_ = [k for k in range(len(points.rows)) if k not in chosen and k not in problems]
    if default is not None:
        chosen |= dict.fromkeys(open_, default)
    elif open_:
        found = await nearest_images(job, catalogue, points, open_)
        chosen |= found
        for k in open_:
            if k not in found:
                problems[k] = uncovered(job, points.rows[k])
    return _Taken(points, chosen, problems, _gone(named.gone))


async def _every(
    job: Job, catalogue: Catalogue, files: JobFiles, points: Points, existing: Existing | None
) -> _Taken:
    """Return all images of each point in its window; those that a mosaic has frozen for one stay its images.

    Of a longer period the images behind the frozen one follow after them.

    Raises:
        JobError: no point has an image.
    """
    frozen = existing.samples if existing is not None else None
    kept = _kept_images(points, frozen) if frozen is not None and frozen.steps else {}
    found = await every_image(job, catalogue, points, kept)
    images, gone = dict(found.of_point), dict[str, str]()
    known = {image.name: image for image in _listed_images(existing)}
    there = {image.name: image for own in found.of_point.values() for image in own}
    if job.source.collection is None:  # what the job's list leaves out is a difference, and refused as one
        kept = {number: [name for name in names if name in there] for number, names in kept.items()}
    lost = {name for names in kept.values() for name in names if name not in there}
    answers = await look_up(catalogue, sorted(lost), job.source.catalogue_bands, is_of_one_image)
    for name, answer in answers.items():
        if isinstance(answer, DownloadError):
            gone[known[name].id] = str(answer)
        there[name] = known[name] if isinstance(answer, DownloadError) else answer
    before = existing.images.period if existing is not None and existing.images is not None else None
    for number, names in kept.items():
        # What joins a collection in a period that is frozen stays out; a list of images is what the job says.
        new = [
            image
            for image in found.of_point.get(number, ())
            if image.name not in names
            and (job.source.collection is None or (before is not None and not _is_in(image, before)))
        ]
        images[number] = new
    if job.source.clearest is not None:
        images = await clearest_images(job, catalogue, files, points, images, existing)
    for number, names in kept.items():
        images[number] = [*(there[name] for name in names), *images.get(number, ())]
    most = max(map(len, images.values()), default=0)
    if not most:
        raise JobError(
            f"none of the {len(points.rows):,} points has an image; of the first: {uncovered(job, points.rows[0])}",
            key=job.region.samples_key,
        )
    steps = max(most, frozen.steps if frozen is not None else 0)
    chosen = {number * steps + k: image for number, own in images.items() for k, image in enumerate(own)}
    return _Taken(points, chosen, {}, (*found.notices, *_gone(gone)), steps, found.window, found.period)


def _kept_images(points: Points, frozen: SampleList) -> dict[int, list[str]]:
    """Return point → full names of its images, of the points that a mosaic has, as far as the file says the same of them."""
    return {
        number: [one.image for one in frozen.of_point(number) if one.image]
        for number, (first, row) in enumerate(zip(frozen.firsts, points.rows, strict=False))
        if first.point.said == row.said
    }


def _is_in(image: Image, period: tuple[int, int]) -> bool:
    time = instant_us(image.start_time)
    return time is not None and period[0] <= time < period[1]


def _gone(gone: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name}: cannot be read any more ({why}); what is stored stays, what is missing counts as failed"
        for name, why in gone.items()
    )


async def _resolved(
    job: Job,
    catalogue: Catalogue,
    files: JobFiles,
    existing: Existing | None,
    taken: _Taken,
    facts: dict[str, str],
) -> ResolvedSource:
    known = {image.name: image for image in _listed_images(existing)}
    chosen, problems = taken.chosen, taken.problems
    wanted = {one.name for one in chosen.values()}
    images = {name: image for name, image in known.items() if name in wanted}
    images |= {chosen[k].name: chosen[k] for k in sorted(chosen)}
    steps = await with_partners(
        job, catalogue, files, steps_of(job, images.values(), like=files.like), list(images.values())
    )
    if existing is not None:
        alone = [(image.id, (image,)) for image in images.values()]
        partners, _ = frozen_partners(steps.partners, alone, existing.images, {"new-images"})
        steps = replace(steps, partners=partners)
    made = _made(steps, images.values())
    for k, image in list(chosen.items()):
        if image.name in made.problems:
            problems[k] = f"{taken.point(k).where}: {made.problems[image.name]}"
            if not taken.steps:  # the next run looks for its image again; a step stays where it is
                del chosen[k]
    wanted = {one.name for one in chosen.values()}
    points = taken.points
    samples = tuple(
        Sample(taken.point(k), chosen[k].name if k in chosen else "", problems.get(k, ""))
        for k in range(len(points.rows) * (taken.steps or 1))
    )
    listed = replace(
        _image_list((image for name, image in images.items() if name in wanted), facts),
        partners=steps.partners,
    )
    if taken.steps:
        listed = replace(listed, properties=CLOUD_PROPERTIES, period=taken.period)
    return ResolvedSource(
        _first_image(job, samples, made.views),
        files,
        samples=SampleList(points.crs, points.columns, samples, taken.steps, taken.window),
        listed=listed,
        views=made.views,
        expressions=made.expressions,
        why=steps.why(1),
        notices=taken.notices,
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """What is made of the images that samples are cut from, by full name."""

    views: dict[str, Image]
    expressions: dict[str, str]
    problems: dict[str, str]


def _made(steps: Steps, images: Iterable[Image]) -> _Made:
    made = _Made({}, {}, {})
    for image in images:
        try:
            view, text = steps.view(image), steps.expression([image])
        except JobError as error:
            lacks = steps.lacking(image)
            told = f"{image.id} has {lacks}; leave the image out by source.filter" if lacks else str(error)
            made.problems[image.name] = told
        else:
            made.views[image.name] = view
            if text:
                made.expressions[image.name] = text
    return made


def _first_image(job: Job, samples: tuple[Sample, ...], images: Mapping[str, Image]) -> Image:
    """Return the image of the first sample that has one, whose bands and types the others share.

    Raises:
        JobError: no sample has an image.
    """
    for one in samples:
        if one.image in images:
            return images[one.image]
    raise JobError(
        f"none of the {len(samples):,} points has an image; of the first: {samples[0].problem}",
        key=job.region.samples_key,
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """Points whose image is settled before any is looked for, by number."""

    chosen: dict[int, Image]
    problems: dict[int, str]
    gone: dict[str, str]
    """Id → why, of images that the mosaic has pixels of and that cannot be read any more."""


async def _named(
    job: Job,
    catalogue: Catalogue,
    points: Points,
    existing: Existing | None,
    default: Image | None,
) -> _Named:
    known = {image.name: image for image in _listed_images(existing)}
    wanted = {number: _asset(job, point) for number, point in enumerate(points.rows) if point.image}
    wanted |= _frozen(points, existing)
    if default is not None:
        wanted = {number: asset for number, asset in wanted.items() if asset != default.name}
    answers = await look_up(catalogue, wanted.values(), job.source.catalogue_bands, is_of_one_image)
    named = _Named({}, {}, {})
    for number, asset in wanted.items():
        image = answers[asset]
        if isinstance(image, DownloadError) and asset in known:
            named.gone[known[asset].id] = str(image)
            image = known[asset]
        if isinstance(image, DownloadError):
            named.problems[number] = f"{points.rows[number].where}: {image}"
        else:
            named.chosen[number] = image
    return named


async def find_images_again(catalogue: Catalogue, listed: ImageList) -> dict[str, str]:
    """Full name → `updateTime` now, of the images of a list that are still there; computed ones are left out."""
    names = [image.name for image in listed.images if not image.name.startswith("expression:")]
    answers = await look_up(catalogue, names, None, is_of_one_image)
    return {name: image.update_time for name, image in answers.items() if isinstance(image, Image)}


async def _computed(job: Job, catalogue: Catalogue, files: JobFiles, points: Points) -> ResolvedSource:
    stray = next((point for point in points.rows if point.image), None)
    if stray is not None:
        raise JobError(
            f"{stray.where}, column image: means nothing with source.{job.source.kind}, which is one "
            "image; leave the column out, or name a collection",
            key=f"{job.region.samples_key}.file",
        )
    is_own = job.source.expression is not None
    made = await (compute if is_own else collect)(job, catalogue, files)
    if made.series is not None and job.source.every != "all":
        raise JobError(
            f"computes an image collection; with {job.region.samples_key} make one image of it by every: all and reduce",
            key="source.expression",
        )
    image, part = (made.image, made.computed) if made.series is None else _whole(made)
    assert part is not None  # noqa: S101  # one image has one slice
    if part.expression:
        digest = hashlib.sha256(part.expression.encode()).hexdigest()[:16]
        image = replace(image, name=f"expression:{digest}")
    return ResolvedSource(
        image,
        files,
        samples=SampleList(
            points.crs, points.columns, tuple(Sample(point, image.name) for point in points.rows)
        ),
        listed=_image_list([image], {"asset": image.name}),
        views={image.name: image},
        expressions={image.name: part.expression} if part.expression else {},
    )


def _whole(made: ResolvedSource) -> tuple[Image, Slice]:
    """Return the one image that is computed of many, its bands on all that those cover, and its slice."""
    assert made.series is not None  # noqa: S101  # of a collection
    bands = [
        band if lattice.hull is None else replace(band, grid=lattice.grid.window(lattice.hull))
        for lattice in made.series.lattices
        if lattice.hull is not None or not lattice.is_bounded
        for band in lattice.bands
    ]
    return replace(made.image, id="all", bands=tuple(bands)), made.series.slices[0]


def _image_list(images: Iterable[Image], facts: Mapping[str, str]) -> ImageList:
    return ImageList(tuple((image.id, (image,)) for image in images), None, facts)


def _check_dates(points: Points, kind: str, key: str) -> None:
    lacking = next((point for point in points.rows if not point.image and not point.date), None)
    if lacking is not None:
        raise JobError(
            f"{lacking.where}: names neither image nor date, and source.{kind} has many images; fill "
            "in column image (an id) or date (the nearest in time is taken), or name one image with source.asset",
            key=f"{key}.file",
        )


def _asset(job: Job, point: Point) -> str:
    """The image that a point names: an id, or the last part of one in the source's collection."""
    if "/" in point.image or job.source.collection is None:
        return point.image
    if len(job.source.collections) > 1:
        raise JobError(
            f"{point.where}, column image: {point.image!r} may be of any of {len(job.source.collections)} collections; write the "
            "whole id",
            key=f"{job.region.samples_key}.file",
        )
    return f"{job.source.collections[0]}/{point.image}"


def _listed_images(existing: Existing | None) -> list[Image]:
    if existing is None or existing.samples is None or existing.images is None:
        return []
    return list(existing.images.images)


def _frozen(points: Points, existing: Existing | None) -> dict[int, str]:
    """Number → image of the samples that a mosaic has settled, as far as the file still says the same of them."""
    if existing is None or existing.samples is None or existing.samples.steps:
        return {}
    pairs = zip(existing.samples.samples, points.rows, strict=False)
    return {
        number: one.image
        for number, (one, point) in enumerate(pairs)
        if one.image and not one.problem and one.point.said == point.said
    }
