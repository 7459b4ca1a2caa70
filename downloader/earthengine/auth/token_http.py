"""The HTTP that google-auth asks for, over aiohttp: its usual transport needs a package this project does without.

Blocking, as google-auth is; it runs in a worker thread. Every call is bounded in time and size.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from downloader.earthengine.redact import readable
from downloader.earthengine.transport import USER_AGENT
from downloader.model.time import http_date

if TYPE_CHECKING:
    from collections.abc import Mapping


CALL_S: Final = 15.0
"""Seconds for one call of a token endpoint, from connecting to its last byte."""

_MAX_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What `google.auth.transport.Response` describes."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def __repr__(self) -> str:
        return f"TokenAnswer({self.status}, {len(self.data)} bytes)"  # the bytes may be a token


class TokenRequest:
    """What `google.auth.transport.Request` describes.

    Failures that may pass (no connection, too slow, 429, 5xx) raise google-auth's `TransportError` at once:
    retries are its caller's, who waits on the loop's clock and not in a thread.
    """

    def __init__(self, call_s: float = CALL_S) -> None:
        self._call_s = call_s
        self.skew_s: float | None = None
        """How far this machine's clock is ahead of the last answerer's, in seconds; None before an answer."""

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
        from google.auth.exceptions import TransportError

        from downloader.earthengine.http import FOREIGN_ERRORS

        limit_s = min(timeout or self._call_s, self._call_s)
        try:
            # A loop of its own, as this thread has none; by `Runner`, which tools of notebooks leave as it is.
            with asyncio.Runner() as runner:
                answer = runner.run(_exchange(method, url, headers or {}, body, limit_s))
        except (*FOREIGN_ERRORS, ValueError) as error:
            raise TransportError(  # type: ignore[no-untyped-call]
                f"{_host(url)}: {type(error).__name__} {readable(str(error), 120)}"
            ) from None
        if there := http_date(answer.headers.get("date", "")):
            self.skew_s = (datetime.now(UTC) - there).total_seconds()
        if answer.status == 429 or answer.status >= 500:
            words = readable(answer.data.decode("utf-8", "replace"), 120)
            raise TransportError(f"{_host(url)} answers {answer.status}: {words}")  # type: ignore[no-untyped-call]
        return answer


async def _exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes | str | None, limit_s: float
) -> TokenAnswer:
    from downloader.earthengine.http import Client

    data = b""
    async with (
        asyncio.timeout(limit_s),
        aclosing(Client(1, USER_AGENT)) as client,
        client.request(method, url, headers=headers, content=body, connect_s=limit_s) as response,
    ):
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > _MAX_BYTES:
                raise ValueError("an endless answer")
    return TokenAnswer(response.status, response.headers, data)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or "the token endpoint"
