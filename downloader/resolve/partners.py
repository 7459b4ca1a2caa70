"""Find partners: images of another collection with the same index, whose bands masks use, such as Cloud Score+.

They are inputs like the images themselves: frozen in the mosaic's list, pinned to their version, and compared at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from downloader.job import Job
from downloader.model.image import Image, collection_of
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us, timestamp
from downloader.planning import ImageList
from downloader.planning.recipes import steps_of
from downloader.planning.search_area import region_geojson
from downloader.planning.steps import Partners, Steps
from downloader.resolve.lookup import Named, is_of_one_image, look_up
from downloader.resolve.search import Search
from downloader.text import few


async def find_steps(search: Search, images: Collection[Image]) -> Steps:
    """Return what the job does to images, with the partners that each has.

    Args:
        search: job and service.
        images: all of the job's.

    Raises:
        JobError: what `steps_of` raises, or there is no such collection of partners.
    """
    steps = steps_of(search.job, images, search.files.expression, search.files.like)
    wanted = [(one, image) for image in images for one in steps.partner_collections(image)]
    return replace(steps, partners=await find_partners(search, wanted))


async def find_partners_again(search: Search, listed: ImageList) -> dict[str, str]:
    """Return the full name and the present `updateTime` of the partners in a list that are still there."""
    wanted = [
        (collection_of(partner), image)
        for image in listed.images
        for partner in listed.partners.get(image.name, ())
    ]
    found = await find_partners(search, wanted)
    return {partner.name: partner.update_time for of in found.values() for partner in of}


async def find_partners(search: Search, wanted: Iterable[tuple[str, Image]]) -> dict[str, tuple[Image, ...]]:
    """Return each image's partners by the image's full name; of a partner only id and time are known.

    Args:
        search: job and service.
        wanted: pairs of a collection and an image that has partners in it.

    Raises:
        JobError: there is no such collection.
    """
    by_index: dict[str, dict[str, list[Image]]] = {}
    for collection, image in wanted:
        by_index.setdefault(collection, {}).setdefault(_index(image), []).append(image)
    found: dict[str, tuple[Image, ...]] = {}
    for collection, of in by_index.items():
        for partner in await _listed(search, collection, of):
            bare = Image(partner.name, partner.id, (), partner.update_time)
            for image in of.get(_index(partner), ()):
                found[image.name] = (*found.get(image.name, ()), bare)
    return found


async def _listed(search: Search, collection: str, of: Mapping[str, Sequence[Image]]) -> list[Image]:
    """Return candidates: those of the job's period and region, or of images that are named one by one each by its id."""
    source = search.job.source
    if (source.collections or source.expression is not None) and search.job.region.samples is None:
        period = _period(search.job, (image for here in of.values() for image in here))
        region = region_geojson(search.job, search.files)
        return await search.catalogue.images(ImageQuery(collection, *period, region, bands=(), keep=()))
    ids = [f"{collection}/{index}" for index in of]
    answers = await look_up(search.catalogue, ids, (), is_of_one_image)
    return [answer for answer in answers.values() if isinstance(answer, Image)]


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
    found: Partners, named: Named, frozen: ImageList | None, accept: Collection[str]
) -> tuple[dict[str, tuple[Image, ...]], list[str]]:
    """Return the partners of the mosaic's images, merged with those that are frozen, and notices.

    What is frozen stays, also where it is gone. A partner that came after its image was frozen joins where late images do:
    in a period that was cut, or where `new-images` are accepted.

    Args:
        found: partners that there are now.
        named: each slice's name and images.
        frozen: the mosaic's list; None where there is no mosaic.
        accept: as `collect` takes it.
    """
    if frozen is None:
        return dict(found), []
    partners, late = dict(found), list[str]()
    there = {image.name for image in frozen.images}
    for label, members in named:
        joins = "new-images" in accept or frozen.is_provisional(label)
        for image in members:
            if image.name in there:
                fresh = {one.name: one for one in found.get(image.name, ())}
                known = [fresh.pop(one.name, one) for one in frozen.partners.get(image.name, ())]
                late += [] if joins else [one.id for one in fresh.values()]
                partners[image.name] = (*known, *(fresh.values() if joins else ()))
    told = f"{few(late, 'image', most=3)}: appeared after the images that they mask were stored; --accept new-images takes them"
    return {name: of for name, of in partners.items() if of}, [told] if late else []
