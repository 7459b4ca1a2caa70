"""Resolve what the service computes of one image: of an asset, or of a user's expression."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from downloader.errors import JobError
from downloader.job import Job
from downloader.job.files import read_text
from downloader.model.expression import MAX_BYTES, load_expression, parsed
from downloader.model.image import Image
from downloader.planning.inputs import JobFiles
from downloader.planning.slices import Slice
from downloader.planning.steps import step_facts, steps_of
from downloader.protocols import Catalogue
from downloader.resolve.resolved import ResolvedSource


async def compute(job: Job, catalogue: Catalogue, files: JobFiles) -> ResolvedSource:
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
    if job.source.is_computed:
        steps = steps_of(job, [image])
        text = steps.expression([image], parsed(text)) or text
        name = f"expression:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        image = replace(steps.view(image), id=name, name=name)
    return ResolvedSource(image, files, Slice(name, expression=text))


def each(job: Job, image: Image, files: JobFiles) -> ResolvedSource:
    """Return one asset, with what the job does to it.

    Raises:
        JobError: as `steps_of`.
    """
    steps = steps_of(job, [image])
    if others := steps.partner_collections(image):
        raise JobError(
            f"looks at another collection, {others[0]}; write the image as images: [{image.id}] with "
            "every: all and reduce: first",
            key="source.mask",
        )
    text = steps.expression([image])
    if not text:
        return ResolvedSource(image, files)
    part = Slice(image.id, expression=text, images=((image.name, image.update_time),), why=steps.why(1))
    return ResolvedSource(steps.view(image), files, part, facts=step_facts(job))


def _expression_text(job: Job) -> str:
    written = job.source.expression
    if isinstance(written, str) and not written.lstrip().startswith("{"):
        advice = "name a JSON file, or write the expression itself"
        written = read_text(job.resolve(written), MAX_BYTES, advice, "source.expression")
    return load_expression(written, "source.expression")
