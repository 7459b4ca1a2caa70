"""Resolve a job's source to its images, by kind of source."""

from __future__ import annotations

from collections.abc import Collection

import anyio.to_thread

from downloader.job import Job
from downloader.model.crs import Crs
from downloader.planning import Existing, ImageList
from downloader.planning.inputs import JobFiles
from downloader.protocols import Catalogue
from downloader.resolve.collection import collect, find_again
from downloader.resolve.computed import compute, each, expression_text
from downloader.resolve.partners import find_partners_again
from downloader.resolve.points_file import read_points
from downloader.resolve.region_file import read_geometry, read_grid
from downloader.resolve.resolved import ResolvedSource
from downloader.resolve.samples import find_images_again, sample
from downloader.resolve.search import Search


async def resolve(
    job: Job, catalogue: Catalogue, existing: Existing | None = None, accept: Collection[str] = ()
) -> ResolvedSource:
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
    files = await anyio.to_thread.run_sync(_files, job)
    search, source = Search(job, catalogue, files, existing, accept), job.source
    if files.points is not None:
        return await sample(search)
    if source.asset is not None:
        return each(job, await catalogue.image(source.asset, source.catalogue_bands), files)
    if source.expression is not None:
        return await compute(search)
    return await collect(search)


async def update_times(job: Job, catalogue: Catalogue, listed: ImageList) -> dict[str, str]:
    """Return the full name and present `updateTime` of images of a list and their partners, if still there. Raises as `resolve`."""
    search = Search(job, catalogue, await anyio.to_thread.run_sync(_files, job))
    partners = await find_partners_again(search, listed)
    if job.region.samples is not None:
        return await find_images_again(catalogue, listed) | partners
    return await find_again(search, listed) | partners


def _files(job: Job) -> JobFiles:
    """Read the files that the job names."""
    region, like = job.region, job.grid.like
    geometry, crs = (
        (None, None) if region.file is None else read_geometry(job.resolve(region.file), "region.file")
    )
    is_file = like is not None and job.resolve(like).exists()
    grid = read_grid(job.resolve(like), "grid.like") if like is not None and is_file else None
    expression = expression_text(job) if job.source.expression is not None else ""
    points = None
    if region.points is not None:
        stated = Crs.parse(region.crs) if "crs" in region.model_fields_set else None
        points = read_points(job.resolve(region.points.file), stated)
    if (fields := region.fields) is not None:
        from downloader.resolve.fields_file import read_fields

        path = None if fields.file is None else job.resolve(fields.file)
        points = read_fields(fields, path, Crs.parse(region.crs))
    return JobFiles(geometry, crs, grid, points, expression)
