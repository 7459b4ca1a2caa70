"""Resolve what the service computes of one image: of an asset, or of a user's expression."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from downloader.errors import JobError
from downloader.expressions.elements import is_collection
from downloader.job import Job
from downloader.job.files import read_text
from downloader.job.sections.source import OF_LISTING, OF_MANY
from downloader.model.expression import MAX_BYTES, graph_of, load_expression
from downloader.model.image import Image
from downloader.planning.inputs import JobFiles
from downloader.planning.recipes import step_facts, steps_of
from downloader.planning.series import series_of_one, slices_of
from downloader.planning.slices import Slice
from downloader.resolve.collection import collect
from downloader.resolve.elements import check_own_grid
from downloader.resolve.resolved import ResolvedSource
from downloader.resolve.search import Search


async def compute(search: Search) -> ResolvedSource:
    """Resolve the job's own expression: one image, or a collection, whose images are a series as those of the catalogue are.

    Raises:
        JobError: it computes neither, or has no grid of its own while the job names none; as `collect`.
        AuthenticationError: these credentials may not compute.
    """
    job, files = search.job, search.files
    graph, name = graph_of(files.expression), expression_name(files.expression)
    image = None if is_collection(graph) else await search.catalogue.computed(files.expression, name)
    if image is None:
        return await collect(search)
    of_many = (*OF_MANY, "start", "end", *OF_LISTING)
    stray = [f"source.{name}" for name in of_many if name in job.source.model_fields_set]
    stray += ["grid.zones"] if job.grid.zones is not None else []
    if stray:
        raise JobError("goes with many images, and the expression computes one; leave it out", key=stray[0])
    check_own_grid(job, [image])
    steps = steps_of(job, [image], like=files.like)
    steps = replace(steps, graph=graph, reasons=("expression", *steps.reasons))
    text = steps.expression([image])
    if job.source.is_computed:
        name = expression_name(text)
    image = replace(steps.view(image), id=name, name=name)
    part = Slice(name, expression=text, why=steps.why(1))
    return ResolvedSource(image, files, series_of_one(job, image, part, files))


def expression_name(text: str) -> str:
    """Return the name of the image that an expression computes."""
    return f"expression:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def each(job: Job, image: Image, files: JobFiles) -> ResolvedSource:
    """Return one asset, with what the job does to it.

    Raises:
        JobError: as `steps_of`.
    """
    steps = steps_of(job, [image], like=files.like)
    if others := steps.partner_collections(image):
        raise JobError(
            f"looks at another collection, {others[0]}; write the image as images: [{image.id}] with "
            "every: all and reduce: first",
            key="source.mask",
        )
    (part,) = slices_of([(image.id, (image,))], steps=steps)
    if part.expression:
        image = steps.view(image)
    facts = step_facts(job) if part.expression else {}
    return ResolvedSource(image, files, series_of_one(job, image, part, files), facts=facts)


def expression_text(job: Job) -> str:
    """Return canonical JSON of `source.expression`, read from a file where it names one. Raises JobError."""
    written = job.source.expression
    if isinstance(written, str) and not written.lstrip().startswith("{"):
        advice = "name a JSON file, or write the expression itself"
        written = read_text(job.resolve(written), MAX_BYTES, advice, "source.expression")
    return load_expression(written, "source.expression")
