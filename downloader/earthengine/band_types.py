"""Canaries: one pixel of every group, fetched before arrays are made, settles what the catalogue only expects.

Of a series one slice speaks for all. Where its image is gone another does: an image that fails ends no job of many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import anyio

from downloader.errors import Action, DownloadError, JobError, TileError
from downloader.planning.limits import MAX_REQUEST_BANDS

if TYPE_CHECKING:
    import numpy as np

    from downloader.earthengine.pixels import RestPixelSource
    from downloader.model.image import Band, Image
    from downloader.planning import Group, PixelRequest, Plan

__all__ = ["Settled", "settle"]

_ALTERNATIVES: Final = 8
"""Slices that are asked where those before are gone."""


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
    canaries = [canary for group in plan.groups for canary in _canaries(plan, group)]
    types: dict[str, np.dtype[np.generic]] = {}
    errors: list[DownloadError] = []

    async def ask(canary: _Canary) -> None:
        for number, (name, request) in enumerate(canary):
            try:
                types.update(await _answered(source, request, name))
            except DownloadError as error:  # kept: a task group would wrap it
                if _is_gone(error) and number + 1 < len(canary):
                    continue
                errors.append(error)
                group.cancel_scope.cancel()
            return

    async with anyio.create_task_group() as group:
        for canary in canaries:
            group.start_soon(ask, canary)
    if errors:
        raise errors[0]
    return _corrected(plan.image, types)


_Canary = list[tuple[str, "PixelRequest"]]
"""One question and its alternatives: whom it is asked of, and how."""


def _canaries(plan: Plan, group: Group) -> list[_Canary]:
    """Questions that together settle every band of the group."""
    open_ = set(range(len(group.bands)))
    found: list[_Canary] = []
    for number in range(group.tiling.slices):
        bands = open_ & group.present(number)
        if not bands:
            continue
        later = range(number + 1, group.tiling.slices)
        others = islice((k for k in later if bands <= group.present(k)), _ALTERNATIVES)
        slices = [number, *others]
        ordered = sorted(bands)
        found += [
            [_question(plan, group, k, ordered[first : first + MAX_REQUEST_BANDS]) for k in slices]
            for first in range(0, len(ordered), MAX_REQUEST_BANDS)
        ]
        open_ -= bands
        if not open_:
            break
    return found


def _question(plan: Plan, group: Group, number: int, bands: list[int]) -> tuple[str, PixelRequest]:
    part = plan.slices[number] if plan.slices else None
    return (part.asset or part.id) if part else plan.image.name, plan.first_pixel(group, number, bands)


def _is_gone(error: DownloadError) -> bool:
    """Whether the service refuses this image, not the job."""
    return isinstance(error.__cause__, TileError) and error.__cause__.problem.action is Action.FAIL_ASSET


async def _answered(
    source: RestPixelSource, request: PixelRequest, name: str
) -> dict[str, np.dtype[np.generic]]:
    """Band id → type, of one canary."""
    pixels = await source.client.persist(
        lambda: source.fetch_as_answered(request), f"{name}, first pixel ({request.grid.crs})"
    )
    wanted, names = [band.id for band in request.bands], pixels.dtype.names or ()
    if set(names) != set(wanted):
        raise JobError(
            f"{name}: asked for the bands {', '.join(wanted[:8])}, the service answers {', '.join(names[:8])}"
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
