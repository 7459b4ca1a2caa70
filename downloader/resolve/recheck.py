"""A second look at the images when their run ends: did the catalogue change under it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from downloader.errors import DownloadError, DriftError
from downloader.events import Notice
from downloader.resolve.resolve import update_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.earthengine.catalogue import EarthEngineCatalogue
    from downloader.job import Job
    from downloader.model.image import Image
    from downloader.mosaic.updates import OnUpdate
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.planning import ImageList
    from downloader.protocols import Catalogue, Progress

__all__ = ["look_again", "look_again_at_all"]

_NAMED: Final = 3
"""Images that a message names."""

_PATIENCE_S: Final = 60.0
"""The look is worth one request, not the wait for an outage: the next run compares as well."""


async def look_again(
    catalogue: Catalogue, image: Image, mosaic: ZarrMosaic, on_update: OnUpdate, progress: Progress
) -> DriftError | None:
    """Hold what the catalogue says now against what the run was planned from.

    A change that the job keeps is recorded in the mosaic, with a notice. Where the look itself fails, a notice says so.

    Returns:
        The error to end with, where the image changed and the job does not say to keep that.

    Raises:
        StoppedError: the record of a kept change cannot be written.
    """
    now: Image | None = None
    why = "the service did not answer in time"
    with anyio.move_on_after(_PATIENCE_S):
        try:
            now = await catalogue.image(image.name)
        except DownloadError as error:
            why = str(error)
    if now is None:
        progress(Notice(f"{image.id} could not be looked at again after the run: {why}"))
        return None
    if now.update_time == image.update_time:
        return None
    change = (
        f"{image.id} changed while it was fetched ({image.update_time or 'no time stated'} →"
        f" {now.update_time or 'no time stated'}): pixels of before and after may stand side by side"
    )
    return await _settle(change, {image.name: now.update_time}, mosaic, on_update, progress)


async def look_again_at_all(
    job: Job,
    catalogue: EarthEngineCatalogue,
    listed: ImageList,
    mosaic: ZarrMosaic,
    on_update: OnUpdate,
    progress: Progress,
) -> DriftError | None:
    """As `look_again`, for the images of a time series; one that is gone is none that changed."""
    now: dict[str, str] | None = None
    why = "the service did not answer in time"
    with anyio.move_on_after(_PATIENCE_S):
        try:
            now = await update_times(job, catalogue, listed)
        except DownloadError as error:
            why = str(error)
    if now is None:
        progress(Notice(f"the images could not be looked at again after the run: {why}"))
        return None
    changed = {
        image.name: now[image.name]
        for image in listed.images
        if now.get(image.name, image.update_time) != image.update_time
    }
    if not changed:
        return None
    names = ", ".join([image.id for image in listed.images if image.name in changed][:_NAMED])
    change = (
        f"{len(changed):,} images changed while they were fetched ({names}{', …' if len(changed) > _NAMED else ''}):"
        " pixels of before and after may stand side by side"
        if len(changed) > 1
        else f"{names} changed while it was fetched: pixels of before and after may stand side by side"
    )
    return await _settle(change, changed, mosaic, on_update, progress)


async def _settle(
    change: str, times: Mapping[str, str], mosaic: ZarrMosaic, on_update: OnUpdate, progress: Progress
) -> DriftError | None:
    if on_update == "keep":
        await mosaic.accept_updates(times)
        progress(Notice(f"{change}; kept as they are (keep)"))
        return None
    what = "it" if len(times) == 1 else "them"
    again = (
        f"Run the same command again, which fetches all of {what} anew."
        if on_update == "refetch"
        else f"Fetch all of {what} anew with --set source.on_update=refetch, or keep what is stored with --accept updates."
    )
    return DriftError(f"{change}. {again}")
