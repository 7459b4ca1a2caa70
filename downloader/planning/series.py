"""Images of a collection as a time series: one common lattice, a slice for each image or set of images.

Nothing is warped to make images fit: those that share no lattice are refused, with the grids that were found.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.errors import JobError
from downloader.model.grid import PixelGrid
from downloader.model.image import Band, Image
from downloader.model.time import instant_us
from downloader.planning.cover import Cover
from downloader.planning.inputs import NO_FILES, JobFiles
from downloader.planning.lattice import Lattice, check_lattices, covered_window, lattices_of, offset_on
from downloader.planning.periods import PERIODS, WORDS, bounds_of, period_of
from downloader.planning.search_area import middle_of
from downloader.planning.slices import Axis, Slice
from downloader.planning.steps import Steps
from downloader.planning.zones import Zone, system_of

if TYPE_CHECKING:
    from downloader.job import Job


@dataclass(frozen=True, slots=True)
class Series:
    """Slices of images, and the lattices that they share."""

    slices: tuple[Slice, ...]
    lattices: tuple[Lattice, ...]
    """In the order in which their first band is asked for."""
    axis: Axis = "time"
    """The leading axis; empty for one image."""
    composites: Steps | None = None
    """What computes parts of slices of several images; None where the slices' own expressions do."""

    def expression(self, part: Slice, lattice: PixelGrid, grid: PixelGrid) -> str:
        """Return the expression of pixels of a slice; empty where they are read. Arguments as of `Steps.part_expression`."""
        if self.composites is None or not part.members:
            return part.expression
        return self.composites.part_expression(part.members, lattice, grid)


def series_of_one(job: Job, image: Image, part: Slice | None = None, files: JobFiles = NO_FILES) -> Series:
    """Return one image as a series of one slice, on the lattices that the job asks for.

    Args:
        job: what the user asks for.
        image: with the bands that are made of it.
        part: what is computed; None where the image is read.
        files: contents of the files that the job names.

    Raises:
        JobError: a band that does not exist, or is named twice; a grid that cannot be.
    """
    bands = image.select(job.source.band_names)
    if not bands:
        raise JobError(f"{image.id} has no bands", key="source.asset")
    names = [band.id for band in bands]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise JobError(f"{', '.join(sorted(repeated))} is named more than once", key="source.bands")
    lattices = lattices_of(job, bands, files)
    slices = slices_of([(image.id, (image,))]) if part is None else (part,)
    return Series(slices, tuple(replace(one, absent=(frozenset(),)) for one in lattices), "")


def group_images(
    images: Iterable[Image], every: str, origin_us: int = 0
) -> list[tuple[str, tuple[Image, ...]]]:
    """Return the slices of images, each with its name: one image each, or those of a period or of a property's value.

    Args:
        images: in the order of time.
        every: `source.every`: image, all, one of `PERIODS`, `solar_day` (the day where the image lies), or a property.
        origin_us: moment that the first period of `16d` begins at.

    Raises:
        JobError: an image without the time or the property.
    """
    if every == "image":
        return [(image.id, (image,)) for image in images]
    found: dict[str, list[Image]] = {}
    for image in images:
        found.setdefault(slice_label(image, every, origin_us), []).append(image)
    return [(label, tuple(members)) for label, members in found.items()]


def slice_label(image: Image, every: str, origin_us: int = 0) -> str:
    """Return the name of the slice that an image belongs to. Arguments and errors as of `group_images`."""
    if every in {"image", "all"}:
        return image.id if every == "image" else "all"
    if every == "solar_day" or every in PERIODS:
        time = instant_us(image.start_time)
        if time is None:
            raise JobError(
                f"{image.id} has no time; write every: all, every: image or a property", key="source.every"
            )
        if every in PERIODS:
            return period_of(time, every, origin_us)
        # The sun's time, not a time zone's: 15 degrees of longitude are an hour.
        return period_of(time + round(_longitude(image) / 15 * 3600e6), "day")
    if every not in image.properties:
        near = difflib.get_close_matches(every, WORDS, n=1)
        raise JobError(
            f"{image.id} has no property {every!r}{f' (did you mean {near[0]}?)' if near else ''}; use image, day, solar_day, 16d, month, season, year, all, or a "
            "property that all of the images have (`downloader inspect` shows them)",
            key="source.every",
        )
    return str(image.properties[every])


def _longitude(image: Image) -> float:
    """Return the longitude of the middle of an image's footprint; without a footprint, of its pixels."""
    if image.longitude is not None:
        return image.longitude
    middle = middle_of(image.bands[0].grid) if image.bands else None
    if middle is None:
        raise JobError(
            f"{image.id} has no footprint, and its pixels no longitude, so no solar day; write every: day (UTC)",
            key="source.every",
        )
    return middle[0]


def arrange(
    named: Sequence[tuple[str, tuple[Image, ...]]],
    bands: tuple[str, ...] | None,
    *,
    properties: Sequence[str] = (),
    anchors: Sequence[PixelGrid] = (),
    onto: Callable[[tuple[Band, ...]], PixelGrid] | None = None,
    zone: Zone | None = None,
) -> Series:
    """Return the slices and the lattices they share.

    Args:
        named: each slice's name and images, as `group_images` gives them.
        bands: asked for; None for those of the first image.
        properties: kept along the axis.
        anchors: lattices that a mosaic has already; bands that lie on one are counted from its origin, so that an
            earlier image does not move the grid.
        onto: gives the lattice that the service resamples all bands onto, where the job asks for one; it is endless.
        zone: whose own images give the lattices; the others are resampled onto them, and slices may be empty.

    Raises:
        JobError: no image, a band that none has, types or lattices that differ.
    """
    if not named:
        raise JobError("no image matches; widen the period, the region or the filter", key="source")
    wanted = bands if bands is not None else tuple(band.id for band in named[0][1][0].bands)
    if not wanted:
        raise JobError(f"{named[0][1][0].id} has no bands; name those to fetch", key="source.bands")
    own = named
    if zone is not None:
        _first_of_each(named, wanted)  # raises where types differ between zones
        own = [
            (label, tuple(one for one in members if system_of(one) == zone.crs)) for label, members in named
        ]
    catalogue = _first_of_each(own, wanted)
    of = tuple(catalogue[name] for name in wanted)
    shared: dict[PixelGrid, list[Band]] = {}
    if onto is not None:
        shared[onto(of)] = list(of)
    else:
        check_lattices(own, catalogue)
        for band in of:
            fits = (known for known in (*shared, *anchors) if offset_on(known, band.grid) is not None)
            shared.setdefault(next(fits, band.grid), []).append(band)
    lattices = tuple(_lattice(named, anchor, tuple(members)) for anchor, members in shared.items())
    absent = tuple(
        frozenset(wanted if members else ()) - {band.id for image in members for band in image.bands}
        for _, members in named
    )
    lattices = tuple(replace(lattice, absent=absent, zone=zone) for lattice in lattices)
    return Series(slices_of(named, properties), lattices)


def slices_of(
    named: Sequence[tuple[str, tuple[Image, ...]]],
    properties: Sequence[str] = (),
    every: str = "image",
    steps: Steps | None = None,
) -> tuple[Slice, ...]:
    """Return the slices along the time axis.

    Args:
        named: each slice's name and images.
        properties: kept of each slice's first image.
        every: `source.every`; a period longer than a day has the time at which it begins, other slices that of their first image.
        steps: what computes them; without it the slices say what lies along the axis, not how to fetch it.
    """
    return tuple(_slice(label, members, properties, every, steps) for label, members in named)


def _first_of_each(
    named: Sequence[tuple[str, tuple[Image, ...]]], wanted: tuple[str, ...]
) -> dict[str, Band]:
    """Return the first band of each name; every other of the name must be of its type and lattice."""
    found: dict[str, Band] = {}
    for _, members in named:
        for image in members:
            own = {band.id: band for band in image.bands}
            for name in wanted:
                band = own.get(name)
                if band is None:
                    continue
                known = found.setdefault(name, band)
                if known.dtype != band.dtype:
                    raise JobError(
                        f"{name} is {known.dtype} in {named[0][1][0].id} and {band.dtype} in {image.id}; one "
                        "array has one type: choose images of one kind with source.filter",
                        key="source",
                    )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise JobError(f"no image has a band {missing[0]!r}", key="source.bands")
    return found


def _lattice(
    named: Sequence[tuple[str, tuple[Image, ...]]], anchor: PixelGrid, bands: tuple[Band, ...]
) -> Lattice:
    names = {band.id for band in bands}
    own = (band for _, members in named for image in members for band in image.bands if band.id in names)
    if not all(band.is_bounded for band in own):
        # What is computed without an edge covers everything, and the region alone bounds it.
        return Lattice(anchor, tuple(replace(band, is_bounded=False) for band in bands), is_endless=True)
    extents: list[Cover] = []
    for _, members in named:
        grids = dict.fromkeys(b.grid for image in members for b in image.bands if b.id in names)
        extents.append(tuple(dict.fromkeys(covered_window(anchor, grid) for grid in grids)))
    return Lattice(anchor, bands, extents=tuple(extents))


def _slice(
    label: str, members: tuple[Image, ...], properties: Sequence[str], every: str, steps: Steps | None
) -> Slice:
    if not members:
        return Slice(label)  # of a zone that no image of the slice reaches
    first = members[0]
    expression = "" if steps is None else steps.expression(members)
    period = None if every == "day" else bounds_of(label, every)
    inputs = [(image.name, image.update_time) for image in members]
    return Slice(
        id=label,
        asset="" if expression or len(members) > 1 else first.name,
        expression=expression,
        time_us=instant_us(first.start_time) if period is None else period[0],
        images=tuple(inputs),
        why="" if steps is None else steps.why(len(members)),
        members=members if expression and len(members) > 1 else (),
        properties={name: first.properties.get(name) for name in properties},
    )
