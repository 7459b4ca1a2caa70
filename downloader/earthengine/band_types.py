"""Band types as the service answers them: one pixel of every lattice, fetched before anything is planned.

The catalogue's types are an expectation: what is stored has the types of the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from downloader.errors import DownloadError, JobError, asset_is_gone
from downloader.flow.concurrent import for_each

if TYPE_CHECKING:
    import numpy as np

    from downloader.earthengine.pixels import RestPixelSource
    from downloader.planning import PixelRequest


async def answered_types(
    source: RestPixelSource, questions: Sequence[Sequence[tuple[str, PixelRequest]]]
) -> dict[str, np.dtype[np.generic]]:
    """Return band id → type, from the answers to one request of each question.

    Args:
        source: asks the service.
        questions: requests that tell the same, each with its image's name; one is asked if the images of those before it
            are gone.

    Raises:
        JobError: the service answers other bands than those asked for, or refuses the CRS, grid or bands.
        AuthenticationError: these credentials may not read the image.
        StoppedError: the service did not answer for too long.
    """
    types: dict[str, np.dtype[np.generic]] = {}

    async def ask(question: Sequence[tuple[str, PixelRequest]]) -> None:
        for number, (name, request) in enumerate(question):
            try:
                types.update(await _answer(source, request, name))
            except DownloadError as error:
                if asset_is_gone(error) and number + 1 < len(question):
                    continue
                raise
            return

    await for_each(questions, ask)
    return types


async def _answer(
    source: RestPixelSource, request: PixelRequest, name: str
) -> dict[str, np.dtype[np.generic]]:
    pixels = await source.client.persist(
        lambda: source.fetch_as_answered(request), f"{name}, first pixel ({request.grid.crs})"
    )
    wanted, names = [band.id for band in request.asked], pixels.dtype.names or ()
    if set(names) != set(wanted):
        raise JobError(
            f"{name}: asked for the bands {', '.join(wanted[:8])}, the service answers {', '.join(names[:8])}"
        )
    return {name: pixels.dtype[name] for name in names}
