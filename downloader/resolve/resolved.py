"""The images that a job's source names, in the form that planning takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import numpy as np

from downloader.errors import JobError
from downloader.expressions.mask_bands import with_masks
from downloader.job import Job
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning import ImageList, Plan, make_plan, make_sample_plan
from downloader.planning.extent import extents_of
from downloader.planning.inputs import JobFiles
from downloader.planning.lattice import lattices_of, pixel_area
from downloader.planning.limits import MAX_REQUEST_BANDS
from downloader.planning.plan import pixel_request
from downloader.planning.requests import PixelRequest
from downloader.planning.samples import SampleList, pixels_of, project
from downloader.planning.series import Series
from downloader.planning.slices import Existing

_ALTERNATIVES: Final = 8
"""Further slices that may answer for a group if the images of the first are gone."""

_Types = Mapping[str, np.dtype[np.generic]]

TypeQuestion = list[tuple[str, PixelRequest]]
"""Requests of one pixel that tell the types of some bands, each with its image's name; a later one is sent if the images of
those before are gone."""


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """A job's source with everything that the catalogue says of its images."""

    image: Image
    """The one image, or the first of many, whose bands and types the others share."""
    files: JobFiles = field(default_factory=JobFiles)
    """Contents of the files that the job names."""
    series: Series | None = None
    """The one image, or the time series; None for samples."""
    samples: SampleList | None = None
    """The samples; None if there are none."""
    listed: ImageList | None = None
    """The images of a time series or of samples."""
    views: Mapping[str, Image] = field(default_factory=dict)
    """Of samples: image's full name → the image with the bands that are made of it."""
    expressions: Mapping[str, str] = field(default_factory=dict)
    """Of samples: image's full name → expression that computes its pixels; empty if they are read."""
    why: str = ""
    """Of samples: the part of the job that makes the service compute them."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Steps applied to one image, by key of the job file."""
    notices: tuple[str, ...] = ()
    """Lines for the user."""

    def plan(self, job: Job, there: Existing | None = None, trusted: Collection[str] = ()) -> Plan:
        """Return the plan.

        Args:
            job: what the user asks for.
            there: what the mosaic that exists has settled.
            trusted: groups of which a computed answer is known to equal what is read, masked pixels included.
        """
        if self.series is not None:
            plan = make_plan(job, self.series, self.image, there, self.files, trusted)
            return replace(plan, listed=self.listed, facts=self.facts)
        assert self.samples is not None  # noqa: S101  # what is no series
        plan = make_sample_plan(job, self.samples, self.views, self.expressions, self.files, there, trusted)
        slices = (replace(part, why=self.why) if part.expression else part for part in plan.slices)
        return replace(plan, listed=self.listed, slices=tuple(slices))

    def type_questions(self, job: Job) -> list[TypeQuestion]:
        """Return the pixels that together tell the type of every band asked for, one or more for each lattice.

        Raises:
            JobError: a band that does not exist, a grid that cannot be made, or a region outside the image.
        """
        if self.series is not None:
            return list(self._of_series(job, self.series))
        assert self.samples is not None  # noqa: S101  # what is no series
        return list(self._of_samples(job, self.samples))

    def _of_series(self, job: Job, series: Series) -> Iterator[TypeQuestion]:
        """Yield questions of slices that meet the region, in their order, until every band is asked for."""
        lattices = sorted(series.lattices, key=lambda lattice: pixel_area(lattice.grid))
        extents = extents_of(job, lattices, self.files)
        for lattice, extent in zip(lattices, extents, strict=True):
            whole = (Window(0, 0, extent.window.width, extent.window.height),)
            covered = [
                cover[0] if cover else None for cover in extent.covered or [whole] * len(series.slices)
            ]
            left = {band.id for band in lattice.bands}
            parts = lattice.parts or series.slices
            for number, window in enumerate(covered):
                names = left - lattice.absent[number]
                if window is None or not names:
                    continue
                later = range(number + 1, len(covered))
                others = islice(
                    (k for k in later if covered[k] and not names & lattice.absent[k]), _ALTERNATIVES
                )
                asked = [number, *others]
                for run in _runs(job, tuple(band for band in lattice.bands if band.id in names)):
                    yield [
                        (part.asset or part.id, pixel_request(run, pixel, part.asset, graph))
                        for part, at in ((parts[k], covered[k]) for k in asked)
                        if at is not None
                        for pixel in [_corner(lattice.grid.window(extent.window), at)]
                        for graph in [series.expression(part, lattice.grid, pixel)]
                    ]
                left -= names
                if not left:
                    break

    def _of_samples(self, job: Job, kept: SampleList) -> Iterator[TypeQuestion]:
        """Yield questions of pixels at samples' points, each of another image."""
        points, images = self.files.points, self.views
        if points is None:
            return
        firsts = list(
            {sample.image: sample for sample in reversed(kept.samples) if sample.image in images}.values()
        )[::-1]
        wanted = job.source.band_names or tuple(band.id for band in self.image.bands)
        for number, lattice in enumerate(lattices_of(job, self.image.select(wanted), self.files)):
            for run in _runs(job, lattice.bands):
                question = []
                for sample in firsts[: 1 + _ALTERNATIVES]:
                    try:
                        lattices = lattices_of(job, images[sample.image].select(wanted), self.files)
                    except JobError:
                        continue  # an image that does not fit, which its samples are told of
                    if number >= len(lattices):
                        continue
                    grid = lattices[number].grid
                    columns, rows, _ = pixels_of(
                        grid, *project(replace(points, rows=(sample.point,)), grid.crs)
                    )
                    expression = self.expressions.get(sample.image, "")
                    asset = "" if expression else sample.image
                    pixel = grid.window(Window(int(columns[0]), int(rows[0]), 1, 1))
                    question.append((sample.image, pixel_request(run, pixel, asset, expression)))
                yield question

    def with_types(self, types: _Types) -> ResolvedSource:
        """Return the same source whose bands have the types that the service answered, with a notice for each change."""
        changes = tuple(
            f"band {band.id} comes as {types[band.id].name}, not as {band.dtype.name} as the catalogue says; stored as it comes"
            for band in self.image.bands
            if band.id in types and types[band.id] != band.dtype
        )
        if not changes:
            return self

        def typed(bands: tuple[Band, ...]) -> tuple[Band, ...]:
            return tuple(replace(band, dtype=types.get(band.id, band.dtype)) for band in bands)

        changed = replace(
            self, image=replace(self.image, bands=typed(self.image.bands)), notices=(*self.notices, *changes)
        )
        if self.series is not None:
            lattices = tuple(replace(one, bands=typed(one.bands)) for one in self.series.lattices)
            return replace(changed, series=replace(self.series, lattices=lattices))
        views = {name: replace(image, bands=typed(image.bands)) for name, image in self.views.items()}
        return replace(changed, views=views)


def _corner(lattice: PixelGrid, window: Window) -> PixelGrid:
    """Return the first pixel of a window."""
    return lattice.window(Window(window.column, window.row, 1, 1))


def _runs(job: Job, bands: tuple[Band, ...]) -> Iterator[tuple[Band, ...]]:
    """Yield the bands and their masks in runs that one request takes."""
    asked = with_masks(bands, job.mosaic.mask)
    for first in range(0, len(asked), MAX_REQUEST_BANDS):
        yield asked[first : first + MAX_REQUEST_BANDS]
