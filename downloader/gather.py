"""From a job's source to the images it names: what the catalogue says, in the form that planning takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader.compute import composite, expression, resampled
from downloader.errors import DownloadError, JobError
from downloader.image import Band, Image
from downloader.instant import instant_us
from downloader.job import Job
from downloader.planning import Plan, make_plan, make_series_plan
from downloader.planning.footprint import region_geojson
from downloader.planning.given import Given
from downloader.planning.series import Series, arrange, group_images
from downloader.planning.slices import Slice
from downloader.vector import read_geometry, read_grid

if TYPE_CHECKING:
    from downloader.earthengine.catalogue import EarthEngineCatalogue

__all__ = ["Gathered", "gather"]

_MAX_LIST_FILE = 16 * 2**20
_AT_ONCE = 16


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

    def plan(self, job: Job, sides: Mapping[str, int] | None = None) -> Plan:
        """The plan; `sides` are the shards' sides of the mosaic that exists."""
        if self.series is None:
            plan = make_plan(job, self.image, sides, self.given)
            return plan if self.part is None else replace(plan, slices=(self.part,))
        return make_series_plan(job, self.series, self.image, sides, self.given)

    def as_answered(self, image: Image) -> Gathered:
        """The same with the bands' types of `image`, which the service's own answers have settled."""
        types = {band.id: band.dtype for band in image.bands}

        def typed(band: Band) -> Band:
            return replace(band, dtype=types.get(band.id, band.dtype))

        if self.series is None:
            return replace(self, image=image)
        lattices = tuple(
            replace(lattice, bands=tuple(typed(band) for band in lattice.bands))
            for lattice in self.series.lattices
        )
        return replace(self, image=image, series=replace(self.series, lattices=lattices))


async def gather(job: Job, catalogue: EarthEngineCatalogue) -> Gathered:
    """Ask the catalogue for what the job names.

    Raises:
        JobError: an asset that is none or no image, a list that cannot be read, no image, no common lattice.
        AuthenticationError: these credentials may not read it.
    """
    given = await anyio.to_thread.run_sync(_given, job)
    source = job.source
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
    if source.images is not None:
        images = await _each(catalogue, _listed(job), source.bands)
        images.sort(key=lambda image: (instant_us(image.start_time) or 0, image.id))
    else:
        raise JobError(f"source.{source.kind}: is not supported yet")
    named = group_images(images, source.group_by)
    series = arrange(
        named, source.bands, on_missing_band=source.on_missing_band, properties=source.properties
    )
    return Gathered(images[0], series, given)


def _given(job: Job) -> Given:
    """What stands in the files that the job names."""
    geometry, crs, like = None, None, None
    if job.region.file is not None:
        geometry, crs = read_geometry(job.resolve(job.region.file), "region.file")
    if job.grid.like is not None and job.resolve(job.grid.like).exists():
        like = read_grid(job.resolve(job.grid.like), "grid.like")
    return Given(geometry, crs, like)


async def _each(
    catalogue: EarthEngineCatalogue, assets: list[str], bands: tuple[str, ...] | None
) -> list[Image]:
    """The images of these ids, a few asked for at a time."""
    images: dict[int, Image] = {}
    errors: list[DownloadError] = []
    slots = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(number: int, asset: str) -> None:
        async with slots:
            try:
                images[number] = await catalogue.image(asset, bands)
            except DownloadError as error:  # kept: a task group would wrap it
                errors.append(error)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number, asset in enumerate(assets):
            tasks.start_soon(ask, number, asset)
    if errors:
        raise errors[0]
    return [images[number] for number in range(len(assets))]


def _listed(job: Job) -> list[str]:
    """Ids of `source.images`: the list itself, or the lines of a file."""
    images = job.source.images
    if not isinstance(images, str):
        return list(images or ())
    path = job.resolve(images)
    try:
        if path.stat().st_size > _MAX_LIST_FILE:
            raise JobError(f"source.images: {path} is larger than a list of images ever is")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(
            f"source.images: {path} cannot be read ({error}); name a file with one image id a line"
        ) from None
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise JobError(f"source.images: {path} names no image; write one id a line")
    return found
