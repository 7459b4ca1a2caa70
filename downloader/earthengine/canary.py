"""Canaries: one pixel of every group, fetched before arrays are made, settles what the catalogue only expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio

from downloader.errors import DownloadError, JobError
from downloader.grid import Window
from downloader.planning.limits import MAX_REQUEST_BANDS
from downloader.planning.request import BandType, PixelRequest

if TYPE_CHECKING:
    import numpy as np

    from downloader.earthengine.pixels import RestPixelSource
    from downloader.image import Band, Image
    from downloader.planning import Group, Plan

__all__ = ["Settled", "settle"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What the service really answers."""

    image: Image
    """The plan's image, with the types as answered; the very same object where the catalogue was right."""
    notices: tuple[str, ...] = ()
    """A line for each difference. With any, the plan must be made again from `image`."""


async def settle(source: RestPixelSource, plan: Plan) -> Settled:
    """Ask one pixel of every group, all at once: names, types and CRS as the service has them.

    Raises:
        JobError: the service answers other bands than those asked for, or refuses the CRS, grid or bands.
        AuthenticationError: these credentials may not read the image.
        StoppedError: the service did not answer for too long.
    """
    requests = [request for group in plan.groups for request in _canaries(plan, group)]
    types: dict[str, np.dtype[np.generic]] = {}
    errors: list[DownloadError] = []

    async def ask(request: PixelRequest) -> None:
        try:
            types.update(await _answered(source, request))
        except DownloadError as error:  # kept: a task group would wrap it
            errors.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(ask, request)
    if errors:
        raise errors[0]
    return _corrected(plan.image, types)


def _canaries(plan: Plan, group: Group) -> list[PixelRequest]:
    # The first slice that has anything of this group speaks for all.
    number = next((k for k, extent in enumerate(group.extents) if extent is not None), 0)
    part = plan.slices[number] if plan.slices else None
    asset, expression = (part.asset, part.expression) if part else (plan.image.name, "")
    grid = group.request_grid(Window(0, 0, 1, 1), number)
    bands = [BandType(band.id, band.dtype) for band in group.bands]
    return [
        PixelRequest(asset, grid, tuple(bands[first : first + MAX_REQUEST_BANDS]), expression)
        for first in range(0, len(bands), MAX_REQUEST_BANDS)
    ]


async def _answered(source: RestPixelSource, request: PixelRequest) -> dict[str, np.dtype[np.generic]]:
    """Band id → type, of one canary."""
    pixels = await source.client.persist(
        lambda: source.fetch_as_answered(request), f"{request.asset}, first pixel ({request.grid.crs})"
    )
    wanted, names = [band.id for band in request.bands], pixels.dtype.names or ()
    if set(names) != set(wanted):
        raise JobError(
            f"{request.asset}: asked for the bands {', '.join(wanted[:8])}, the service answers {', '.join(names[:8])}"
        )
    return {name: pixels.dtype[name] for name in names}


def _corrected(image: Image, types: dict[str, np.dtype[np.generic]]) -> Settled:
    notices: list[str] = []
    bands: list[Band] = []
    for band in image.bands:
        answered = types.get(band.id, band.dtype)
        if answered != band.dtype:
            notices.append(
                f"band {band.id} comes as {answered.name}, not as {band.dtype.name} as the catalogue says; stored as it comes"
            )
            band = replace(band, dtype=answered)  # noqa: PLW2901
        bands.append(band)
    return Settled(replace(image, bands=tuple(bands)) if notices else image, tuple(notices))
