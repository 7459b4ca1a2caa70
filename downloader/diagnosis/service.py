"""Ask the service single questions, up to a fixed number of requests."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from downloader.earthengine import error_table
from downloader.earthengine.names import asset_name
from downloader.earthengine.timeouts import Timeouts
from downloader.errors import Action, Cause, FetchProblem, TileError
from downloader.job.template import SCENE as QUICKSTART

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.earthengine.client import EarthEngine
    from downloader.earthengine.transport import Reply


SCENE: Final = asset_name(QUICKSTART)
"""The image of the API's quickstart, which everybody may read."""

PIXEL: Final[dict[str, Any]] = {
    "affineTransform": {"scaleX": 10, "translateX": 499980, "scaleY": -10, "translateY": 4200000},
    "dimensions": {"width": 1, "height": 1},
}
"""The scene's first pixel."""

MOST: Final = 14
"""Requests at most; one more is kept for an access token."""

_PATIENCE: Final = Timeouts(first_byte_s=30.0, body_s=60.0)
_MAX_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one request."""

    reply: Reply | None
    """None where no answer came, or none was asked for."""
    problem: FetchProblem | None
    """None for status 200."""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether it has status 200."""
        return self.problem is None

    @property
    def body(self) -> bytes:
        """What came; empty where nothing did."""
        return b"" if self.reply is None else bytes(self.reply.body)

    @property
    def kind(self) -> str:
        """Its content type."""
        return "" if self.reply is None else self.reply.headers.get("content-type", "")


@dataclass(slots=True)
class Inquiry:
    """Counts requests, and makes no more than `MOST`: nothing is tried twice."""

    client: EarthEngine
    asked: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of all answers that are worth telling: name → value."""

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        base: str | None = None,
    ) -> Answer:
        """One request, and what became of it; never raises for what the service or the network do.

        Args:
            method: GET or POST.
            path: resource name, with `:method` where one is meant; or a whole URL.
            body: sent as JSON.
            params: query parameters.
            base: base URL; the standard one by default.
        """
        if self.asked >= MOST:
            return Answer(
                None, FetchProblem(Action.FAIL_TILE, Cause.NOT_ASKED, "not asked: enough for today")
            )
        self.asked += 1
        client, began = self.client, time.perf_counter()
        url = path if "://" in path else client.url(base or client.standard, path, params=params)
        try:
            reply = await client.ask(method, url, body=body, max_bytes=_MAX_BYTES, timeouts=_PATIENCE)
        except TileError as error:
            return Answer(None, error.problem, time.perf_counter() - began)
        seconds = time.perf_counter() - began
        self.headers.update(
            {
                name: str(reply.headers[name])[:100]
                for name in reply.headers
                if name.startswith(("x-earth-engine-", "retry-after", "server-timing"))
            }
        )
        return Answer(reply, None if reply.status == 200 else error_table.failed(reply), seconds)
