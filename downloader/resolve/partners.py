"""Partners: images of another collection with the same index, whose bands masks look at, such as those of Cloud Score+.

They are inputs like the images themselves: frozen in the mosaic's list, pinned to their version, and compared at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from downloader.job import Job
from downloader.model.image import Image, collection_of
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us, timestamp
from downloader.planning import ImageList
from downloader.planning.inputs import JobFiles
from downloader.planning.periods import bounds_of
from downloader.planning.search_area import region_geojson
from downloader.planning.steps import Partners, Steps
from downloader.protocols import Catalogue
from downloader.resolve.lookup import is_of_one_image, look_up
from downloader.text import few


async def with_partners(
    job: Job, catalogue: Catalogue, files: JobFiles, steps: Steps, images: Sequence[Image]
) -> Steps:
    """Return the steps with each image's partners, as far as there are any.

    Args:
        job: whose period and region.
        catalogue: the service.
        files: contents of the files that the job names.
        steps: say which collections.
        images: all of the job's.

    Raises:
        JobError: there is no such collection.
    """
    wanted: dict[str, list[Image]] = {}
    for image in images:
        for collection in steps.partner_collections(image):
            wanted.setdefault(collection, []).append(image)
    return replace(steps, partners=await find_partners(job, catalogue, files, wanted)) if wanted else steps


async def find_partners_again(
    job: Job, catalogue: Catalogue, files: JobFiles, listed: ImageList
) -> dict[str, str]:
    """Full name → `updateTime` now, of the partners in a list that are still there."""
    wanted: dict[str, list[Image]] = {}
    for image in listed.images:
        for partner in listed.partners.get(image.name, ()):
            wanted.setdefault(collection_of(partner), []).append(image)
    found = await find_partners(job, catalogue, files, wanted)
    return {partner.name: partner.update_time for of in found.values() for partner in of}


async def find_partners(
    job: Job, catalogue: Catalogue, files: JobFiles, wanted: Mapping[str, Iterable[Image]]
) -> dict[str, tuple[Image, ...]]:
    """Return image's name → its partners, which are known by id and time alone.

    Args:
        job: whose period and region.
        catalogue: the service.
        files: contents of the files that the job names.
        wanted: collection → images that have partners in it.

    Raises:
        JobError: there is no such collection.
    """
    found: dict[str, tuple[Image, ...]] = {}
    for collection, images in wanted.items():
        of: dict[str, list[Image]] = {}
        for image in images:
            of.setdefault(_index(image), []).append(image)
        async for partner in _listed(job, catalogue, files, collection, of):
            bare = Image(partner.name, partner.id, (), partner.update_time)
            for image in of.get(_index(partner), ()):
                found[image.name] = (*found.get(image.name, ()), bare)
    return found


async def _listed(
    job: Job, catalogue: Catalogue, files: JobFiles, collection: str, of: Mapping[str, Sequence[Image]]
) -> AsyncIterator[Image]:
    """Yield candidates: those of the job's period and region, or of images that are named one by one each by its id."""
    if (job.source.collections or job.source.expression is not None) and job.region.samples is None:
        images = (image for here in of.values() for image in here)
        query = ImageQuery(collection, *_period(job, images), region_geojson(job, files))
        async for image in catalogue.images(query, bands=(), keep=()):
            yield image
        return
    ids = [f"{collection}/{index}" for index in of]
    for answer in (await look_up(catalogue, ids, (), is_of_one_image)).values():
        if isinstance(answer, Image):
            yield answer


def _period(job: Job, images: Iterable[Image]) -> tuple[str | None, str | None]:
    """Return the job's period, made longer where a mosaic has images before or behind it."""
    source = job.source
    times = [time for image in images if (time := instant_us(image.start_time)) is not None]
    given = [instant_us(one) or 0 for one in (source.start, source.end) if one is not None]
    if not times or not (given or source.expression is not None):
        return source.start, source.end
    return timestamp(min([*given, *times])), timestamp(max([*given, *(time + 1_000_000 for time in times)]))


def _index(image: Image) -> str:
    return image.id.rpartition("/")[2]


def frozen_partners(
    found: Partners,
    named: Sequence[tuple[str, tuple[Image, ...]]],
    frozen: ImageList | None,
    accept: Collection[str],
) -> tuple[dict[str, tuple[Image, ...]], list[str]]:
    """Return the partners of the mosaic's images, held against those that are frozen, and what there is to say.

    What is frozen stays, also where it is gone. A partner that came after its image was frozen joins where late images do:
    in a period that was cut, or where `new-images` are accepted.

    Args:
        found: partners that there are now.
        named: each slice's name and images.
        frozen: the mosaic's list; None where there is no mosaic.
        accept: as `collect` takes it.
    """
    there = {image.name for image in frozen.images} if frozen is not None else set()
    partners: dict[str, tuple[Image, ...]] = {}
    late: list[str] = []
    for label, members in named:
        for image in members:
            now = found.get(image.name, ())
            if frozen is not None and image.name in there:
                fresh = {one.name: one for one in now}
                known = [fresh.pop(one.name, one) for one in frozen.partners.get(image.name, ())]
                joins = "new-images" in accept or frozen.is_provisional(label, bounds_of)
                now = (*known, *(fresh.values() if joins else ()))
                late += [] if joins else [one.id for one in fresh.values()]
            if now:
                partners[image.name] = now
    if not late:
        return partners, []
    return partners, [
        f"{few(late, 'image', most=3)}: appeared after the images that they mask were stored; --accept new-images takes them"
    ]
