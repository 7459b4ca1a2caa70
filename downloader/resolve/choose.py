"""Choose among the images of a source: by shares of the region, by number, by how much they show of it.

What is frozen stays, whatever is counted of it now; of a period that has its picks no other image is taken.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from downloader.errors import JobError
from downloader.model.image import Image
from downloader.model.time import instant_us, timestamp
from downloader.planning import ImageList
from downloader.planning.image_shares import ImageShare, coarse_grid
from downloader.planning.lattice import pixel_area
from downloader.planning.periods import period_of
from downloader.planning.search_area import region_lonlat
from downloader.planning.steps import Steps
from downloader.resolve.lookup import without
from downloader.resolve.measure import measure
from downloader.resolve.partners import find_steps
from downloader.resolve.search import Search


def finest_side_m(steps: Steps, images: Iterable[Image]) -> float:
    """Return the metres of the smallest pixels of the bands that are made of images; 1 where there are none."""
    areas = (pixel_area(band.grid) for image in images for band in steps.view(image).bands)
    return math.sqrt(min(areas, default=1.0))


def picked_period(image: Image, per: str, origin_us: int) -> str:
    """Return the label of the period that an image is picked of, such as `2017-JJA`; see `period_of`.

    Raises:
        JobError: there are periods, and the image has no time.
    """
    if per == "all":
        return "all"
    time_us = instant_us(image.start_time)
    if time_us is None:
        raise JobError(f"{image.id} has no time, so no {per}; write per: all", key="source.pick.per")
    return period_of(time_us, per, origin_us)


def pick_clearest(
    images: Iterable[Image],
    most: int,
    taken: Counter[str],
    period: Callable[[Image], str],
    shows: Callable[[Image], float],
) -> list[Image]:
    """Return the images of each period that show most, the clearest first; of equal ones the earliest, then by id.

    Args:
        images: candidates.
        most: images of each period, those in `taken` included.
        taken: images of each period that are taken already; counted on here.
        period: returns the label of an image's period.
        shows: returns the share of the region that an image shows.
    """
    picked = []
    for image in sorted(images, key=lambda one: (-shows(one), instant_us(one.start_time) or 0, one.id)):
        if taken[period(image)] < most:
            taken[period(image)] += 1
            picked.append(image)
    return picked


class Chooser:
    """The choice of one run, and what left each of the other images out."""

    def __init__(self, search: Search) -> None:
        """Begin with what a mosaic has frozen.

        Args:
            search: its job's source is a collection or a list of images.

        Raises:
            JobError: periods of 16 days would not be those of the mosaic.
        """
        self._search, self._source, frozen = search, search.job.source, search.frozen
        self._there = {image.name for image in frozen.images} if frozen else set()
        self._shares = {share.id: share for share in frozen.shares} if frozen else {}
        self._left: dict[str, str] = {}
        self.coarse_m = frozen.coarse_m if frozen else 0.0
        """Metres of the pixels that are counted; 0 where nothing is."""
        self.origin_us = self._origin(frozen)
        """Moment that periods of 16 days are counted from."""
        self._taken = Counter(map(self._period, frozen.images if frozen else ()))

    async def meeting(self, found: list[Image]) -> list[Image]:
        """Return the images that meet `min_cover` and `min_clear`, and may be picked where the job picks.

        Raises:
            JobError: there is none; an image lacks a band; what `measure` raises.
        """
        source = self._source
        by_share = source.min_cover is not None or source.min_clear is not None
        if not found or not (by_share or source.clearest is not None):
            return found
        if (pick := source.clearest) is not None:  # a period that has its picks takes no others
            new = [image for image in found if image.name not in self._there]
            full = [image for image in new if self._taken[self._period(image)] >= pick.clearest]
            self.leave(full, "pick")
            found = without(found, full)
        fresh = [image for image in found if by_share or image.name not in self._there]
        await self._count(found, fresh)
        why = {one.id: one.left_out(source.min_cover, source.min_clear) for one in self._shares.values()}
        lacks = {one.id for one in self._shares.values() if one.lacks and source.clearest is not None}
        kept = [
            image
            for image in found
            if image.name in self._there or not (why.get(image.id) or image.id in lacks)
        ]
        self.leave([image for image in found if image.id in lacks], "pick")
        if not kept:
            raise self._none(found, why)
        return kept

    def take(self, new: Sequence[Image]) -> list[Image]:
        """Return those of the new images that `limit` and then `pick` let in.

        Args:
            new: in the order that `limit` counts by.
        """
        source = self._source
        if source.limit is not None:
            room = max(0, source.limit - len(self._there))
            self.leave(new[room:], "limit")
            new = new[:room]
        if source.clearest is None:
            return list(new)
        most, shares = source.clearest.clearest, self._shares
        picked = pick_clearest(new, most, self._taken, self._period, lambda one: shares[one.id].shows)
        self.leave(without(new, picked), "pick")
        return picked

    def leave(self, images: Iterable[Image], by: str) -> None:
        """Note the reason that leaves these images out; see `ImageShare.left_by`."""
        self._left.update(dict.fromkeys((image.id for image in images), by))

    def shares_told(self, kept: Iterable[Image]) -> tuple[ImageShare, ...]:
        """Return the shares of every image that was counted, now or before; of those not kept with the reason."""
        ids = {image.id for image in kept}
        told = []
        for share in self._shares.values():
            by = "" if share.id in ids else self._left.get(share.id, share.left_by)
            # What a limit left out of the list looks late from the second run on.
            told.append(replace(share, left_by=share.left_by if by == "late" and share.left_by else by))
        return tuple(told)

    async def _count(self, found: list[Image], fresh: list[Image]) -> None:
        if not fresh:
            return
        source = self._source
        conditions = ("min_cover", "min_clear", "pick")
        key = next(f"source.{name}" for name in conditions if getattr(source, name) is not None)
        steps = await find_steps(self._search, found)
        # Of an image on the list a partner may be gone; what is new must have all, unless on_missing_band says otherwise.
        whole = [image for image in found if image.name not in self._there or not steps.lacking(image)]
        region = region_lonlat(self._search.job, self._search.files)
        coarse = coarse_grid(region, finest_side_m(steps, whole), self.coarse_m or None)
        inputs = {image.id: steps.input_of(image) for image in fresh}
        counted = [(image, inputs[image.id]) for image in fresh if not inputs[image.id].lacks]
        known = {id_: share for id_, share in self._shares.items() if not share.lacks}
        self._shares |= await measure(self._search.catalogue, counted, steps.recipes, coarse, key, known)
        for image in fresh:
            if inputs[image.id].lacks and image.name not in self._there:
                lacks = f"it has {steps.lacking(image)}"
                self._shares[image.id] = ImageShare(image.id, image.update_time, 0.0, 0.0, lacks)
        self.coarse_m = coarse.scale_m

    def _none(self, found: Sequence[Image], why: dict[str, str]) -> JobError:
        """Return the error for conditions that no image meets."""
        here = [self._shares[image.id] for image in found if image.id in self._shares]
        best = max(here, key=lambda share: (share.shows, share.covered))
        if best.lacks:
            return JobError(
                f"none of {len(found):,} images can be counted; of {best.id}, {best.lacks}", key="source.pick"
            )
        fails = "min_cover" if "min_cover" in why[best.id] else "min_clear"
        return JobError(
            f"leaves none of {len(found):,} images; the best, {best.id}, {why[best.id]}. Write a smaller share",
            key=f"source.{fails}",
        )

    def _period(self, image: Image) -> str:
        """Return the label of the period that an image is picked of."""
        pick = self._source.clearest
        return picked_period(image, "all" if pick is None else pick.per, self.origin_us)

    def _origin(self, frozen: ImageList | None) -> int:
        source, frozen_us = self._source, frozen.period[0] if frozen and frozen.period else None
        origin_us = instant_us(source.start or "") or 0
        if frozen_us is None or "16d" not in {source.every, source.clearest.per if source.clearest else ""}:
            return origin_us
        if (frozen_us - origin_us) % (16 * 86_400_000_000):
            raise JobError(
                "lies no whole number of 16 days before the start that the mosaic was made with, "
                f"{timestamp(frozen_us)}; choose one that does",
                key="source.start",
            )
        return frozen_us
