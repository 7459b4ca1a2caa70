"""Send one request and read one bounded answer.

httpx over an aiohttp-backed transport. Measured on loopback, 40 connections, bodies read into one buffer each
(httpx 0.28, httpx-aiohttp 0.2, aiohttp 3.14, CPU of the client process):

    | transport                                | 0.5 MB bodies | 8 MB bodies |
    |------------------------------------------|---------------|-------------|
    | httpx's own pool                         | 4.8 ms each   | 2.1 ms/MB   |
    | httpx-aiohttp, its chunks of 16 kB       | 0.8 ms each   | 1.1 ms/MB   |
    | httpx-aiohttp, chunks as they come       | 0.6 ms each   | 0.4 ms/MB   |
    | aiohttp alone                            | 0.3 ms each   | 0.7 ms/MB   |

so chunks are taken as they come, and bodies whose length is known go around the library (`body`). Answers are asked
for uncompressed: pixels shrink little, the inflating would be the client's dearest step, and a small gzip can become a
huge body. The user agent therefore lacks the word `gzip`, by which Google's front ends choose to compress
(docs/contract.md §2.1). Redirects are never followed: no credential leaves for another host.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio

from downloader._version import __version__
from downloader.earthengine.timeouts import ProgressTimeout, Timeouts
from downloader.earthengine.wire_error import WireError
from downloader.errors import Cause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import httpx

    from downloader.protocols import Clock

    _Exchange = Callable[[], Awaitable[httpx.Response]]


USER_AGENT: Final = f"earthengine-downloader/{__version__}"

_ERROR_BODY_BYTES: Final = 65_536
"""Bytes that are read of an answer that is no success."""

_LATE_S: Final = 1.0
"""Seconds by which the watch wakes too late before the delay is taken for this machine's, not the server's."""

_LOOK_S: Final = 5.0
"""Longest sleep of the watch, and so the most that counts as waited after this machine stood still."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whole unless its status is an error's."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes | memoryview


class Transport:
    """Connections to the service, kept alive and shared by all workers of one event loop."""

    def __init__(self, *, clock: Clock, connections: int = 40) -> None:
        """`connections` at most are used at once; a few more are allowed for tokens and metadata."""
        from downloader.earthengine.buffers import Buffers
        from downloader.earthengine.http import make_client

        self._clock = clock
        self._buffers = Buffers()
        self._client = make_client(connections + 8, USER_AGENT)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        max_bytes: int,
        timeouts: Timeouts,
    ) -> Reply:
        """Send one request and return its answer. Nothing is repeated here: each repeat needs a turn of the limiter.

        Args:
            method: GET or POST.
            url: absolute.
            headers: beside those every request has.
            content: body of the request.
            max_bytes: ceiling for the body, after inflating; a larger one is refused unread.
            timeouts: what it may take.

        Raises:
            WireError: no whole answer came.
        """

        def exchange() -> Awaitable[httpx.Response]:
            return self._client.exchange(method, url, headers, content, timeouts.connect_s)

        return await self._watched(exchange, urlsplit(url).hostname or "", max_bytes, timeouts)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _watched(self, exchange: _Exchange, host: str, max_bytes: int, timeouts: Timeouts) -> Reply:
        progress = ProgressTimeout(timeouts, max_bytes, self._clock.now())
        with anyio.CancelScope() as scope:
            watch = asyncio.create_task(self._watch(progress, scope), name="watch")
            try:
                return await self._exchange(exchange, host, max_bytes, progress)
            finally:
                watch.cancel()
        match watch.result():
            case Cause.NO_FIRST_BYTE as cause:
                raise WireError(cause, f"no answer from {host} within {timeouts.first_byte_s:g} s")
            case Cause.STALLED as cause:
                raise WireError(cause, f"{host} sent nothing for {timeouts.idle_s:g} s ({progress})")
        raise WireError(
            Cause.TOO_SLOW, f"{host} sends too slowly to end within {timeouts.body_s:g} s ({progress})"
        )

    async def _watch(self, progress: ProgressTimeout, scope: anyio.CancelScope) -> Cause:
        while True:
            looked = self._clock.now()
            nap = min(max(progress.due() - looked, 0.001), _LOOK_S)
            await self._clock.sleep(nap)
            now = self._clock.now()
            if now - looked > nap + _LATE_S:
                progress.excuse(now - looked)
            elif (expired := progress.expired(now)) is not None:
                scope.cancel()
                return expired

    async def _exchange(
        self, exchange: _Exchange, host: str, max_bytes: int, progress: ProgressTimeout
    ) -> Reply:
        from downloader.earthengine.http import FOREIGN_ERRORS, translated

        answered = False
        try:
            response = await exchange()
            answered = True
            try:
                body = await self._body(response, max_bytes, progress)
            finally:
                await response.aclose()
        except FOREIGN_ERRORS as error:
            raise translated(error, host, answered=answered) from error
        return Reply(response.status_code, dict(response.headers), body)

    async def _body(
        self, response: httpx.Response, max_bytes: int, progress: ProgressTimeout
    ) -> bytes | memoryview:
        success = response.status_code == 200
        limit = max_bytes if success else _ERROR_BODY_BYTES
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        length = _length(response)
        progress.begin(self._clock.now(), length)
        if encoding not in {"", "identity"}:
            return await self._inflated(response, encoding, limit, progress)
        if length is not None and success:
            if length > limit:
                raise WireError(
                    Cause.TOO_LARGE, f"the answer has {length} bytes, {limit} at most were asked for"
                )
            return await self._sized(response, length, progress)
        return await self._gathered(response, limit, progress, cut=not success)

    async def _sized(self, response: httpx.Response, length: int, progress: ProgressTimeout) -> memoryview:
        """Read a body of known length into memory that was used before."""
        from downloader.earthengine.http import SIZED_BODY

        def received(nbytes: int) -> None:
            progress.received(nbytes, self._clock.now())

        view = self._buffers.take(length)
        at = await response.extensions[SIZED_BODY].read_into(view, received)
        if at < length:
            raise WireError(Cause.SHORT_BODY, f"the answer ended after {at} of {length} bytes")
        return view

    async def _gathered(
        self, response: httpx.Response, limit: int, progress: ProgressTimeout, *, cut: bool
    ) -> bytes:
        chunks: list[bytes] = []
        total = 0
        async for chunk in response.aiter_raw():
            chunks.append(chunk)
            total += len(chunk)
            progress.received(len(chunk), self._clock.now())
            if total > limit:
                if cut:
                    break
                raise WireError(
                    Cause.TOO_LARGE, f"the answer has more than the {limit} bytes asked for at most"
                )
        return b"".join(chunks)[:limit]

    async def _inflated(
        self, response: httpx.Response, encoding: str, limit: int, progress: ProgressTimeout
    ) -> bytes:
        """Read a body that is compressed although it should not be, inflated no further than `limit`."""
        if encoding not in {"gzip", "x-gzip", "deflate"}:
            raise WireError(
                Cause.BAD_ENCODING, f"the answer is encoded as {encoding[:40]!r}, which was not asked for"
            )
        inflater = zlib.decompressobj(wbits=47)  # gzip or zlib, by its head
        chunks: list[bytes] = []
        room = limit
        try:
            async for chunk in response.aiter_raw():
                progress.received(len(chunk), self._clock.now())
                data = chunk
                while data:
                    chunks.append(inflater.decompress(data, room + 1))
                    room -= len(chunks[-1])
                    if room < 0:
                        raise WireError(Cause.TOO_LARGE, f"the answer inflates to more than {limit} bytes")
                    data = inflater.unconsumed_tail
        except zlib.error as error:
            raise WireError(Cause.BAD_ENCODING, f"the answer says {encoding} and is not") from error
        if not inflater.eof:
            raise WireError(Cause.SHORT_BODY, "the compressed answer ended before its end")
        return b"".join(chunks)


def _length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None
