"""The HTTP library: how its client is made, and what its errors mean. Imported when the first client is made."""

from __future__ import annotations

import base64
import ssl
from functools import cache
from typing import Any, Final
from urllib.request import getproxies

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient
from httpx_aiohttp.transport import AiohttpResponseStream

from downloader.earthengine.redact import readable
from downloader.earthengine.wire_error import WireError, WireKind
from downloader.errors import JobError

__all__ = ["DIRECT", "FOREIGN_ERRORS", "check_proxies", "make_client", "ssl_context", "translated"]

FOREIGN_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError)
"""All that the library raises for what the wire does. `TimeoutError` is an `OSError`."""

DIRECT: Final = (
    "all://127.0.0.1", "all://localhost", "all://[::1]", "all://169.254.169.254", "all://metadata.google.internal"
)  # fmt: skip
"""Hosts that no proxy can reach for us, whatever the proxy variables say: this machine and the metadata address."""

_READ_BYTES: Final = 2**18
"""Buffer of one connection; twice that may wait in it unread."""

_CHUNK_BYTES: Final = 2 * _READ_BYTES
"""A whole buffer is taken at once: chunks of 16 kB cost twice the CPU (see `transport`)."""

_KEEP_ALIVE_S: Final = 55.0
"""Idle connections are kept so long, a little less than the minute after which many proxies drop them."""


@cache
def ssl_context() -> ssl.SSLContext:
    """Trusted certificates, read once: it takes some 50 ms. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured."""
    return httpx.create_ssl_context()


def make_client(connections: int, user_agent: str) -> httpx.AsyncClient:
    """A client that verifies TLS, honours the proxy variables and follows no redirect. Raises JobError."""
    check_proxies()
    return _Client(
        headers={"user-agent": user_agent, "accept": "*/*", "accept-encoding": "identity"},
        limits=httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_ALIVE_S
        ),
        mounts=dict.fromkeys(DIRECT),
        verify=ssl_context(),
        follow_redirects=False,
        timeout=None,  # `Pace` watches; the time to connect goes with each request
    )


def check_proxies() -> None:
    """Raise JobError where a proxy variable holds no address: httpx's own words would repeat parts of it."""
    for scheme in ("http", "https", "all"):
        url = getproxies().get(scheme)
        try:
            if url:
                httpx.Proxy(url if "://" in url else f"http://{url}")
        except (httpx.InvalidURL, ValueError):
            raise JobError(
                f"the environment's {scheme.upper()}_PROXY is no proxy's address; write one such as "
                "http://proxy.example:3128, with characters such as / @ : # of a password percent-encoded"
            ) from None


class _Transport(AiohttpTransport):
    """The aiohttp-backed transport with large reads and without a cookie jar."""

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self.limits.max_connections or 100,
            keepalive_timeout=self.limits.keepalive_expiry,
            ssl=self.ssl_context,
        )
        return aiohttp.ClientSession(
            connector=connector, read_bufsize=_READ_BYTES, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream.CHUNK_SIZE = _CHUNK_BYTES
        return response


class _Client(HttpxAiohttpClient):
    """httpx's client, whose every transport, also those through proxies, is the one above."""

    def _init_transport(self, *args: Any, **options: Any) -> httpx.AsyncBaseTransport:  # httpx's own hook
        options.pop("transport", None)
        return _Transport(*args, **options)

    def _init_proxy_transport(
        self, proxy: httpx.Proxy, *args: Any, **options: Any
    ) -> httpx.AsyncBaseTransport:
        return _Transport(*args, **{**options, "proxy": _with_header(proxy)})


def _with_header(proxy: httpx.Proxy) -> httpx.Proxy:
    """A proxy whose user and password are a header: aiohttp's own class for them is on its way out.

    aiohttp makes `Proxy-Authorization` of it; nothing of it reaches the host behind a tunnel.
    """
    if proxy.raw_auth is None:
        return proxy
    basic = base64.b64encode(b":".join(proxy.raw_auth)).decode()
    return httpx.Proxy(proxy.url, headers={**proxy.headers, "authorization": f"Basic {basic}"})


_KINDS: Final[tuple[tuple[type[BaseException], WireKind, str], ...]] = (
    (aiohttp.ClientConnectorDNSError, "dns", "{host} has no address"),
    (aiohttp.ClientConnectorCertificateError, "tls", "the certificate of {host} is not valid"),
    (aiohttp.ClientSSLError, "tls", "no secure connection to {host}"),
    (aiohttp.ServerFingerprintMismatch, "tls", "the certificate of {host} is not valid"),
    (ssl.SSLError, "tls", "no secure connection to {host}"),
    (aiohttp.ClientHttpProxyError, "proxy", "the proxy refuses to connect to {host}"),
    (aiohttp.ClientProxyConnectionError, "proxy", "the proxy cannot be reached"),
    (httpx.ProxyError, "proxy", "the proxy fails"),
    (aiohttp.ServerTimeoutError, "connect", "no connection to {host} in time"),
    (aiohttp.ClientConnectorError, "connect", "no connection to {host}"),
    (aiohttp.ClientPayloadError, "short body", "{host} ended the connection within the answer"),
    (aiohttp.ClientConnectionError, "reset", "{host} ended the connection"),
    (aiohttp.InvalidURL, "url", "a URL that cannot be"),
    (aiohttp.ClientError, "protocol", "{host} does not answer as an HTTP server does"),
    (httpx.UnsupportedProtocol, "url", "a URL that cannot be"),
    (httpx.InvalidURL, "url", "a URL that cannot be"),
    (httpx.TimeoutException, "connect", "no connection to {host} in time"),
    (httpx.ConnectError, "connect", "no connection to {host}"),
    (httpx.ProtocolError, "protocol", "{host} does not answer as an HTTP server does"),
    (BaseException, "reset", "{host} ended the connection"),
)
"""First match wins, so narrow types stand before wide ones."""


def translated(error: BaseException, host: str, *, answered: bool) -> WireError:
    """What an error of the library means.

    httpx-aiohttp reports a connection that the server closed as `httpx.ConnectTimeout`, so what lies beneath is
    looked at first.

    Args:
        error: as caught.
        host: whom the request went to.
        answered: whether the answer's head had come.
    """
    origin = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    kind, text = next((kind, text) for type_, kind, text in _KINDS if isinstance(origin, type_))
    if kind == "reset" and answered:
        kind = "short body"
    details = readable(str(origin), 160)
    message = text.format(host=host) + (f" ({details})" if details else "")
    return WireError(kind, message, unanswered=kind == "reset" and not answered)
