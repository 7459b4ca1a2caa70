"""Check at the end of a run whether source images changed while they were fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from downloader.errors import DownloadError, DriftError
from downloader.events import Notice
from downloader.resolve.resolve import update_times
from downloader.text import few

if TYPE_CHECKING:
    from downloader.job import Job
    from downloader.mosaic.updates import OnUpdate
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.planning import Plan
    from downloader.protocols import Catalogue, Progress


_PATIENCE_S: Final = 60.0
"""Seconds that the check may take: it is not worth the wait for an outage, as the next run compares as well."""


async def recheck(
    job: Job, plan: Plan, catalogue: Catalogue, mosaic: ZarrMosaic, on_update: OnUpdate, progress: Progress
) -> DriftError | None:
    """Compare the images' `updateTime` now with those that the run was planned from.

    An image that is gone counts as unchanged, and a user's expression has no `updateTime`.

    Args:
        job: what was fetched.
        plan: its plan.
        catalogue: the service's.
        mosaic: records a change that `on_update` says to keep.
        on_update: what to do about a change.
        progress: told of a change that is kept, and if the check itself fails.

    Returns:
        The error to end with, if an image changed and that is not to be kept.

    Raises:
        StoppedError: the record of a kept change cannot be written.
    """
    if plan.listed is None and any(not part.images for part in plan.slices):
        return None
    images = [plan.image] if plan.listed is None else list(plan.listed.inputs())
    now: dict[str, str] | None = None
    why = "the service did not answer in time"
    with anyio.move_on_after(_PATIENCE_S):
        try:
            if plan.listed is None:
                now = {plan.image.name: (await catalogue.image(plan.image.name)).update_time}
            else:
                now = await update_times(job, catalogue, plan.listed)
        except DownloadError as error:
            why = str(error)
    if now is None:
        progress(Notice(f"could not check whether source images changed during the run: {why}"))
        return None
    changed = [image for image in images if now.get(image.name, image.update_time) != image.update_time]
    if not changed:
        return None
    first = changed[0]
    if len(changed) == 1:
        times = f"{first.update_time or 'no time stated'} → {now[first.name] or 'no time stated'}"
        change, what = f"{first.id} changed while it was fetched ({times})", "it"
    else:
        names = few([image.id for image in changed], "image", most=3)
        change, what = f"{len(changed):,} images changed while they were fetched ({names})", "them"
    change += ": pixels of before and after may stand side by side"
    if on_update == "keep":
        await mosaic.accept_updates({image.name: now[image.name] for image in changed})
        progress(Notice(f"{change}; kept as they are (keep)"))
        return None
    again = (
        f"Run the job again, which fetches all of {what} anew."
        if on_update == "refetch"
        else f"Fetch all of {what} anew with --set source.on_update=refetch, or keep what is stored with --accept updates."
    )
    return DriftError(f"{change}. {again}")
