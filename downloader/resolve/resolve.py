"""From a job's source to the images it names: what the catalogue says, in the form that planning takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.image import Band, Image
from downloader.planning import Existing, ImageList, Plan, make_plan, make_series_plan
from downloader.planning.inputs import Given
from downloader.planning.sample_planner import make_sample_plan
from downloader.planning.search_area import region_geojson
from downloader.planning.series import Series
from downloader.planning.slices import Slice
from downloader.resolve.collection import collect, find_again
from downloader.resolve.computed import composite, expression, resampled
from downloader.resolve.points_file import read_points
from downloader.resolve.region_file import read_geometry, read_grid
from downloader.resolve.samples import Sampled, find_images_again, sample

if TYPE_CHECKING:
    from downloader.earthengine.catalogue import EarthEngineCatalogue

__all__ = ["Gathered", "gather", "update_times"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a job's source turned out to be."""

    image: Image
    """The one image, or the first of many, whose bands and types the others share."""
    series: Series | None = None
    """The time series; None for one image."""
    given: Given = field(default_factory=Given)
    """Contents of the files that the job names."""
    part: Slice | None = None
    """What `computePixels` is asked for; None where pixels are read from assets."""
    listed: ImageList | None = None
    """The image list of a time series."""
    sampled: Sampled | None = None
    """The samples; None where there are none."""
    notices: tuple[str, ...] = ()
    """Lines worth a user's knowing."""

    def plan(self, job: Job, sides: Mapping[str, int] | None = None) -> Plan:
        """The plan; `sides` are the shards' sides of the mosaic that exists."""
        if self.sampled is not None and self.given.points is not None:
            found = self.sampled
            return make_sample_plan(
                job, self.given.points, found.samples, found.listed, sides, self.given, found.expressions
            )
        if self.series is None:
            plan = make_plan(job, self.image, sides, self.given)
            return plan if self.part is None else replace(plan, slices=(self.part,))
        plan = make_series_plan(job, self.series, self.image, sides, self.given)
        return replace(plan, listed=self.listed)

    def as_answered(self, image: Image) -> Gathered:
        """The same with the bands' types of `image`, which the service's own answers have settled."""
        types = {band.id: band.dtype for band in image.bands}

        def typed(band: Band) -> Band:
            return replace(band, dtype=types.get(band.id, band.dtype))

        if self.sampled is not None:
            listed = self.sampled.listed
            named = tuple(
                (label, tuple(replace(one, bands=tuple(map(typed, one.bands))) for one in members))
                for label, members in listed.named
            )
            return replace(
                self, image=image, sampled=replace(self.sampled, listed=replace(listed, named=named))
            )
        if self.series is None:
            return replace(self, image=image)
        lattices = tuple(
            replace(lattice, bands=tuple(typed(band) for band in lattice.bands))
            for lattice in self.series.lattices
        )
        return replace(self, image=image, series=replace(self.series, lattices=lattices))


async def gather(
    job: Job,
    catalogue: EarthEngineCatalogue,
    existing: Existing | None = None,
    accept: Collection[str] = (),
) -> Gathered:
    """Ask the catalogue for what the job names.

    Args:
        job: what the user asks for.
        catalogue: the service.
        existing: what the mosaic that is there has settled; None where there is none.
        accept: what may differ from it: `new-images` that arrived late.

    Raises:
        JobError: an asset that is none or no image, a list that cannot be read, no image, no common lattice.
        AuthenticationError: these credentials may not read it.
    """
    given = await anyio.to_thread.run_sync(_given, job)
    source = job.source
    if given.points is not None:
        sampled = await sample(job, catalogue, given, existing)
        return Gathered(sampled.first, given=given, sampled=sampled, notices=sampled.notices)
    if source.asset is not None:
        image = await catalogue.image(source.asset, source.bands)
        part = None if job.grid.resampling == "nearest" else resampled(image, job.grid.resampling)
        return Gathered(image, given=given, part=part)
    if source.expression is not None or source.composite is not None:
        made = (
            await expression(job, catalogue)
            if source.composite is None
            else await composite(job, catalogue, region_geojson(job, given))
        )
        return Gathered(made.image, given=given, part=made.part)
    found = await collect(job, catalogue, given, existing, accept)
    return Gathered(found.image, found.series, given, listed=found.listed, notices=found.notices)


async def update_times(job: Job, catalogue: EarthEngineCatalogue, listed: ImageList) -> dict[str, str]:
    """Full name → `updateTime` now, of the images of a list that are still there. Raises as `gather`."""
    if job.region.points is not None:
        return await find_images_again(catalogue, listed)
    return await find_again(job, catalogue, await anyio.to_thread.run_sync(_given, job), listed)


def _given(job: Job) -> Given:
    """What stands in the files that the job names."""
    geometry, crs, like, points = None, None, None, None
    if job.region.file is not None:
        geometry, crs = read_geometry(job.resolve(job.region.file), "region.file")
    if job.grid.like is not None and job.resolve(job.grid.like).exists():
        like = read_grid(job.resolve(job.grid.like), "grid.like")
    spec = job.region.points
    if spec is not None:
        stated = Crs.parse(job.region.crs) if "crs" in job.region.model_fields_set else None
        points = read_points(job.resolve(spec.file), stated)
    return Given(geometry, crs, like, points)
