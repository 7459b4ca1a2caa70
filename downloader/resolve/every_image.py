"""Find all images of each point in its window of dates: listed once over all points, and matched here.

What a mosaic has frozen stays: of a longer period the images behind the frozen ones follow after them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.datasets.clouds import CLOUD_PROPERTIES
from downloader.errors import JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.image import Image
from downloader.model.time import instant_us, timestamp
from downloader.planning.samples import Points, SampleList
from downloader.resolve.clearest import clearest_images
from downloader.resolve.covering import (
    PointImages,
    candidates,
    checked,
    covering,
    refuse_first,
    uncovered,
)
from downloader.resolve.lookup import gone_told, is_of_one_image, look_up
from downloader.resolve.search import Search
from downloader.text import counted, duration, few

_ALWAYS: Final = (-(2**62), 2**62)
"""A window without ends, in microseconds since 1970."""

_NAMEABLE: Final = (instant_us("0001-01-01") or 0, instant_us("9999-12-31") or 0)
"""First and last time that a listing can be asked for."""

_LONGEST_S: Final = 4e11
"""Seconds of all years that a date can name, and more."""


async def every_image(search: Search) -> PointImages:
    """Return the images that cover each point in its window: from `start` to `end`, and around its date.

    On native pixels only those of a point's images are taken that are in the CRS that most of them have, or that those have
    which are frozen: where zones overlap, the others show the same again.

    Args:
        search: its job has points, and its source many images.

    Raises:
        JobError: there is no such collection, an image of the list cannot be read, a point lacks its date, or names an
            image; no point has an image.
        AuthenticationError: it may not be read.
    """
    job, source, points, frozen = search.job, search.job.source, search.points, search.frozen_samples
    first, last, window, period = _windows(job, points)
    start, end = max(int(first.min()), _NAMEABLE[0]), min(int(last.max()), _NAMEABLE[1])
    listed = await candidates(search, points.rows, timestamp(start), timestamp(end), CLOUD_PROPERTIES)
    taken: dict[int, list[tuple[int, str, Crs, Image]]] = {}
    wrong: list[JobError] = []
    for image, time, crs, covered in covering(job, points, listed, wrong):
        for k in np.flatnonzero(covered & (first <= time) & (time < last)).tolist():
            taken.setdefault(k, []).append((time, image.id, crs, image))
    kept = _kept_names(points, frozen) if frozen is not None and frozen.steps else {}
    found, elsewhere = _in_one_crs(job, checked(taken, wrong), kept)
    notices = [f"images of which nothing can be made are left out: {wrong[0]}"] if wrong else []
    if lacking := [row.id for number, row in enumerate(points.rows) if number not in found]:
        notices.append(f"{counted(len(lacking), 'point')} without an image: {few(lacking)}")
    if elsewhere:
        notices.append(
            f"{counted(elsewhere, 'image')} of points in another CRS than most of the point's: left out; a grid takes them too"
        )
    now = {image.name: image for own in found.values() for image in own}
    known = search.sample_images
    lost = {name for names in kept.values() for name in names if name not in now}
    if source.collection is None:  # what the job's list leaves out is a difference, and refused as one
        kept, lost = (
            {number: [name for name in names if name in now] for number, names in kept.items()},
            set(),
        )
    answers = await look_up(search.catalogue, sorted(lost), source.catalogue_bands, is_of_one_image)
    gone = {known[name].id: str(one) for name, one in answers.items() if not isinstance(one, Image)}
    now |= {name: one if isinstance(one, Image) else known[name] for name, one in answers.items()}
    stay = {number: [now[name] for name in names] for number, names in kept.items()}
    before = search.frozen.period if search.frozen is not None else None
    for number, names in kept.items():
        # What joins a collection in a period that is frozen stays out; a list of images is what the job says.
        found[number] = [
            image
            for image in found.get(number, ())
            if image.name not in names
            and (source.collection is None or (before is not None and not _is_in(image, before)))
        ]
    if source.clearest is not None:
        origin_us = instant_us(source.start or "") or 0 if before is None else before[0]
        found = await clearest_images(search, found, stay, origin_us)
    for number, own in stay.items():
        found[number] = [*own, *found.get(number, ())]
    most = max(map(len, found.values()), default=0)
    if not most:
        raise JobError(
            f"none of the {len(points.rows):,} points has an image; of the first: {uncovered(job, points.rows[0])}",
            key=job.region.samples_key,
        )
    steps = max(most, frozen.steps if frozen is not None else 0)
    chosen = {number * steps + k: image for number, own in found.items() for k, image in enumerate(own)}
    return PointImages(chosen, {}, [*notices, *gone_told(gone)], steps, window, period)


def _kept_names(points: Points, frozen: SampleList) -> dict[int, list[str]]:
    """Return the full names of the images of each point that a mosaic has and of which the file says the same."""
    return {
        number: [one.image for one in frozen.of_point(number) if one.image]
        for number, (first, row) in enumerate(zip(frozen.firsts, points.rows, strict=False))
        if first.point.said == row.said
    }


def _in_one_crs(
    job: Job, taken: Mapping[int, list[tuple[int, str, Crs, Image]]], kept: Mapping[int, Collection[str]]
) -> tuple[dict[int, list[Image]], int]:
    """Return each point's images by time and then by id, and the number of those left out for their CRS."""
    found = {}
    for number in sorted(taken):
        own = sorted(taken[number], key=lambda one: one[:2])
        most = Counter(crs for _, _, crs, _ in own).most_common(1)[0][0]
        crs = next((crs for _, _, crs, image in own if image.name in kept.get(number, ())), most)
        found[number] = [image for _, _, its, image in own if its == crs or not job.grid.is_native]
    return found, sum(map(len, taken.values())) - sum(map(len, found.values()))


def _is_in(image: Image, period: tuple[int, int]) -> bool:
    time = instant_us(image.start_time)
    return time is not None and period[0] <= time < period[1]


def _windows(
    job: Job, points: Points
) -> tuple[NDArray[np.int64], NDArray[np.int64], str, tuple[int, int] | None]:
    """Return the first microsecond of each point's window, the first behind it, the windows in words, and start and end."""
    spec, source, key = job.region.samples, job.source, job.region.samples_key
    assert spec is not None  # noqa: S101  # the job has samples
    named = (row for row in points.rows if row.image)
    told = ", column image: names one image, and all of each point's are taken; leave the column out, or write source.pick: nearest"
    refuse_first(job, named, told)
    start, end = instant_us(source.start or ""), instant_us(source.end or "")
    first = np.full(len(points.rows), _ALWAYS[0] if start is None else start)
    last = np.full(len(points.rows), _ALWAYS[1] if end is None else end)
    period = None if start is None or end is None else (start, end)
    words = [] if period is None else ["from source.start to end"]
    if spec.before is not None or spec.after is not None:
        lacking = (row for row in points.rows if not row.date)
        told = f": has no date, from which {key}.before and after count; fill in column date"
        refuse_first(job, lacking, told)
        before, after = (min(seconds or 0.0, _LONGEST_S) for seconds in (spec.before, spec.after))
        dates = np.array([instant_us(row.date) or 0 for row in points.rows])
        first = np.maximum(first, dates - round(before * 1e6))
        last = np.minimum(last, dates + round(after * 1e6))
        words.append(f"{duration(before)} before to {duration(after)} after the date")
    if not (first < last).any():
        raise JobError(
            f"no point's window holds a moment; widen {key}.before and after, or source.start and end",
            key=key,
        )
    return first, last, ", ".join(words) or "at any time", period
