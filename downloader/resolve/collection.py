"""List the images of a time series, and merge them with the list that the mosaic has frozen.

What is frozen keeps its place. Images of times that the list did not cover join by themselves; one that appeared
inside the period it covers arrived late, and joins only where that is accepted. One that is gone stays on the list:
its tiles fail when they are asked for, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Collection
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
from downloader.planning import ImageList
from downloader.planning.lattice import lattices_of
from downloader.planning.periods import WORDS
from downloader.planning.recipes import step_facts
from downloader.planning.search_area import region_geojson, region_lonlat
from downloader.planning.series import Series, arrange, group_images, slice_label, slices_of
from downloader.planning.steps import Steps
from downloader.planning.zones import Zone, cells_of, zones_of
from downloader.resolve.choose import Chooser
from downloader.resolve.elements import check_own_grid, find_elements, why_none
from downloader.resolve.lookup import Named, gone_told, in_months, look_up, source_facts, without
from downloader.resolve.partners import find_steps, frozen_partners
from downloader.resolve.resolved import ResolvedSource
from downloader.resolve.search import Search
from downloader.text import few

if TYPE_CHECKING:
    from downloader.model.grid import PixelGrid


_MAX_LIST_FILE: Final = 16 * 2**20


async def collect(search: Search) -> ResolvedSource:
    """Ask the catalogue for the images of a series.

    Args:
        search: its job's source is a collection, a list of images, or an expression of many.

    Raises:
        JobError: no image, no such collection, a list that cannot be read, a band that one lacks, no common lattice.
        AuthenticationError: the collection, or an image that the job names, may not be read.
    """
    job, source = search.job, search.job.source
    facts, frozen = source_facts(job, search.files), search.frozen
    if frozen is not None and frozen.facts.get("expression") != facts.get("expression"):
        # Its elements have nothing to do with those of another expression: the mosaic is refused.
        search, frozen = replace(search, existing=None), None
    properties = tuple(dict.fromkeys([*(frozen.properties if frozen else ()), *source.properties]))
    found, gone = await _found(search, frozen, properties)
    chooser = Chooser(search)
    found = await chooser.meeting(found)
    named, notices = _merged(search, found, gone, chooser)
    notices += gone_told(gone)
    images = [image for _, members in named for image in members]
    steps = await find_steps(search, images)
    partners, late = frozen_partners(steps.partners, named, frozen, search.accept)
    steps, notices = replace(steps, partners=partners), notices + late
    if source.expression is not None:
        check_own_grid(job, images)
    series = _arranged(search, named, properties, steps)
    if steps.reducer is not None and not steps.of_elements:
        series = replace(series, composites=steps)
    _check_nodata(job, series)
    bands = tuple({band.id: band for lattice in series.lattices for band in lattice.bands}.values())
    facts |= {"every": source.every} | step_facts(job)
    shares = chooser.shares_told(images)
    listed = ImageList(tuple(named), _period(job), facts, properties, shares, chooser.coarse_m, partners)
    first = replace(named[0][1][0], bands=bands)
    return ResolvedSource(first, search.files, series=series, listed=listed, notices=tuple(notices))


def _arranged(search: Search, named: Named, properties: tuple[str, ...], steps: Steps) -> Series:
    """Return the series on the lattices that its images share, or on those of each UTM zone. Raises JobError."""
    job, source = search.job, search.job.source
    anchors = search.existing.lattices if search.existing is not None else ()

    def onto(bands: tuple[Band, ...]) -> PixelGrid:
        return _target(search, bands, named)

    def series_of(members: Named, zone: Zone | None = None) -> Series:
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
    for zone in cells_of(known) if known else zones_of(images, region_lonlat(job, search.files)):
        here = [(label, zone.members(members, last=last)) for label, members in named]
        parts = slices_of(here, properties, source.every, steps)
        lattices += [replace(lattice, parts=parts) for lattice in series_of(here, zone).lattices]
    found = zip(*(lattice.parts for lattice in lattices), strict=True)
    why = [next((part.why for part in parts if part.why), "") for parts in found]
    slices = slices_of(named, properties, source.every)
    told = tuple(replace(part, why=one) for part, one in zip(slices, why, strict=True))
    return Series(told, tuple(lattices))


async def find_again(search: Search, listed: ImageList) -> dict[str, str]:
    """Return the full name and the present `updateTime` of the images of a list that are still there. Raises as `collect`."""
    if search.job.source.expression is not None and not any(image.update_time for image in listed.images):
        return {}  # nothing would tell a change
    found, _ = await _found(search, listed, ())
    return {image.name: image.update_time for image in found}


async def _found(
    search: Search, frozen: ImageList | None, properties: tuple[str, ...]
) -> tuple[list[Image], dict[str, str]]:
    """Return the images that the source names now or that are frozen, each once, and by id why others cannot be read."""
    source, found = search.job.source, list[Image]()
    known = list(frozen.images) if frozen is not None else []
    if source.images is not None:
        # What the list leaves out is no longer meant; it is for the comparison with the mosaic to say so.
        asked = listed_ids(search.job)
    else:
        found = await _listed(search, frozen, properties)
        missing = without(known, found)
        if source.expression is not None:
            return found, {one.id: "the expression's collection has it no more" for one in missing}
        asked = [image.name for image in missing]
    ids = {text: image.id for image in known for text in (image.name, image.id)}
    answers = await look_up(
        search.catalogue,
        asked,
        source.catalogue_bands,
        lambda asset, error: asset in ids and asset_is_gone(error),
    )
    named = {image.name: image for image in answers.values() if isinstance(image, Image)}
    for image in named.values():
        if not image.start_time and source.every != "all":
            raise _dateless(image.id)
    gone = {ids[asset]: str(one) for asset, one in answers.items() if not isinstance(one, Image)}
    return [*found, *named.values()], gone


async def _listed(search: Search, frozen: ImageList | None, properties: tuple[str, ...]) -> list[Image]:
    """Return the images that a collection or an expression has now in the job's period and region."""
    job, source = search.job, search.job.source
    order = ImageOrder.parse(source.order_by)
    several = len(source.collections) > 1
    keep = {*properties, *({source.every} - set(WORDS)), *([order.name] if several and order.name else [])}
    # What is frozen is looked up whole: a limit would hide images that later ones have displaced. What is counted, or is
    # of several collections, is limited afterwards.
    counts = source.min_cover is not None or source.min_clear is not None
    limit = source.limit if frozen is None and not counts else None
    asked = limit if len(source.months_taken) == 12 and not several else None
    found: list[Image] = []
    if source.expression is not None:
        found = await find_elements(search, tuple(keep), asked)
    region = region_geojson(job, search.files)
    for collection in source.collections:
        if source.start is None:
            await _check_dateless(search, collection, region)
        query = ImageQuery(
            collection, source.start, source.end, region, source.filter, asked, source.order_by
        )
        found += await search.catalogue.images(replace(query, bands=source.catalogue_bands, keep=keep))
    found = in_months(job, found)
    if source.expression is not None and frozen is None and not found:
        raise await why_none(search)
    if several:
        found = order.sorted((order.key_of(image), image) for image in found)
    return found[:limit]


async def _check_dateless(search: Search, collection: str, region: dict[str, Any]) -> None:
    """Raise JobError if the images of a collection have times, or if each would be a slice of none."""
    source = search.job.source
    query = ImageQuery(collection, region=region, filter=source.filter, limit=1, bands=(), keep=())
    for image in await search.catalogue.images(query):
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


def _merged(
    search: Search, found: list[Image], gone: Collection[str], chooser: Chooser
) -> tuple[Named, list[str]]:
    """Return the slices in the mosaic's order, new ones behind the frozen ones, and notices of images that arrived late."""
    frozen, every, origin = search.frozen, search.job.source.every, chooser.origin_us
    now = {image.name: image for image in found}
    named: dict[str, tuple[Image, ...]] = {}
    for label, members in frozen.named if frozen is not None else ():
        kept = tuple(now.get(one.name, one) for one in members if one.name in now or one.id in gone)
        if kept:
            named[label] = kept
        for image in members:
            now.pop(image.name, None)
    late: dict[str, Image] = {}
    if frozen is not None and "new-images" not in search.accept:
        late = {
            name: image
            for name, image in now.items()
            if (every == "all" and frozen.period is None)
            or (
                frozen.covers(instant_us(image.start_time))
                and not frozen.is_provisional(slice_label(image, every, origin))
            )
        }
    chooser.leave(late.values(), "late")
    new = chooser.take([image for name, image in now.items() if name not in late])
    for label, members in group_images(sorted(new, key=_when), every, origin):
        named[label] = tuple(sorted([*named.get(label, ()), *members], key=_when))
    if not late:
        return list(named.items()), []
    where = (
        "not among the images that the mosaic was made of"
        if frozen is None or frozen.period is None
        else "inside the period that the mosaic covers, and not in it"
    )
    told = (
        f"{few([image.id for image in late.values()], 'image', most=3)}: {where} (arrived late, or left out by "
        "source.limit); --accept new-images adds them"
    )
    return list(named.items()), [told]


def _when(image: Image) -> tuple[bool, int, str]:
    time = instant_us(image.start_time)
    return (time is None, time or 0, image.id)


def _target(search: Search, bands: tuple[Band, ...], named: Named) -> PixelGrid:
    """Return the lattice that the job asks for; one that keeps an image's corner keeps that of the mosaic that is there."""
    target = lattices_of(search.job, bands, search.files)[0]
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
    for lattice in search.existing.lattices if search.existing is not None else ():
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
    end = min(instant_us(source.end or "") or 0, round(time.time() * 1e6))
    return instant_us(source.start) or 0, end


def listed_ids(job: Job) -> list[str]:
    """Return the ids of `source.images`, each once: the list itself, or the lines of a file. Raises JobError."""
    images = job.source.images
    if not isinstance(images, str):
        return list(dict.fromkeys(images or ()))
    path = job.resolve(images)
    text = read_text(path, _MAX_LIST_FILE, "name a file with one image id a line", "source.images")
    lines = map(str.strip, text.splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise JobError(f"{path} names no image; write one id a line", key="source.images")
    return list(dict.fromkeys(found))
