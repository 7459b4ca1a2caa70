"""Resolve the samples of points and fields: find the images of each, and the bands and expressions made of them.

A point without an image does not end the job; it is a sample that failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from downloader.datasets.clouds import CLOUD_PROPERTIES
from downloader.errors import JobError
from downloader.model.image import Image
from downloader.planning import ImageList
from downloader.planning.recipes import step_facts
from downloader.planning.samples import Sample, SampleList
from downloader.planning.series import Series
from downloader.planning.steps import Steps
from downloader.protocols import Catalogue
from downloader.resolve.collection import collect
from downloader.resolve.computed import compute, expression_name
from downloader.resolve.covering import refuse_first
from downloader.resolve.every_image import every_image
from downloader.resolve.lookup import is_of_one_image, look_up, source_facts
from downloader.resolve.nearest import one_image
from downloader.resolve.partners import find_steps, frozen_partners
from downloader.resolve.resolved import ResolvedSource
from downloader.resolve.search import Search


async def sample(search: Search) -> ResolvedSource:
    """Find the images of each point.

    Args:
        search: its job's region are points or fields.

    Raises:
        JobError: the source itself is wrong, or the file lacks what it needs.
        AuthenticationError: the source, or the service, may not be used.
    """
    job, source, points = search.job, search.job.source, search.points
    if source.expression is not None or source.every == "all":
        return await _computed(search)
    facts = source_facts(job, search.files) | step_facts(job)
    if job.has_steps:
        taken = await every_image(search)
    else:
        default: Image | None = None
        if source.asset is not None:
            default = await search.catalogue.image(source.asset, source.catalogue_bands)
            facts = {"asset": default.name} | step_facts(job)
        taken = await one_image(search, default)
    chosen, problems, count = taken.chosen, taken.problems, taken.steps or 1
    wanted = {one.name for one in chosen.values()}
    images = {name: image for name, image in search.sample_images.items() if name in wanted}
    images |= {chosen[k].name: chosen[k] for k in sorted(chosen)}
    steps = await find_steps(search, list(images.values()))
    if search.existing is not None:
        alone = [(image.id, (image,)) for image in images.values()]
        partners, _ = frozen_partners(steps.partners, alone, search.frozen, {"new-images"})
        steps = replace(steps, partners=partners)
    views, expressions, unusable = _made(steps, images.values())
    for k, image in list(chosen.items()):
        if image.name in unusable:
            problems[k] = f"{points.rows[k // count].where}: {unusable[image.name]}"
            if not taken.steps:  # the next run looks for its image again; a step stays where it is
                del chosen[k]
    wanted = {one.name for one in chosen.values()}
    samples = tuple(
        Sample(points.rows[k // count], chosen[k].name if k in chosen else "", problems.get(k, ""))
        for k in range(len(points.rows) * count)
    )
    first = next((views[one.image] for one in samples if one.image in views), None)
    if first is None:
        raise JobError(
            f"none of the {len(samples):,} points has an image; of the first: {samples[0].problem}",
            key=job.region.samples_key,
        )
    listed = _image_list((image for name, image in images.items() if name in wanted), facts)
    listed = replace(listed, partners=steps.partners)
    if taken.steps:
        listed = replace(listed, properties=CLOUD_PROPERTIES, period=taken.period)
    return ResolvedSource(
        first,
        search.files,
        samples=SampleList(points.crs, points.columns, samples, taken.steps, taken.window),
        listed=listed,
        views=views,
        expressions=expressions,
        why=steps.why(1),
        notices=tuple(taken.notices),
    )


def _made(steps: Steps, images: Iterable[Image]) -> tuple[dict[str, Image], dict[str, str], dict[str, str]]:
    """Return by full name what is made of images, the expressions that compute it, and why nothing can be made of others."""
    views, expressions, unusable = {}, {}, {}
    for image in images:
        try:
            view, text = steps.view(image), steps.expression([image])
        except JobError as error:
            lacks = steps.lacking(image)
            told = f"{image.id} has {lacks}; leave the image out by source.filter" if lacks else str(error)
            unusable[image.name] = told
        else:
            views[image.name] = view
            if text:
                expressions[image.name] = text
    return views, expressions, unusable


async def find_images_again(catalogue: Catalogue, listed: ImageList) -> dict[str, str]:
    """Return the full name and the present `updateTime` of the images of a list that are still there, but for computed ones."""
    names = [image.name for image in listed.images if not image.name.startswith("expression:")]
    answers = await look_up(catalogue, names, None, is_of_one_image)
    return {name: image.update_time for name, image in answers.items() if isinstance(image, Image)}


async def _computed(search: Search) -> ResolvedSource:
    job, points = search.job, search.points
    told = f"means nothing with source.{job.source.kind}, which is one image; leave the column out, or name a collection"
    refuse_first(job, (row for row in points.rows if row.image), f", column image: {told}")
    is_own = job.source.expression is not None
    made = await (compute if is_own else collect)(replace(search, existing=None))
    if made.listed is not None and job.source.every != "all":
        raise JobError(
            f"computes an image collection; with {job.region.samples_key} make one image of it by every: all and reduce",
            key="source.expression",
        )
    assert made.series is not None  # noqa: S101  # what is no samples
    image, part = made.image, made.series.slices[0]
    if made.listed is not None:
        image = _whole(image, made.series)
    if part.expression:
        image = replace(image, name=expression_name(part.expression))
    return ResolvedSource(
        image,
        search.files,
        samples=SampleList(
            points.crs, points.columns, tuple(Sample(point, image.name) for point in points.rows)
        ),
        listed=_image_list([image], {"asset": image.name}),
        views={image.name: image},
        expressions={image.name: part.expression} if part.expression else {},
    )


def _whole(image: Image, series: Series) -> Image:
    """Return the one image that is computed of many, its bands on all that those cover."""
    bands = [
        band if lattice.hull is None else replace(band, grid=lattice.grid.window(lattice.hull))
        for lattice in series.lattices
        if lattice.hull is not None or not lattice.is_bounded
        for band in lattice.bands
    ]
    return replace(image, id="all", bands=tuple(bands))


def _image_list(images: Iterable[Image], facts: Mapping[str, str]) -> ImageList:
    return ImageList(tuple((image.id, (image,)) for image in images), None, facts)
