"""The images of a time series: which there are now, held against the list that the mosaic has frozen.

What is frozen keeps its place. Images of times that the list did not cover join by themselves; one that appeared
inside the period it covers arrived late, and joins only where that is accepted. One that is gone stays on the list:
its tiles fail when they are asked for, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import JobError, asset_is_gone
from downloader.job import Job
from downloader.job.files import read_text
from downloader.model.image import Band, Image
from downloader.model.image_order import ImageOrder
from downloader.model.image_query import ImageQuery
from downloader.model.nodata import nodata_values
from downloader.model.time import instant_us
from downloader.planning import Existing, ImageList
from downloader.planning.composites import Composites
from downloader.planning.inputs import JobFiles
from downloader.planning.lattice import lattices_of
from downloader.planning.periods import WORDS, bounds_of, month_of
from downloader.planning.search_area import region_geojson, region_lonlat
from downloader.planning.series import Series, arrange, group_images, slice_label, slices_of
from downloader.planning.steps import Steps, step_facts, steps_of
from downloader.planning.zones import Zone, cells_of, zones_of
from downloader.protocols import Catalogue
from downloader.resolve.choose import Chooser
from downloader.resolve.elements import check_own_grid, find_elements, why_none
from downloader.resolve.lookup import look_up, source_facts
from downloader.resolve.partners import frozen_partners, with_partners
from downloader.resolve.resolved import ResolvedSource
from downloader.text import few

if TYPE_CHECKING:
    from downloader.model.grid import PixelGrid


_MAX_LIST_FILE: Final = 16 * 2**20


async def collect(
    job: Job,
    catalogue: Catalogue,
    files: JobFiles,
    existing: Existing | None = None,
    accept: Collection[str] = (),
) -> ResolvedSource:
    """Ask the catalogue for the images of a series.

    Args:
        job: its source is a collection or a list of images.
        catalogue: the service.
        files: contents of the files that the job names.
        existing: what the mosaic that is there has settled.
        accept: `new-images` takes images that arrived late.

    Raises:
        JobError: no image, no such collection, a list that cannot be read, a band that one lacks, no common lattice.
        AuthenticationError: the collection, or an image that the job names, may not be read.
    """
    facts = source_facts(job, files)
    frozen = existing.images if existing is not None else None
    if frozen is not None and frozen.facts.get("expression") != facts.get("expression"):
        existing = frozen = (
            None  # its elements have nothing to do with those of another; the mosaic is refused
        )
    meant = None if job.source.images is None else listed_ids(job)
    properties = tuple(dict.fromkeys([*(frozen.properties if frozen else ()), *job.source.properties]))
    found = await _found(job, catalogue, files, meant, frozen, properties)
    found, gone = await _with_unlisted(job, catalogue, found, meant, frozen)
    chooser = Chooser(job, frozen)
    found = await chooser.meeting(catalogue, files, found)
    named, notices = _merged(job, found, {image.name for image, _ in gone}, frozen, accept, chooser)
    if gone:
        notices.append(
            f"{few([image.id for image, _ in gone], 'image', most=3)}: cannot be read any more ({gone[0][1]}); what is stored stays, "
            "what is missing counts as failed"
        )
    source = job.source
    images = [image for _, members in named for image in members]
    steps = await with_partners(
        job, catalogue, files, steps_of(job, images, files.expression, files.like), images
    )
    partners, late = frozen_partners(steps.partners, named, frozen, accept)
    steps, notices = replace(steps, partners=partners), notices + late
    if source.expression is not None:
        check_own_grid(job, images)
    series = _arranged(job, files, named, properties, steps, existing)
    if steps.reducer is not None and not steps.of_elements:
        series = replace(series, composites=Composites(steps))
    _check_nodata(job, series)
    bands = tuple({band.id: band for lattice in series.lattices for band in lattice.bands}.values())
    facts |= {"every": source.every} | step_facts(job)
    shares = chooser.shares_told(images)
    listed = ImageList(tuple(named), _period(job), facts, properties, shares, chooser.coarse_m, partners)
    first = replace(named[0][1][0], bands=bands)
    return ResolvedSource(first, files, series=series, listed=listed, notices=tuple(notices))


def _arranged(
    job: Job,
    files: JobFiles,
    named: Sequence[tuple[str, tuple[Image, ...]]],
    properties: tuple[str, ...],
    steps: Steps,
    existing: Existing | None,
) -> Series:
    """Return the series on the lattices that its images share, or on those of each UTM zone. Raises JobError."""
    source, anchors = job.source, existing.lattices if existing is not None else ()

    def onto(bands: tuple[Band, ...]) -> PixelGrid:
        return _target(job, bands, files, named, existing)

    def series_of(members: Sequence[tuple[str, tuple[Image, ...]]], zone: Zone | None = None) -> Series:
        return arrange(
            [(label, tuple(views[image.name] for image in images)) for label, images in members],
            names,
            properties=properties,
            anchors=anchors,
            onto=None if job.grid.is_native else onto,
            zone=zone,
        )

    images = [image for _, members in named for image in members]
    views = {image.name: steps.view(image) for image in images}
    names = source.band_names
    if job.grid.zones is None or not named:
        return replace(series_of(named), slices=slices_of(named, properties, source.every, steps))
    names = names or tuple(band.id for band in views[images[0].name].bands)
    lattices = []
    # A mosaic keeps the zones that it has: images of others are resampled into those.
    known = dict.fromkeys(lattice.crs for lattice in anchors if lattice.crs.to_pyproj().utm_zone)
    last = steps.reducer is not None and steps.reducer.name == "last"
    for zone in cells_of(known) if known else zones_of(images, region_lonlat(job, files)):
        here = [(label, zone.members(members, last=last)) for label, members in named]
        parts = slices_of(here, properties, source.every, steps)
        lattices += [replace(lattice, parts=parts) for lattice in series_of(here, zone).lattices]
    found = zip(*(lattice.parts for lattice in lattices), strict=True)
    why = [next((part.why for part in parts if part.why), "") for parts in found]
    slices = slices_of(named, properties, source.every)
    told = tuple(replace(part, why=one) for part, one in zip(slices, why, strict=True))
    return Series(told, tuple(lattices))


async def find_again(job: Job, catalogue: Catalogue, files: JobFiles, listed: ImageList) -> dict[str, str]:
    """Full name → `updateTime` now, of the images of a list that are still there. Raises as `collect`."""
    if job.source.expression is not None and not any(image.update_time for image in listed.images):
        return {}  # nothing would tell a change
    meant = None if job.source.images is None else listed_ids(job)
    found = await _found(job, catalogue, files, meant, listed, ())
    found, _ = await _with_unlisted(job, catalogue, found, meant, listed)
    return {image.name: image.update_time for image in found}


async def _found(
    job: Job,
    catalogue: Catalogue,
    files: JobFiles,
    meant: list[str] | None,
    frozen: ImageList | None,
    properties: tuple[str, ...],
) -> list[Image]:
    """Return the images that the source names now, each once; `meant` are the ids it lists."""
    source = job.source
    if meant is not None:
        known = (
            frozenset(text for image in frozen.images for text in (image.name, image.id))
            if frozen
            else frozenset()
        )
        answers = await look_up(
            catalogue,
            meant,
            source.catalogue_bands,
            lambda asset, error: asset in known and asset_is_gone(error),
        )
        images = {image.name: image for image in answers.values() if isinstance(image, Image)}
        for image in images.values():
            if not image.start_time and source.every != "all":
                raise _dateless(image.id)
        return list(images.values())
    order = ImageOrder.parse(source.order_by)
    several = len(source.collections) > 1
    keep = {*properties, *({source.every} - set(WORDS)), *([order.name] if several and order.name else [])}
    months = source.months_taken
    # What is frozen is looked up whole: a limit would hide images that later ones have displaced. What is counted, or is
    # of several collections, is limited afterwards.
    counts = source.min_cover is not None or source.min_clear is not None
    limit = source.limit if frozen is None and not counts else None
    found: list[Image] = []
    asked = limit if len(months) == 12 and not several else None
    if source.expression is not None:
        found = await find_elements(job, catalogue, files, tuple(keep), asked)
    region = region_geojson(job, files)
    for collection in source.collections:
        if source.start is None:
            await _check_dateless(job, catalogue, collection, region)
        query = ImageQuery(
            collection, source.start, source.end, region, source.filter, limit=asked, order_by=source.order_by
        )
        listed = catalogue.images(query, bands=source.catalogue_bands, keep=keep)
        found += [image async for image in listed]
    if len(months) < 12:
        found = [image for image in found if month_of(instant_us(image.start_time)) in months]
    if source.expression is not None and frozen is None and not found:
        raise await why_none(job, catalogue, files)
    if several:
        found = order.sorted(
            found, lambda image: (order.rank(_times(image), image.properties), *_when(image)[1:])
        )
    return found if limit is None else found[:limit]


def _times(image: Image) -> dict[str, str]:
    """Return the times of an image that has them, as its document calls them."""
    times = {"startTime": image.start_time, "endTime": image.end_time, "updateTime": image.update_time}
    return {name: time for name, time in times.items() if time}


async def _check_dateless(job: Job, catalogue: Catalogue, collection: str, region: dict[str, Any]) -> None:
    """Raise JobError if the images of a collection have times, or if each would be a slice of none."""
    source = job.source
    query = ImageQuery(collection, region=region, filter=source.filter, limit=1)
    async for image in catalogue.images(query, bands=(), keep=()):
        if image.start_time:
            raise JobError(
                f"is needed with source.end: images of {collection} have times ({image.id}: {image.start_time}); "
                "write a date such as 2017-04-01",
                key="source.start",
            )
    if source.every != "all":
        raise _dateless(f"an image of {collection}")


def _dateless(what: str) -> JobError:
    return JobError(
        f"{what} has no time, so there is no time axis; write every: all with reduce: first, which mosaics the images, "
        "or name one as source.asset",
        key="source.every",
    )


async def _with_unlisted(
    job: Job, catalogue: Catalogue, found: list[Image], meant: list[str] | None, frozen: ImageList | None
) -> tuple[list[Image], list[tuple[Image, str]]]:
    """Images of the frozen list that the source names no more are asked for one by one; those that are gone, and why."""
    if frozen is None:
        return found, []
    names = {image.name for image in found}
    missing = [image for image in frozen.images if image.name not in names]
    if meant is not None:
        # What the list leaves out is no longer meant; it is for the comparison with the mosaic to say so.
        ids = frozenset(meant)
        missing = [image for image in missing if image.name in ids or image.id in ids]
    if job.source.expression is not None:
        return found, [(image, "the expression's collection has it no more") for image in missing]
    answers = await look_up(
        catalogue,
        [image.name for image in missing],
        job.source.catalogue_bands,
        lambda _, error: asset_is_gone(error),
    )
    gone = [
        (image, str(answers[image.name])) for image in missing if not isinstance(answers[image.name], Image)
    ]
    return [*found, *(now for now in answers.values() if isinstance(now, Image))], gone


def _merged(
    job: Job,
    found: list[Image],
    gone: set[str],
    frozen: ImageList | None,
    accept: Collection[str],
    chooser: Chooser,
) -> tuple[list[tuple[str, tuple[Image, ...]]], list[str]]:
    """Slices in the mosaic's order, new ones behind the frozen ones, and what there is to say."""
    source = job.source
    origin = chooser.origin_us
    if frozen is None:
        return group_images(sorted(chooser.take(found), key=_when), source.every, origin), []
    now = {image.name: image for image in found}
    named: dict[str, tuple[Image, ...]] = {}
    for label, members in frozen.named:
        kept = tuple(
            now.get(image.name, image) for image in members if image.name in now or image.name in gone
        )
        if kept:
            named[label] = kept
    there = {image.name for image in frozen.images}
    new = [image for image in found if image.name not in there]
    late = [
        image
        for image in new
        if (source.every == "all" and frozen.period is None)
        or (
            frozen.covers(instant_us(image.start_time))
            and not frozen.is_provisional(slice_label(image, source.every, origin), bounds_of)
        )
    ]
    notices = []
    if late and "new-images" not in accept:
        apart = {image.name for image in late}
        chooser.leave(late, "late")
        new = [image for image in new if image.name not in apart]
        where = (
            "not among the images that the mosaic was made of"
            if frozen.period is None
            else "inside the period that the mosaic covers, and not in it"
        )
        notices.append(
            f"{few([image.id for image in late], 'image', most=3)}: {where} (arrived "
            "late, or left out by source.limit); --accept new-images adds them"
        )
    for label, members in group_images(sorted(chooser.take(new), key=_when), source.every, origin):
        named[label] = tuple(sorted([*named.get(label, ()), *members], key=_when))
    return list(named.items()), notices


def _when(image: Image) -> tuple[bool, int, str]:
    time = instant_us(image.start_time)
    return (time is None, time or 0, image.id)


def _target(
    job: Job,
    bands: tuple[Band, ...],
    files: JobFiles,
    named: Sequence[tuple[str, tuple[Image, ...]]],
    existing: Existing | None,
) -> PixelGrid:
    """The lattice that the job asks for; one that keeps an image's corner keeps that of the mosaic that is there."""
    target = lattices_of(job, bands, files)[0]
    if target.is_endless:
        return target.grid
    crs = {band.grid.crs for _, members in named for image in members for band in image.bands}
    if len(crs) > 1:
        raise JobError(
            f"the images have the CRSs {', '.join(sorted(map(str, crs)))}; say which one all are brought "
            f"to, such as  grid: {{crs: {target.grid.crs}, resolution: {target.grid.transform.resolution}}}, or make a group for each "
            f"UTM zone:  grid: {{zones: each, resolution: {target.grid.transform.resolution}}}",
            key="grid.resolution",
        )
    for lattice in existing.lattices if existing is not None else ():
        if (
            lattice.crs == target.grid.crs
            and lattice.transform.pixel_size == target.grid.transform.pixel_size
        ):
            return lattice
    return target.grid


def _check_nodata(job: Job, series: Series) -> None:
    """Raise JobError if a band that a slice lacks has no nodata value to stand in its place."""
    bands = [band for lattice in series.lattices for band in lattice.bands]
    values = nodata_values(job.mosaic.nodata, bands)
    for lattice in series.lattices:
        for part, absent in zip(series.slices, lattice.absent, strict=True):
            lacking = [band for band in lattice.bands if band.id in absent and band.id not in values]
            if not lacking:
                continue
            who, band = part.id, lacking[0]
            raise JobError(
                f"{who} has no {band.id}, and {band.id} no nodata value to stand in its place; "
                f"give one in mosaic.nodata, such as {{{band.id}: 0}}, or leave the band out",
                key="source.on_missing_band",
            )


def _period(job: Job) -> tuple[int, int] | None:
    source = job.source
    if source.start is None:
        return None
    # What had not happened yet when the list was asked for is not covered.
    return instant_us(source.start or "") or 0, min(
        instant_us(source.end or "") or 0, round(time.time() * 1e6)
    )


def listed_ids(job: Job) -> list[str]:
    """Ids of `source.images`, each once: the list itself, or the lines of a file. Raises JobError."""
    images = job.source.images
    if not isinstance(images, str):
        return list(dict.fromkeys(images or ()))
    path = job.resolve(images)
    lines = read_text(
        path, _MAX_LIST_FILE, "name a file with one image id a line", "source.images"
    ).splitlines()
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise JobError(f"{path} names no image; write one id a line", key="source.images")
    return list(dict.fromkeys(found))
