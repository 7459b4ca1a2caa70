"""The plan of samples: each chip on its image's own pixels, a group for each pixel size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.model.time import instant_us
from downloader.planning.expressions import with_masks
from downloader.planning.group import Group
from downloader.planning.inputs import Given
from downloader.planning.lattice import Target, group_names, pixel_area, targets
from downloader.planning.limits import MAX_REQUEST_BYTES, fits
from downloader.planning.plan import Plan
from downloader.planning.request_size import ServiceModel
from downloader.planning.samples import Points, Sample, SampleList, chip_around, pixels_of, project
from downloader.planning.slices import ImageList, Slice
from downloader.planning.tiling import Tiling, shard_samples

if TYPE_CHECKING:
    from downloader.job import Job

__all__ = ["make_sample_plan"]

_Coordinates = tuple[NDArray[np.float64], NDArray[np.float64]]


def make_sample_plan(
    job: Job,
    points: Points,
    samples: tuple[Sample, ...],
    listed: ImageList,
    sides: Mapping[str, int] | None = None,
    given: Given | None = None,
    expressions: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of samples.

    Args:
        job: what the user asks for; its region are points.
        points: the file.
        samples: the points and the images found for them, in order.
        listed: those images, as the catalogue has them.
        sides: samples in a shard by group, as an existing mosaic has them.
        given: contents of the files that the job names.
        expressions: by image, what computes its pixels; empty where they are read.

    Raises:
        JobError: no sample has an image, a band that it lacks, a grid that cannot be, chips that no request can hold.
    """
    spec = job.region.points
    if spec is None:
        raise JobError("is not given", key="region.points")
    images = {image.name: image for image in listed.images}
    first = next((images[sample.image] for sample in samples if sample.image), None)
    if first is None:
        raise JobError(_hopeless(samples))
    placing = _Placing(job, points, first, given or Given())
    lattices, samples = placing.place(samples, images, spec.chip)
    if not any(lattices[0]):
        raise JobError(_hopeless(samples))
    model = ServiceModel(concurrency=job.limits.concurrency, starts_per_s=job.limits.requests_per_second)
    groups = []
    for name, target, chip, own in zip(
        group_names(target.grid for target in placing.reference),
        placing.reference,
        placing.chips(spec.chip),
        lattices,
        strict=True,
    ):
        bands = with_masks(target.bands, job.mosaic.mask)
        _check_size(chip, bands)
        itemsize = sum(band.dtype.itemsize for band in bands)
        run = (sides or {}).get(name) or shard_samples(len(samples), chip, itemsize)
        tiling = Tiling(chip, chip, len(samples), tile=chip, shard_slices=run)
        example = next(lattice for lattice in own if lattice is not None)
        groups.append(
            Group(name, example, Window(0, 0, chip, chip), bands, tiling, (1, 1), lattices=own, axis="sample")
        )
    slices = tuple(_slice(sample, images, expressions or {}) for sample in samples)
    kept = SampleList(points.crs, points.columns, samples)
    return Plan(first, tuple(groups), model, "sample", slices, listed, kept)


def _slice(sample: Sample, images: Mapping[str, Image], expressions: Mapping[str, str]) -> Slice:
    image = images.get(sample.image)
    if image is None:
        return Slice(sample.point.id, problem=sample.problem)
    expression = expressions.get(image.name, "")
    return Slice(
        sample.point.id,
        asset="" if expression else image.name,
        expression=expression,
        time_us=instant_us(image.start_time),
        images=((image.name, image.update_time),),
        problem=sample.problem,
    )


def _hopeless(samples: tuple[Sample, ...]) -> str:
    told = next((sample for sample in samples if sample.problem), None)
    if told is None:
        return "region.points: there is no sample"
    return f"region.points: none of the {len(samples):,} samples can be fetched; the first: {told.problem}"


def _check_size(chip: int, bands: tuple[Band, ...]) -> None:
    widest = max((band.dtype for band in bands), key=lambda dtype: dtype.itemsize)
    if not fits(chip, chip, (widest,)):
        most = math.isqrt(MAX_REQUEST_BYTES // (widest.itemsize + 1))
        raise JobError(
            f"{chip:,}×{chip:,} pixels of {widest} are more than one request may ask for; take at "
            f"most {most:,}, or a region.bbox for an area",
            key="region.points.chip",
        )


@dataclass(frozen=True, slots=True)
class _Kind:
    """Images whose bands lie on the same grids."""

    found: list[Target]
    problem: str = ""
    """How they differ from the first image's."""


class _Placing:
    """Where points lie in images, found for many points at once."""

    def __init__(self, job: Job, points: Points, first: Image, given: Given) -> None:
        self._job = job
        self._points = points
        self._given = given
        self._coordinates: dict[Crs, _Coordinates] = {}
        self._kinds: dict[tuple[Band, ...], _Kind] = {}
        self.reference = targets(job, first.select(job.source.bands), given)
        self._first = first

    def chips(self, finest: int) -> list[int]:
        """Pixels along a chip's side by group: enough to cover the ground of the finest one."""
        areas = [pixel_area(target.grid) for target in self.reference]
        return [max(1, math.ceil(finest * math.sqrt(areas[0] / area) - 1e-6)) for area in areas]

    def place(
        self, samples: tuple[Sample, ...], images: Mapping[str, Image], chip: int
    ) -> tuple[list[tuple[PixelGrid | None, ...]], tuple[Sample, ...]]:
        """By group the chips' grids, and the samples with what is wrong with them."""
        chips = self.chips(chip)
        grids: list[list[PixelGrid | None]] = [[None] * len(samples) for _ in chips]
        told = list(samples)
        of: dict[str, list[int]] = {}
        for number, sample in enumerate(samples):
            if sample.image:
                of.setdefault(sample.image, []).append(number)
        for name, numbers in of.items():
            image = images[name]
            kind = self._kind(image)
            if kind.problem:
                for k in numbers:
                    told[k] = replace(told[k], problem=f"{told[k].point.where}: {image.id} {kind.problem}")
                continue
            chosen = np.array(numbers)
            inside = self._covered(kind.found[0], chosen)
            places = [self._pixels(target.grid, chosen)[:2] for target in kind.found]
            for position, k in enumerate(numbers):
                if not inside[position]:
                    point = told[k].point
                    told[k] = replace(
                        told[k],
                        problem=f"{point.where}: the point ({point.x:g}, {point.y:g}) lies outside {image.id}",
                    )
                    continue
                told[k] = replace(told[k], problem="")
                for group, (target, (columns, rows)) in enumerate(zip(kind.found, places, strict=True)):
                    place = int(columns[position]), int(rows[position])
                    grids[group][k] = chip_around(target.grid, *place, chips[group])
        return [tuple(own) for own in grids], tuple(told)

    def _kind(self, image: Image) -> _Kind:
        kind = self._kinds.get(image.bands)
        if kind is None:
            try:
                bands = image.select(
                    self._job.source.bands or tuple(b.id for t in self.reference for b in t.bands)
                )
                found = targets(self._job, bands, self._given)
            except JobError as error:
                kind = _Kind([], f"does not fit: {error}")
            else:
                kind = _Kind(found, self._unlike(found))
            self._kinds[image.bands] = kind
        return kind

    def _unlike(self, found: list[Target]) -> str:
        mine = [[(band.id, band.dtype) for band in target.bands] for target in found]
        theirs = [[(band.id, band.dtype) for band in target.bands] for target in self.reference]
        if mine != theirs:
            return f"has bands of other types or groups than {self._first.id}"
        for one, other in zip(found, self.reference, strict=True):
            size, wanted = one.grid.transform.pixel_size, other.grid.transform.pixel_size
            if one.grid.crs.unit != other.grid.crs.unit or not np.allclose(size, wanted, rtol=1e-9, atol=0):
                return (
                    f"has pixels of {size[0]:g} {one.grid.crs.unit}, those of {self._first.id} are {wanted[0]:g} "
                    f"{other.grid.crs.unit}; say one grid for all, such as  grid: {{crs: EPSG:32610, resolution: 10}}"
                )
        return ""

    def _covered(self, target: Target, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which points the image itself covers."""
        if not target.is_endless:
            return self._pixels(target.grid, chosen)[2]
        band = target.bands[0]
        if not band.is_bounded:
            return np.isfinite(self._at(target.grid.crs)[0][chosen])
        return self._pixels(band.grid, chosen)[2]

    def _pixels(
        self, grid: PixelGrid, chosen: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        x, y = self._at(grid.crs)
        return pixels_of(grid, x[chosen], y[chosen])

    def _at(self, crs: Crs) -> _Coordinates:
        if crs not in self._coordinates:
            self._coordinates[crs] = project(self._points, crs)
        return self._coordinates[crs]
