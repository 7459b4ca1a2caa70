"""Send single requests to the service, each once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from downloader.earthengine.documents import as_mapping
from downloader.earthengine.names import asset_name
from downloader.earthengine.timeouts import Timeouts
from downloader.errors import FetchProblem, TileError
from downloader.job.template import SCENE as QUICKSTART

if TYPE_CHECKING:
    from downloader.earthengine.client import EarthEngine


SCENE: Final = asset_name(QUICKSTART)
"""The image of the API's quickstart, which everybody may read."""

PIXEL: Final[dict[str, Any]] = {
    "affineTransform": {"scaleX": 10, "translateX": 499980, "scaleY": -10, "translateY": 4200000},
    "dimensions": {"width": 1, "height": 1},
}
"""The scene's first pixel."""

_PATIENCE: Final = Timeouts(first_byte_s=30.0, body_s=60.0)
_MAX_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one request."""

    problem: FetchProblem | None
    """None for status 200."""
    seconds: float
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Empty for another status, like the body."""

    @property
    def is_good(self) -> bool:
        """Whether it has status 200."""
        return self.problem is None

    @property
    def document(self) -> Mapping[str, Any]:
        """The JSON object of the body; empty where it is none."""
        try:
            return as_mapping(json.loads(self.body))
        except (ValueError, RecursionError):
            return {}


@dataclass(slots=True)
class Inquiry:
    """A client and the number of requests that it sent."""

    client: EarthEngine
    asked: int = 0

    async def ask(self, path: str, body: Mapping[str, Any] | None = None, base: str | None = None) -> Answer:
        """Send one request, without retries, and return its answer; failures of service or network are answers too.

        Args:
            path: resource name, with `:method` where one is meant; or a whole URL.
            body: sent as JSON by POST; None sends a GET.
            base: base URL; None for the standard one.
        """
        self.asked += 1
        client, began = self.client, time.perf_counter()
        url = path if "://" in path else client.url(base or client.standard, path)
        method = "GET" if body is None else "POST"
        try:
            reply = await client.exchange(method, url, body=body, max_bytes=_MAX_BYTES, timeouts=_PATIENCE)
        except TileError as error:
            return Answer(error.problem, time.perf_counter() - began)
        return Answer(None, time.perf_counter() - began, bytes(reply.body), reply.headers)
