"""A second look at the image when its run ends: did the catalogue change under it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from downloader.errors import DownloadError, DriftError

if TYPE_CHECKING:
    from downloader.image import Image
    from downloader.mosaic.updates import OnUpdate
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.seams import Catalogue, Progress

__all__ = ["look_again"]

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
        progress.notice(f"{image.id} could not be looked at again after the run: {why}")
        return None
    if now.update_time == image.update_time:
        return None
    change = (
        f"{image.id} changed while it was fetched ({image.update_time or 'no time stated'} →"
        f" {now.update_time or 'no time stated'}): pixels of before and after may stand side by side"
    )
    if on_update == "keep":
        await mosaic.accept_updates({image.name: now.update_time})
        progress.notice(f"{change}; kept as they are (keep)")
        return None
    again = (
        "Run the same command again, which fetches all of it anew."
        if on_update == "refetch"
        else "Fetch all of it anew with --set source.on_update=refetch, or keep what is stored with --accept updates."
    )
    return DriftError(f"{change}. {again}")
