"""Faults of transport: how a good answer is cut, stalled, dripped, or not sent at all (docs/faults.md, rows 20 to 24)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from earthengine_emulator.api import errors
from earthengine_emulator.api.replies import Reply, failure
from earthengine_emulator.faults.body import whole
from earthengine_emulator.faults.engine import Strike

Outage = Callable[[float], None]
"""Refuses connections for so many seconds."""


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a reset rather than an orderly end."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _drained(request: web.BaseRequest) -> None:
    """Give the written bytes time to leave before what follows them."""
    transport = request.transport
    for _ in range(200):
        if transport is None or transport.get_write_buffer_size() == 0:
            break
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)


def _head(reply: Reply, headers: Mapping[str, str], length: int | None) -> bytes:
    """Return status line and headers, written by hand, since what follows them is to be wrong."""
    lines = [f"HTTP/1.1 {reply.status} OK", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Wire:
    """Sends one reply the way a fault wants it."""

    def __init__(
        self,
        request: web.BaseRequest,
        reply: Reply,
        headers: Mapping[str, str],
        strike: Strike,
        outage: Outage,
    ) -> None:
        self._request = request
        self._reply = reply
        self._headers = headers
        self._strike = strike
        self._outage = outage

    async def send(self) -> None:
        """Send the reply; afterwards the connection is closed, unless the answer was whole."""
        methods: dict[str, Callable[[], Awaitable[None]]] = {
            "refuse": self._refuse,
            "reset-before-headers": self._reset_before,
            "reset-in-headers": self._reset_in_headers,
            "reset-after-headers": self._reset_after_headers,
            "reset-in-body": self._reset_in_body,
            "short-body": self._short,
            "cut-chunked": self._cut_chunked,
            "hang": self._hang,
            "stall-before-headers": self._stall_before,
            "stall-after-headers": self._stall_after,
            "stall-in-body": self._stall_in_body,
            "drip": self._drip,
            "close-after": self._close_after,
            "chunked": self._chunked,
        }
        await methods[self._strike.name]()

    def _write(self, data: bytes) -> None:
        if self._request.transport is not None and data:
            self._request.transport.write(data)

    def _close(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()

    def _head(self, length: int | None) -> bytes:
        return _head(self._reply, self._headers, length)

    def _part(self, body: bytes) -> int:
        """Return bytes of the body before the fault."""
        return int(len(body) * self._strike.parameter("fraction"))

    async def _refuse(self) -> None:
        self._outage(self._strike.parameter("seconds"))
        reset(self._request)

    async def _reset_before(self) -> None:
        reset(self._request)

    async def _reset_in_headers(self) -> None:
        self._write(b"HTTP/1.1 200 OK\r\nContent-Type: applic")
        await _drained(self._request)
        reset(self._request)

    async def _reset_after_headers(self) -> None:
        self._write(self._head(self._reply.length))
        await _drained(self._request)
        reset(self._request)

    async def _reset_in_body(self) -> None:
        body = whole(self._reply)
        self._write(self._head(len(body)) + body[: self._part(body)])
        await _drained(self._request)
        reset(self._request)

    async def _short(self) -> None:
        body = whole(self._reply)
        self._write(self._head(len(body)) + body[: self._part(body)])
        self._close()

    async def _cut_chunked(self) -> None:
        body = whole(self._reply)
        part = body[: self._part(body)]
        self._write(self._head(None) + _chunks(part))
        self._close()

    async def _hang(self) -> None:
        self._reply = failure(errors.internal_error())
        self._headers = {**self._headers, "Content-Type": self._reply.content_type}
        await self._stall_before()

    async def _stall_before(self) -> None:
        await asyncio.sleep(self._strike.parameter("seconds"))
        body = whole(self._reply)
        self._write(self._head(len(body)) + body)
        self._close()

    async def _stall_after(self) -> None:
        body = whole(self._reply)
        self._write(self._head(len(body)))
        await asyncio.sleep(self._strike.parameter("seconds"))
        self._write(body)
        self._close()

    async def _stall_in_body(self) -> None:
        body = whole(self._reply)
        part = self._part(body)
        self._write(self._head(len(body)) + body[:part])
        await asyncio.sleep(self._strike.parameter("seconds"))
        self._write(body[part:])
        self._close()

    async def _drip(self) -> None:
        body = whole(self._reply)
        self._write(self._head(len(body)))
        pause = self._strike.parameter("seconds_per_byte")
        for i in range(len(body)):
            self._write(body[i : i + 1])
            await asyncio.sleep(pause)
        self._close()

    async def _close_after(self) -> None:
        body = whole(self._reply)
        self._write(self._head(len(body)) + body)
        await asyncio.sleep(self._strike.parameter("seconds"))
        self._close()

    async def _chunked(self) -> None:
        self._write(self._head(None) + _chunks(whole(self._reply)) + b"0\r\n\r\n")
        self._close()


CHUNK: Final = 16_384


def _chunks(body: bytes) -> bytes:
    """Return a body in the chunked coding, without the last chunk."""
    parts = (body[i : i + CHUNK] for i in range(0, len(body), CHUNK))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
