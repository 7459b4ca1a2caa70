"""google-auth's HTTP over httpx: its usual transport needs a package that this project does without.

Blocking, as google-auth is; it runs in a worker thread. Every call is bounded in time and size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from downloader.earthengine.redact import readable
from downloader.model.time import http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx


CALL_S: Final = 15.0
"""Seconds for one call of a token endpoint, from connecting to its last byte."""

_MAX_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """An answer in the form of `google.auth.transport.Response`."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def __repr__(self) -> str:
        return f"TokenAnswer({self.status}, {len(self.data)} bytes)"  # the bytes may be a token


class TokenRequest:
    """A caller in the form of `google.auth.transport.Request`.

    Failures that may pass (no connection, too slow, 429, 5xx) raise google-auth's `TransportError` at once:
    retries are its caller's, who waits on the loop's clock and not in a thread.
    """

    def __init__(self, call_s: float = CALL_S) -> None:
        self._call_s = call_s
        self.skew_s: float | None = None
        """Seconds by which this machine's clock is ahead of that of the last answer; None before an answer."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> TokenAnswer:
        """Make one call. Raises google-auth's `TransportError` for failures that may pass."""
        from urllib.parse import urlsplit

        from google.auth.exceptions import TransportError

        from downloader.earthengine.http import DIRECT, check_proxies, ssl_context_for
        from downloader.earthengine.libraries import httpx

        check_proxies()

        host = urlsplit(url).hostname or "the token endpoint"
        limit_s = min(timeout or self._call_s, self._call_s)
        deadline = time.monotonic() + limit_s
        try:
            with (
                httpx.Client(
                    timeout=limit_s,
                    follow_redirects=False,
                    mounts=dict.fromkeys(DIRECT),
                    verify=ssl_context_for(url),
                ) as client,
                client.stream(
                    method, url, content=body, headers={**(headers or {}), "accept-encoding": "identity"}
                ) as response,
            ):
                data = _bounded(response, deadline)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise TransportError(  # type: ignore[no-untyped-call]
                f"{host}: {type(error).__name__} {readable(str(error), 120)}"
            ) from None
        if there := http_date(response.headers.get("date", "")):
            self.skew_s = (datetime.now(UTC) - there).total_seconds()
        if response.status_code == 429 or response.status_code >= 500:
            words = readable(data.decode("utf-8", "replace"), 120)
            raise TransportError(f"{host} answers {response.status_code}: {words}")  # type: ignore[no-untyped-call]
        return TokenAnswer(response.status_code, response.headers, data)


def _bounded(response: httpx.Response, deadline: float) -> bytes:
    from downloader.earthengine.libraries import httpx

    data = b""
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > _MAX_BYTES:
            raise ValueError("an endless answer")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer drips")
    return data
