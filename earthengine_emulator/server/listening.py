"""A listening address that can go away for a while and come back on the same port."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_BACKLOG = 1024
_GRACE_S = 0.1
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class Listener:
    """A handler on a port.

    On 127.0.0.1 the same port of ::1 is served too where it can be, since `localhost` may mean either.
    """

    def __init__(self, handler: Handler, host: str, *, any_name: bool = False) -> None:
        """Answer requests to any host name with `any_name`; else only those to this machine's or Google's."""
        self._host = host
        self._server = web.Server(
            handler if any_name else _guarded(handler), access_log=None, handler_cancellation=True
        )
        self._runner = web.ServerRunner(self._server)
        self._sites: list[web.TCPSite] = []
        self._outage: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, port: int) -> int:
        """Begin to listen; the port taken."""
        await self._runner.setup()
        await self._open(port)
        return self.port

    async def stop(self) -> None:
        """End, with every connection."""
        if self._outage is not None:
            self._outage.cancel()
        await self._runner.cleanup()

    def refuse(self, seconds: float) -> None:
        """Cut all connections and refuse new ones for so long; while one outage lasts, another adds nothing."""
        if self._outage is None or self._outage.done():
            self._outage = asyncio.get_running_loop().create_task(self._away(seconds))

    async def _open(self, port: int) -> None:
        first = await self._site(self._host, port)
        self._sites = [first]
        self.port = int(self._runner.addresses[0][1])
        if self._host in ("127.0.0.1", "localhost") and socket.has_ipv6:
            try:
                self._sites.append(await self._site("::1", self.port))
            except OSError:
                logging.getLogger(__name__).debug("::1 port %d is not to be had", self.port)

    async def _site(self, host: str, port: int) -> web.TCPSite:
        site = web.TCPSite(self._runner, host, port, backlog=_BACKLOG, shutdown_timeout=_GRACE_S)
        await site.start()
        return site

    async def _away(self, seconds: float) -> None:
        for site in self._sites:
            await site.stop()
        for connection in list(self._server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(seconds)
        await self._open(self.port)


def _guarded(handler: Handler) -> Handler:
    """Return `handler` behind a check of the Host header.

    A web page may point a name of its own at 127.0.0.1 after it was loaded (DNS rebinding); to the browser the page
    and the emulator are one origin then. The name is still the page's, and it stands in this header.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        host = request.headers.get("Host")
        if host is None or is_own_name(host):
            return await handler(request)
        return web.Response(
            status=403,
            text="this emulator answers to 127.0.0.1 and localhost; start it with --allow-remote for other names\n",
        )

    return handle


def is_own_name(host: str) -> bool:
    """Return whether a Host header is a name that only this machine or Google can own."""
    name = urlsplit(f"//{host}").hostname if _HOST.fullmatch(host) else None
    if name is None:
        return False
    name = name.rstrip(".")
    if name in ("localhost", "googleapis.com") or name.endswith((".localhost", ".googleapis.com")):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
