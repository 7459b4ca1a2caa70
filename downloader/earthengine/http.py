"""The HTTP library: how its client is made, and what its errors mean. Imported when the first client is made."""

from __future__ import annotations

import base64
import os
import ssl
import time
from collections import deque
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypedDict
from urllib.request import getproxies, proxy_bypass

import certifi
from yarl import URL

from downloader.earthengine.libraries import aiohttp
from downloader.earthengine.redact import readable
from downloader.earthengine.wire_error import WireError
from downloader.errors import Cause, JobError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from aiohttp.connector import Connection


FOREIGN_ERRORS: Final = (aiohttp.ClientError, OSError)
"""All that the library raises for failures of a connection. `TimeoutError` is an `OSError`."""

_DIRECT: Final = frozenset({"127.0.0.1", "localhost", "::1", "169.254.169.254", "metadata.google.internal"})
"""Hosts that are asked without a proxy, whatever the proxy variables say: this machine and the metadata address."""

_READ_BYTES: Final = 2**18
"""Buffer of one connection; twice that may wait in it unread."""

_KEEP_ALIVE_S: Final = 55.0
"""How long idle connections are kept: a little less than the minute after which many proxies drop them."""

REST_S: Final = 0.1
"""A connection rests so long after an answer: what its peer sends beyond that answer is seen before the next request."""

on_used_connection: Final[ContextVar[bool]] = ContextVar("on_used_connection", default=False)
"""Whether the present task's last request went out on a connection that had been used before."""


@cache
def ssl_context() -> ssl.SSLContext:
    """Return the trusted certificates, read once: it takes some 50 ms. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.

    Raises:
        JobError: the file or folder that the variable names cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        return ssl.create_default_context(
            cafile=file or (None if folder else certifi.where()), capath=None if file else folder or None
        )
    except OSError as error:
        if not file and not folder:
            raise
        name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
        raise JobError(
            f"{name}: {os.environ[name]} cannot be read as certificates ({error.strerror or error}); "
            "name a PEM file, or unset the variable"
        ) from error


class Client:
    """One aiohttp session: connections of one event loop, through the proxies that the environment names.

    TLS is verified, no redirect is followed, and no body is inflated. Made within the running loop.
    """

    def __init__(self, connections: int, user_agent: str) -> None:
        """Open nothing yet; `connections` are used at once, at most. Raises JobError where a proxy has no address."""
        check_proxies()
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=connections, keepalive_timeout=_KEEP_ALIVE_S),
            headers={"user-agent": user_agent, "accept": "*/*", "accept-encoding": "identity"},
            read_bufsize=_READ_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        # aiohttp would repeat a GET by itself, past the limiter.
        self._session._retry_connection = False  # noqa: SLF001  # no public switch; tests of the client over a socket hold it
        self._proxies: dict[tuple[str, str | None], _Proxy] = {}

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | str | None,
        connect_s: float,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Return what sends one request when it is entered, and gives its answer with the body still to come.

        Args:
            method: GET or POST.
            url: absolute, percent-encoded.
            headers: beside those every request has.
            content: body of the request.
            connect_s: seconds to connect in; nothing else is bounded.
        """
        address = URL(url, encoded=True)
        origin = address.scheme, address.host
        if origin not in self._proxies:
            self._proxies[origin] = _proxy_of(*origin)
        return self._session.request(
            method,
            address,
            headers=headers,
            data=content,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
            **self._proxies[origin],
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Proxy(TypedDict, total=False):
    """What aiohttp is told of a proxy; nothing where there is none."""

    proxy: URL
    proxy_headers: dict[str, str]


def _proxy_of(scheme: str, host: str | None) -> _Proxy:
    """Return the proxy of a host, by the proxy variables."""
    text = getproxies().get(scheme) or getproxies().get("all")
    if not text or host is None or host in _DIRECT or proxy_bypass(host):
        return {}
    url = _address(text)
    plain: _Proxy = {"proxy": url.with_user(None)}
    if url.user is None:
        return plain
    # aiohttp makes `Proxy-Authorization` of it; nothing of it reaches the host behind a tunnel.
    basic = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
    return {**plain, "proxy_headers": {"authorization": f"Basic {basic}"}}


def check_proxies() -> None:
    """Raise JobError where a proxy variable holds no address: the library's own words would repeat parts of it."""
    for scheme in ("http", "https", "all"):
        text = getproxies().get(scheme)
        try:
            if text:
                _address(text)
        except ValueError:
            raise JobError(
                f"the environment's {scheme.upper()}_PROXY is no proxy's address; write one such as "
                "http://proxy.example:3128, with characters such as / @ : # of a password percent-encoded"
            ) from None


def _address(text: str) -> URL:
    url = URL(text if "://" in text else f"http://{text}")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("no address")
    return url


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
    (BaseException, Cause.RESET, "{host} ended the connection"),
)
"""First match wins, so narrow types stand before wide ones."""


def translated(error: BaseException, host: str, *, answered: bool) -> WireError:
    """Return what an error of the library means.

    Args:
        error: as caught.
        host: the host that the request went to.
        answered: whether the answer's head had come.
    """
    cause, text = next((cause, text) for type_, cause, text in _CAUSES if isinstance(error, type_))
    if cause is Cause.RESET and answered:
        cause = Cause.SHORT_BODY
    elif cause is Cause.RESET and on_used_connection.get():
        cause = Cause.IDLE_CONNECTION
    elif isinstance(error, aiohttp.ClientHttpProxyError) and error.status == 407:
        cause = Cause.PROXY_LOGIN
    details = readable(str(error), 160)
    return WireError(cause, text.replace("{host}", host) + (f" ({details})" if details else ""))
