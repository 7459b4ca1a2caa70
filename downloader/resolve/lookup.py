"""Look images up in the catalogue, one by one, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from downloader.errors import DownloadError, JobError, asset_is_gone
from downloader.expressions.elements import fingerprint
from downloader.flow.concurrent import for_each
from downloader.job import Job
from downloader.model.expression import graph_of
from downloader.model.image import Image
from downloader.model.time import instant_us
from downloader.planning.inputs import JobFiles
from downloader.planning.periods import month_of
from downloader.protocols import Catalogue
from downloader.text import few

Named = Sequence[tuple[str, tuple[Image, ...]]]
"""Each slice's name and images."""


async def look_up(
    catalogue: Catalogue,
    assets: Iterable[str],
    bands: Collection[str] | None,
    is_expected: Callable[[str, DownloadError], bool],
) -> dict[str, Image | DownloadError]:
    """Return each image, or the error that stands in its place.

    Args:
        catalogue: the service's.
        assets: ids or full names.
        bands: bands that must be usable; None for all.
        is_expected: whether an error of an asset is an answer like any other.

    Raises:
        DownloadError: the first error that was not expected.
    """
    answers: dict[str, Image | DownloadError] = {}

    async def ask(asset: str) -> None:
        try:
            answers[asset] = await catalogue.image(asset, bands)
        except DownloadError as error:
            if not is_expected(asset, error):
                raise
            answers[asset] = error

    await for_each(dict.fromkeys(assets), ask)
    return answers


def is_of_one_image(_asset: str, error: DownloadError) -> bool:
    """Return whether an error is about one image and not about the service: it is gone, or cannot be used."""
    return isinstance(error, JobError) or asset_is_gone(error)


def gone_told(gone: Mapping[str, str]) -> list[str]:
    """Return a notice of the mosaic's images that cannot be read any more, given id → reason; an empty list if there are none."""
    if not gone:
        return []
    names, why = few(list(gone), "image", most=3), next(iter(gone.values()))
    return [
        f"{names}: cannot be read any more ({why}); what is stored stays, what is missing counts as failed"
    ]


def without(images: Iterable[Image], others: Iterable[Image]) -> list[Image]:
    """Return the images that are not among others, by their names."""
    names = {image.name for image in others}
    return [image for image in images if image.name not in names]


def in_months(job: Job, images: list[Image]) -> list[Image]:
    """Return the images that begin in the months that the job names."""
    months = job.source.months_taken
    return [one for one in images if len(months) == 12 or month_of(instant_us(one.start_time)) in months]


def source_facts(job: Job, files: JobFiles) -> dict[str, str]:
    """Return the facts that determine the images of a source, by key of the job file: collection, images or expression; conditions."""
    source = job.source
    if source.expression is not None:
        facts = {"expression": fingerprint(graph_of(files.expression))}
    elif source.collections:
        facts = {"collection": ", ".join(source.collections)}
    else:
        return {"images": "named one by one"}
    if source.filter is not None:
        facts["filter"] = " ".join(source.filter.split())
    if len(source.months_taken) < 12:
        facts["months"] = ", ".join(map(str, sorted(source.months_taken)))
    for name in ("min_cover", "min_clear"):
        if (share := getattr(source, name)) is not None:
            facts[name] = f"{share:g}"
    if source.pick is not None:
        facts["pick"] = str(source.pick)
    return facts
