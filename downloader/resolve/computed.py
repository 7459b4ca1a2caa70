"""Resolve sources that the service computes: a user's expression, or a composite whose expression is built here."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from downloader.errors import JobError
from downloader.job import Job
from downloader.job.files import read_text
from downloader.model.expression import MAX_BYTES, load_expression
from downloader.model.image import Band, Image
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us
from downloader.planning.expressions import composite_expression, resample_expression
from downloader.planning.inputs import JobFiles
from downloader.planning.search_area import region_geojson
from downloader.planning.series import arrange, group_images
from downloader.planning.slices import Slice
from downloader.protocols import Catalogue
from downloader.resolve.resolved import ResolvedSource


async def compute(job: Job, catalogue: Catalogue, files: JobFiles) -> ResolvedSource:
    """Resolve a source that the service computes. Raises as `_expression` and `_composite`."""
    if job.source.composite is None:
        return await _expression(job, catalogue, files)
    return await _composite(job, catalogue, files)


async def _expression(job: Job, catalogue: Catalogue, files: JobFiles) -> ResolvedSource:
    """The job's own expression.

    Raises:
        JobError: it is none, computes no image, or has no grid of its own while the job names none.
    """
    text = _expression_text(job)
    name = f"expression:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    image = await catalogue.computed(text, name)
    if job.grid.is_native and not all(band.is_bounded for band in image.bands):
        at = image.bands[0].grid
        raise JobError(
            "this expression has no pixel grid of its own (the service would use pixels of "
            f"{at.transform.pixel_size[0]:g} {at.crs.unit} in {at.crs}); say one, such as  grid: {{crs: EPSG:32610, resolution: 10}}",
            key="grid",
        )
    return ResolvedSource(image, files, Slice(name, expression=text))


def _expression_text(job: Job) -> str:
    written = job.source.expression
    if isinstance(written, str) and not written.lstrip().startswith("{"):
        advice = "name a JSON file, or write the expression itself"
        written = read_text(job.resolve(written), MAX_BYTES, advice, "source.expression")
    return load_expression(written, "source.expression")


async def _composite(job: Job, catalogue: Catalogue, files: JobFiles) -> ResolvedSource:
    """The composite of the job: its images are listed, its expression built, its types asked for.

    On native grids each band keeps the lattice that all images share; images that share none are refused, as a time
    series of them would be.

    Args:
        job: whose source is a composite.
        catalogue: the service.
        files: contents of the files that the job names.
    """
    spec = job.source.composite
    if spec is None:
        raise JobError("is not given", key="source.composite")
    query = ImageQuery(spec.collection, spec.start, spec.end, region_geojson(job, files), spec.filter)
    images = [image async for image in catalogue.images(query)]
    if not images:
        raise JobError(
            f"no image of {spec.collection} from {spec.start} to {spec.end} meets the region and the "
            "filter; widen one of them",
            key="source.composite",
        )
    text = composite_expression(
        [image.id for image in images],
        reduce=spec.reduce,
        mask=None if spec.mask is None else (spec.mask.band, spec.mask.bits),
        index=spec.index,
    )
    name = f"expression:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    answered = await catalogue.computed(text, name)
    image = replace(
        answered,
        id=f"{spec.reduce} of {len(images)} images of {spec.collection}",
        update_time=max((one.update_time for one in images), key=lambda time: instant_us(time) or 0),
        start_time=images[0].start_time,
        end_time=images[-1].start_time,
    )
    if job.grid.is_native:
        image = replace(image, bands=_native(image.bands, images, spec.index, job.source.bands))
    part = Slice(
        name,
        expression=text,
        time_us=instant_us(images[0].start_time),
        images=tuple((one.name, one.update_time) for one in images),
    )
    return ResolvedSource(image, files, part)


def _native(
    bands: tuple[Band, ...],
    images: list[Image],
    index: tuple[str, str] | None,
    wanted: tuple[str, ...] | None,
) -> tuple[Band, ...]:
    """The computed bands on the lattices of the images that they were computed from."""
    sources = {band.id: index[0] if index and band.id == "nd" else band.id for band in bands}
    asked = [band.id for band in bands if wanted is None or band.id in wanted]
    names = tuple(dict.fromkeys(sources[name] for name in asked))
    series = arrange(group_images(images, "image"), names)
    grids = {
        band.id: lattice.grid.window(lattice.hull)
        for lattice in series.lattices
        if lattice.hull is not None
        for band in lattice.bands
    }
    return tuple(
        replace(band, grid=grids[sources[band.id]], is_bounded=True) if sources[band.id] in grids else band
        for band in bands
    )


def resampled(image: Image, mode: str) -> Slice:
    """Return the expression that interpolates one image onto another grid."""
    text = resample_expression(image.id, mode)
    return Slice(image.id, expression=text, images=((image.name, image.update_time),))
