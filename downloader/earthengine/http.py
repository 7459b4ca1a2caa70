"""The HTTP library: how its client is made, and what its errors mean. Imported when the first client is made."""

from __future__ import annotations

import base64
import os
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from downloader.earthengine.body import SizedBody
from downloader.earthengine.libraries import AiohttpResponseStream, AiohttpTransport, aiohttp, httpx
from downloader.earthengine.redact import readable
from downloader.earthengine.wire_error import WireError
from downloader.errors import Cause, JobError

if TYPE_CHECKING:
    from aiohttp.connector import Connection


FOREIGN_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError)
"""All that the library raises for failures of a connection. `TimeoutError` is an `OSError`."""

DIRECT: Final = (
    "all://127.0.0.1", "all://localhost", "all://[::1]", "all://169.254.169.254", "all://metadata.google.internal"
)  # fmt: skip
"""Hosts that are asked without a proxy, whatever the proxy variables say: this machine and the metadata address."""

_READ_BYTES: Final = 2**18
"""Buffer of one connection; twice that may wait in it unread."""

_CHUNK_BYTES: Final = 2 * _READ_BYTES
"""A whole buffer is taken at once: chunks of 16 kB cost twice the CPU (see `transport`)."""

_KEEP_ALIVE_S: Final = 55.0
"""How long idle connections are kept: a little less than the minute after which many proxies drop them."""

REST_S: Final = 0.1
"""A connection rests so long after an answer: what its peer sends beyond that answer is seen before the next request."""

SIZED_BODY: Final = "downloader.sized_body"
"""The extension of a response that holds its `SizedBody`."""

on_used_connection: Final[ContextVar[bool]] = ContextVar("on_used_connection", default=False)
"""Whether the present task's last request went out on a connection that had been used before."""


@cache
def ssl_context() -> ssl.SSLContext:
    """Return the trusted certificates, read once: it takes some 50 ms. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.

    Raises:
        JobError: the file or folder that the variable names cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
        if name is None:
            raise
        raise JobError(
            f"{name}: {os.environ[name]} cannot be read as certificates ({error.strerror or error}); "
            "name a PEM file, or unset the variable"
        ) from error


def ssl_context_for(url: str) -> ssl.SSLContext:
    """Return the trusted certificates, or for a URL that is not of TLS none at all: reading them takes time. Raises JobError."""
    return ssl_context() if url.lower().startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Client(httpx.AsyncClient):
    """httpx's client, whose `exchange` leaves out what no request here needs: cookies, redirects, httpx's authentication.

    With them and with its own way of making requests, each costs 0.4 ms more, a fifth of what fetching a small tile takes.
    `_transport_for_url` is private: pyproject.toml bounds httpx's version.
    """

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, connect_s: float
    ) -> httpx.Response:
        """Send one request; return its answer with the body still to come, to be closed.

        Args:
            method: GET or POST.
            url: absolute.
            headers: beside those every request has.
            content: body of the request.
            connect_s: seconds to connect in; nothing else is bounded.
        """
        timeout = {"connect": connect_s, "read": None, "write": None, "pool": None}
        request = httpx.Request(
            method,
            _parsed(url),
            headers=[*self.headers.multi_items(), *headers.items()],
            content=content,
            extensions={"timeout": timeout},
        )
        return await self._transport_for_url(request.url).handle_async_request(request)


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """Return the URL, which most requests of a job share."""
    return httpx.URL(url)


def make_client(connections: int, user_agent: str) -> Client:
    """Return a client that verifies TLS, honours the proxy variables and follows no redirect. Raises JobError."""
    check_proxies()

    def transport(proxy: httpx.Proxy | None = None) -> httpx.AsyncBaseTransport:
        return _Transport(
            verify=ssl_context_for(""),
            client=lambda: _session(connections),
            proxy=proxy and _with_header(proxy),
        )

    return Client(
        headers={"user-agent": user_agent, "accept": "*/*", "accept-encoding": "identity"},
        transport=transport(),
        mounts=_mounts(transport),
        follow_redirects=False,
        timeout=None,  # `ProgressTimeout` watches; the time to connect goes with each request
    )


def check_proxies() -> None:
    """Raise JobError where a proxy variable holds no address: httpx's own words would repeat parts of it."""
    for scheme in ("http", "https", "all"):
        url = getproxies().get(scheme)
        try:
            if url:
                _proxy(url)
        except (httpx.InvalidURL, ValueError):
            raise JobError(
                f"the environment's {scheme.upper()}_PROXY is no proxy's address; write one such as "
                "http://proxy.example:3128, with characters such as / @ : # of a password percent-encoded"
            ) from None


def _proxy(url: str) -> httpx.Proxy:
    return httpx.Proxy(url if "://" in url else f"http://{url}")


def _mounts(
    transport: Callable[[httpx.Proxy], httpx.AsyncBaseTransport],
) -> dict[str, httpx.AsyncBaseTransport | None]:
    """Return which transport serves which addresses, by the proxy variables; None is the one without a proxy."""
    proxies = getproxies()
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {
        f"{scheme}://": transport(_proxy(proxies[scheme]))
        for scheme in ("http", "https", "all")
        if proxies.get(scheme)
    }
    for host in map(str.strip, proxies.get("no", "").split(",")):
        if host == "*":
            return {}
        if host:
            mounts[_pattern(host)] = None
    return mounts | dict.fromkeys(DIRECT)


def _pattern(host: str) -> str:
    """Return httpx's pattern for an entry of `NO_PROXY`: a name stands for its subdomains too."""
    if "://" in host:
        return host
    try:
        address = ip_address(host.partition("/")[0])
    except ValueError:
        return f"all://{host}" if host == "localhost" else f"all://*{host}"
    return f"all://[{host}]" if address.version == 6 else f"all://{host}"


def _session(connections: int) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=_Connector(limit=connections, keepalive_timeout=_KEEP_ALIVE_S),
        read_bufsize=_READ_BYTES,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    # aiohttp would repeat a GET by itself, past the limiter.
    session._retry_connection = False  # noqa: SLF001  # no public switch; tests of the client over a socket hold it
    return session


class _Connector(aiohttp.TCPConnector):
    """Keeps connections only while nothing unasked for came on them.

    aiohttp looks for surplus bytes when a connection is released, and not when it is taken again: an answer sent twice
    would be taken for that of the next request, and another tile's pixels be stored.

    `_get`, `_conns` and the session's `_retry_connection` are private: pyproject.toml bounds aiohttp's version. Tried with
    3.14.5.
    """

    def _get_ssl_context(self, req: aiohttp.ClientRequest) -> ssl.SSLContext | None:
        return ssl_context() if req.is_ssl() else None

    async def _get(self, key: Any, traces: Any) -> Connection | None:  # noqa: ANN401  # aiohttp's own types
        kept, now = self._conns.get(key, deque()), time.monotonic()
        for protocol, released in tuple(kept):
            if protocol.should_close or not protocol.is_connected() or now - released > _KEEP_ALIVE_S:
                kept.remove((protocol, released))
                protocol.close()
        if not kept:
            self._conns.pop(key, None)
        # The first one was released first.
        is_rested = len(kept) > 0 and now - kept[0][1] >= REST_S
        connection = await super()._get(key, traces) if is_rested else None
        on_used_connection.set(connection is not None)
        return connection


class _Transport(AiohttpTransport):
    """The aiohttp-backed transport, with large reads, and bodies that can be read into memory that is there."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream.CHUNK_SIZE = _CHUNK_BYTES
            # httpx has no call that reads into memory of the caller's.
            response.extensions[SIZED_BODY] = SizedBody(response.stream._aiohttp_response)  # noqa: SLF001
        return response


def _with_header(proxy: httpx.Proxy) -> httpx.Proxy:
    """Return a proxy whose user and password are a header: aiohttp's own class for them is deprecated.

    aiohttp makes `Proxy-Authorization` of it; nothing of it reaches the host behind a tunnel.
    """
    if proxy.raw_auth is None:
        return proxy
    basic = base64.b64encode(b":".join(proxy.raw_auth)).decode()
    return httpx.Proxy(proxy.url, headers={**proxy.headers, "authorization": f"Basic {basic}"})


_CAUSES: Final[tuple[tuple[type[BaseException], Cause, str], ...]] = (
    (aiohttp.ClientConnectorDNSError, Cause.NO_ADDRESS, "{host} has no address"),
    (aiohttp.ClientConnectorCertificateError, Cause.CERTIFICATE, "the certificate of {host} is not valid"),
    (aiohttp.ClientSSLError, Cause.TLS, "no secure connection to {host}"),
    (ssl.SSLError, Cause.TLS, "no secure connection to {host}"),
    (aiohttp.ClientHttpProxyError, Cause.PROXY, "the proxy refuses to connect to {host}"),
    (aiohttp.ClientProxyConnectionError, Cause.PROXY, "the proxy cannot be reached"),
    (aiohttp.ServerTimeoutError, Cause.NO_CONNECTION, "no connection to {host} in time"),
    (aiohttp.ClientConnectorError, Cause.NO_CONNECTION, "no connection to {host}"),
    (aiohttp.ClientPayloadError, Cause.SHORT_BODY, "{host} ended the connection within the answer"),
    (aiohttp.ClientConnectionError, Cause.RESET, "{host} ended the connection"),
    (aiohttp.InvalidURL, Cause.BAD_URL, "the address is not valid"),
    (aiohttp.ClientError, Cause.NOT_HTTP, "{host} does not answer as an HTTP server does"),
    (httpx.UnsupportedProtocol, Cause.BAD_URL, "the address is not valid"),
    (httpx.InvalidURL, Cause.BAD_URL, "the address is not valid"),
    (BaseException, Cause.RESET, "{host} ended the connection"),
)
"""First match wins, so narrow types stand before wide ones."""


def translated(error: BaseException, host: str, *, answered: bool) -> WireError:
    """Return what an error of the library means.

    httpx-aiohttp reports a connection that the server closed as `httpx.ConnectTimeout`, so the error beneath is
    looked at first.

    Args:
        error: as caught.
        host: the host that the request went to.
        answered: whether the answer's head had come.
    """
    origin = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    cause, text = next((cause, text) for type_, cause, text in _CAUSES if isinstance(origin, type_))
    if cause is Cause.RESET and answered:
        cause = Cause.SHORT_BODY
    elif cause is Cause.RESET and on_used_connection.get():
        cause = Cause.IDLE_CONNECTION
    elif isinstance(origin, aiohttp.ClientHttpProxyError) and origin.status == 407:
        cause = Cause.PROXY_LOGIN
    details = readable(str(origin), 160)
    return WireError(cause, text.replace("{host}", host) + (f" ({details})" if details else ""))
