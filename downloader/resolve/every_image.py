"""Find all images of each point in its window of dates: listed once over all points, and matched here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.datasets.clouds import CLOUD_PROPERTIES
from downloader.errors import JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.image import Image
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us, timestamp
from downloader.planning.samples import Points
from downloader.protocols import Catalogue
from downloader.resolve.nearest import around, checked, covering, listed_images, named_images
from downloader.text import counted, duration, few

_NOTHING: Final[Mapping[int, Sequence[str]]] = {}

_ALWAYS: Final = (-(2**62), 2**62)
"""A window without ends, in microseconds since 1970."""

_NAMEABLE: Final = (instant_us("0001-01-01") or 0, instant_us("9999-12-31") or 0)
"""First and last time that a listing can be asked for."""

_LONGEST_S: Final = 4e11
"""Seconds of all years that a date can name, and more."""


@dataclass(frozen=True, slots=True)
class EveryImage:
    """The images of points."""

    of_point: dict[int, list[Image]]
    """Number of the point → its images, by time and then by id; points without one are left out."""
    window: str
    """The period of each point, in words that tell it from others but for `source.start` and `end`."""
    period: tuple[int, int] | None
    """These; None where they are not given."""
    notices: tuple[str, ...]


async def every_image(
    job: Job, catalogue: Catalogue, points: Points, kept: Mapping[int, Sequence[str]] = _NOTHING
) -> EveryImage:
    """Return the images that cover each point in its window: from `start` to `end`, and around its date.

    On native pixels only those of a point's images are taken that are in the CRS that most of them have, or that those have
    which are kept: where zones overlap, the others show the same again.

    Args:
        job: whose source has many images.
        catalogue: the service.
        points: the places.
        kept: point → full names of the images that a mosaic has of it.

    Raises:
        JobError: there is no such collection, an image of the list cannot be read, a point lacks its date, or names an
            image.
        AuthenticationError: it may not be read.
    """
    first, last, window, period = _windows(job, points)
    source = job.source
    if source.collection is None:
        images = await named_images(job, catalogue)
    else:
        query = ImageQuery(
            source.collections[0],
            timestamp(max(int(first.min()), _NAMEABLE[0])),
            timestamp(min(int(last.max()), _NAMEABLE[1])),
            around(points.rows),
            source.filter,
        )
        images = await listed_images(job, catalogue, query, CLOUD_PROPERTIES)
    taken: dict[int, list[tuple[int, str, Crs, Image]]] = {}
    wrong: list[JobError] = []
    for image, time, crs, covered in covering(job, points, images, wrong):
        plain = replace(image, footprint=None)
        for k in np.flatnonzero(covered & (first <= time) & (time < last)).tolist():
            taken.setdefault(k, []).append((time, image.id, crs, plain))
    of_point, elsewhere = {}, 0
    for number in sorted(checked(taken, wrong)):
        own = sorted(taken[number], key=lambda one: one[:2])
        most = Counter(crs for _, _, crs, _ in own).most_common(1)[0][0]
        names = set(kept.get(number, ()))
        crs = next((crs for _, _, crs, image in own if image.name in names), most)
        of_point[number] = [image for _, _, its, image in own if its == crs or not job.grid.is_native]
        elsewhere += len(own) - len(of_point[number])
    notices = [f"images of which nothing can be made are left out: {wrong[0]}"] if wrong else []
    if lacking := [row.id for number, row in enumerate(points.rows) if number not in of_point]:
        notices.append(f"{counted(len(lacking), 'point')} without an image: {few(lacking)}")
    if elsewhere:
        notices.append(
            f"{counted(elsewhere, 'image')} of points in another CRS than most of the point's: left out; a grid takes them too"
        )
    return EveryImage(of_point, window, period, tuple(notices))


def _windows(
    job: Job, points: Points
) -> tuple[NDArray[np.int64], NDArray[np.int64], str, tuple[int, int] | None]:
    """Return the first microsecond of each point's window, the first behind it, the windows in words, and start and end."""
    spec, source, key = job.region.samples, job.source, job.region.samples_key
    assert spec is not None  # noqa: S101  # the job has samples
    named = next((row for row in points.rows if row.image), None)
    if named is not None:
        raise JobError(
            f"{named.where}, column image: names one image, and all of each point's are taken; leave the column out, or "
            "write source.pick: nearest",
            key=f"{key}.file",
        )
    start = instant_us(source.start or "")
    end = instant_us(source.end or "")
    first = np.full(len(points.rows), _ALWAYS[0] if start is None else start)
    last = np.full(len(points.rows), _ALWAYS[1] if end is None else end)
    period = None if start is None or end is None else (start, end)
    words = [] if period is None else ["from source.start to end"]
    if spec.before is not None or spec.after is not None:
        lacking = next((row for row in points.rows if not row.date), None)
        if lacking is not None:
            raise JobError(
                f"{lacking.where}: has no date, from which {key}.before and after count; fill in column date",
                key=f"{key}.file",
            )
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
