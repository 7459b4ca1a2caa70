"""Read the body of an answer straight into memory that is there: the kernel copies each byte once.

aiohttp takes every piece as new bytes, 256 kB of fresh memory that the kernel clears, hands it through its parser to a
buffer, and from there on: for 964 MB in answers of 8 MB the client's event loop needed 2.1 s of processor time, of which
0.6 s are left out here. The parser reads the head and what came with it; the rest of a body whose length is known is
received by `_Receiver`, in the parser's place at the connection. `_parser` is private: pyproject.toml bounds aiohttp's
version, and tests over sockets and TLS hold it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from downloader.earthengine.libraries import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler


class SizedBody:
    """The body of an answer that says its length; read once."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read_into(self, view: memoryview, received: Callable[[int], None]) -> int:
        """Fill `view`, which is as long as the body; return how many bytes came before the body ended.

        Args:
            view: writable bytes. Nothing is written to it once this has returned or raised.
            received: told how many bytes came, each time some do.

        Raises:
            aiohttp.ClientError: the connection ended within the body.
            OSError: the same.
        """
        content, connection = self._response.content, self._response.connection
        at = 0
        while at < len(view) and (piece := content.read_nowait(len(view) - at)):
            view[at : at + len(piece)] = piece
            at += len(piece)
            received(len(piece))
        # The library gives a connection back when its parser has seen the whole body.
        if (
            at == len(view)
            or connection is None
            or connection.protocol is None
            or connection.transport is None
        ):
            return at
        parser, transport = connection.protocol, connection.transport
        receiver = _Receiver(view[at:], received, parser, transport)
        transport.set_protocol(receiver)
        try:
            await receiver.ended.wait()
        finally:
            transport.set_protocol(parser)
        if receiver.is_full:
            content.feed_eof()
        elif error := content.exception():
            raise error
        return at + receiver.at


class _Receiver(asyncio.BufferedProtocol):
    """The protocol of a connection while a body arrives, in place of the library's."""

    def __init__(
        self,
        view: memoryview,
        received: Callable[[int], None],
        parser: ResponseHandler,
        transport: asyncio.Transport,
    ) -> None:
        self.at = 0
        self.ended = asyncio.Event()
        self._view = view
        self._received = received
        self._parser = parser
        self._transport = transport

    @property
    def is_full(self) -> bool:
        return self.at == len(self._view)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # a hint
        return self._view[self.at :]

    def buffer_updated(self, nbytes: int) -> None:
        self.at += nbytes
        self._received(nbytes)
        if self.is_full:
            # What still comes is kept as a tail where nothing parses it, and a connection with a tail is not used again.
            self._parser._parser = None  # noqa: SLF001
            self._transport.set_protocol(self._parser)
            self.ended.set()

    def eof_received(self) -> None:
        self._parser.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser.connection_lost(exc)
        self.ended.set()

    def pause_writing(self) -> None:
        self._parser.pause_writing()

    def resume_writing(self) -> None:
        self._parser.resume_writing()
