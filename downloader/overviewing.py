"""The end of a run whose job wants overviews: they are made of what is stored, while the run still holds the mosaic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader.errors import DownloadError, IncompleteError

if TYPE_CHECKING:
    from downloader.mosaic.writer import ZarrMosaic
    from downloader.seams import Progress
    from downloader.stop import Stop

__all__ = ["add_overviews"]


async def add_overviews(
    mosaic: ZarrMosaic, watchers: Progress, stop: Stop, error: DownloadError | None
) -> DownloadError | None:
    """Make what is missing or out of date of the mosaic's overviews; the error that the run ends with.

    A run that was stopped, or ended by an error, leaves them to the next one.

    Args:
        mosaic: whose pixels are committed.
        watchers: told what was made.
        stop: who may ask to stop; what is made until then is kept.
        error: what the run ends with so far.
    """
    from downloader.mosaic.overviews import build_overviews

    if stop.drain.is_set() or not (error is None or isinstance(error, IncompleteError)):
        return error

    def watch(_done: int, _total: int) -> None:
        if stop.drain.is_set():
            raise stop.error("all that was fetched is saved, the overviews are not finished")

    work = partial(
        build_overviews, mosaic.store, mosaic.identity, mosaic.found.states, mosaic.lock, watch=watch
    )
    try:
        # The thread writes: it is told to stop, never left behind.
        with anyio.CancelScope(shield=True):
            made = await anyio.to_thread.run_sync(work)
    except DownloadError as failed:
        return error or failed
    if made.made:
        watchers.notice(str(made))
    return error
