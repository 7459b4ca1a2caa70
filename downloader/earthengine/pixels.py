"""Fetch pixels over REST: one getPixels or computePixels call per request, its answer checked before it is used."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.earthengine import error_table
from downloader.earthengine.names import NO_PROJECT
from downloader.earthengine.npy import NpyError, decode
from downloader.earthengine.timeouts import COMPUTE_S
from downloader.errors import Cause, TileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.earthengine.client import EarthEngine
    from downloader.planning import PixelRequest
    from downloader.protocols import PixelSource


_HEADROOM_BYTES: Final = 70_000
"""Bytes that an answer may have beyond its pixels: more than the longest NPY header."""


class RestPixelSource:
    """The service as a source of pixels. Safe to call concurrently."""

    def __init__(self, client: EarthEngine) -> None:
        self.client = client

    async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
        """Return the pixels asked for: a structured (height, width) array of exactly `request.dtype`, maybe read-only.

        Raises:
            TileError: this request brought no pixels; its problem says what to do.
        """
        asked = np.dtype([(band.id, band.dtype) for band in request.asked])
        pixels = await self._fetch(request, asked)
        return _filled(pixels, request) if request.validity else pixels

    async def fetch_as_answered(self, request: PixelRequest) -> NDArray[np.void]:
        """Return the pixels with the fields and types that the service answers."""
        return await self._fetch(request, None)

    async def _fetch(self, request: PixelRequest, expected: np.dtype[np.void] | None) -> NDArray[np.void]:
        client = self.client
        # As answered, each band may turn out to be as wide as a number gets.
        nbytes = (
            request.grid.width
            * request.grid.height
            * (expected.itemsize if expected else 8 * len(request.asked))
        )
        try:
            reply = await client.exchange(
                "POST",
                self._url(request),
                body=request_body(request, client.workload_tag),
                max_bytes=nbytes + _HEADROOM_BYTES,
                timeouts=client.timeouts
                if request.asset
                else replace(client.timeouts, first_byte_s=COMPUTE_S),
            )
        except TileError as error:
            if request.asset or error.problem.cause is not Cause.NO_FIRST_BYTE:
                raise
            # What cannot be computed in time comes no sooner the third time; half of it may.
            raise TileError(replace(error.problem, split_after=2)) from error
        try:
            return decode(reply.body, expected, request.grid.shape)
        except NpyError as error:
            raise TileError(error_table.unusable(reply, str(error))) from error

    def _url(self, request: PixelRequest) -> str:
        """Return the address: assets are read at the high-volume endpoint, expressions computed at the standard one, which caches."""
        client = self.client
        if request.asset:
            return client.url(client.high_volume, f"{request.asset}:getPixels")
        return client.url(client.standard, f"projects/{client.project or NO_PROJECT}/image:computePixels")


def _filled(pixels: NDArray[np.void], request: PixelRequest) -> NDArray[np.void]:
    """Return the bands asked for, NaN where they are masked: the service's own fill value is not known."""
    found = np.empty(pixels.shape, request.dtype)
    for band in request.bands:
        found[band.id] = pixels[band.id]
    for name, bands in request.validity:
        for place, filled in enumerate(bands):
            found[filled][pixels[name] >> place & 1 == 0] = np.nan
    return found


def request_body(request: PixelRequest, workload_tag: str | None = None) -> bytes:
    """Return the body of a call: bands, CRS, all six members of the affine transform, size, and the expression if any.

    See docs/contract.md §4.2.
    """
    body: dict[str, Any] = {
        "fileFormat": "NPY",
        "bandIds": [band.id for band in request.asked],
        "grid": request.grid.to_json(),
    }
    if workload_tag:
        body["workloadTag"] = workload_tag
    text = json.dumps(body, separators=(",", ":"))
    # An expression is JSON already, and may be long.
    return (text if request.asset else f'{{"expression":{request.expression},{text[1:]}').encode()


if TYPE_CHECKING:

    def _conforms(source: RestPixelSource) -> PixelSource:
        return source
