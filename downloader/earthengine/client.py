"""Call the service with credentials, project and time-outs, and check answers against the error table."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from downloader.earthengine import error_table
from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.auth.tokens import TokenSource, resolve_project
from downloader.earthengine.names import HIGH_VOLUME, STANDARD, base_url
from downloader.earthengine.timeouts import COMPUTE_S, Timeouts
from downloader.earthengine.transport import Reply, Transport
from downloader.earthengine.wire_error import WireError
from downloader.errors import Action, Cause, FetchProblem, JobError, TileError
from downloader.flow.clock import MonotonicClock
from downloader.flow.retry import RetryPolicy, Tries, repeat
from downloader.job.service_settings import is_this_machine

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable

    from downloader.protocols import Clock, Limiter


T = TypeVar("T")

_VERSION: Final = "v1"
_MAX_DOCUMENT_BYTES: Final = 64 * 2**20
"""Longest catalogue document or page of a listing that is read."""

_MAX_PARTS: Final = 1_500_000, 4_000_000
"""Objects and lists, and commas, of one document: read into Python they take up to 60 times the bytes of their text."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")

_METADATA: Final = Timeouts(first_byte_s=60.0, body_s=120.0)

_LONG_URL: Final = 2048
"""A longer GET is sent as a POST that names it, as the official client does (docs/contract.md §1.2)."""

_JSON: Final = {"content-type": "application/json"}
_FORM: Final = {"content-type": "application/x-www-form-urlencoded", "x-http-method-override": "GET"}

_RETRIES: Final = 7
"""Calls for one document after the first, at most."""

_CANCELLED: Final = FetchProblem(Action.RETRY, Cause.CANCELLED, "given up on this side")


@dataclass(frozen=True, slots=True)
class Access:
    """Addresses, credentials and bounds of the service: plain values that other processes can use as well.

    Key files are named, never read: each process that opens a client reads its own.
    """

    auth: AuthSettings
    standard: str = STANDARD
    """Base URL for metadata and computed pixels."""
    high_volume: str = HIGH_VOLUME
    """Base URL for pixels of assets."""
    project: str | None = None
    """The Cloud project that pays; None for the one that the environment or the credentials name."""
    concurrency: int = 40
    """Requests under way at once, at most."""
    first_byte_s: float = 90.0
    """Seconds that a pixel request waits for the answer's head."""
    workload_tag: str | None = None
    """Labels pixel requests in the project's usage reports."""
    patience_s: float = 120.0
    """Seconds that a call which the job cannot do without is repeated."""

    def client(self) -> EarthEngine:
        """Return a client, to be entered by `async with`. Raises JobError where an address is not valid."""
        return EarthEngine(self)


class EarthEngine:
    """Earth Engine's REST API for one project. Safe to use from many tasks of one event loop.

    `async with EarthEngine(…) as service:` closes connections and token renewal at the end.
    """

    def __init__(self, access: Access, clock: Clock | None = None) -> None:
        """Make a client; nothing is read or sent before its block is entered.

        Args:
            access: addresses, credentials and bounds.
            clock: time; None for the machine's.

        Raises:
            JobError: a base URL that is not valid.
        """
        self.standard = base_url(access.standard)
        self.high_volume = base_url(access.high_volume)
        self.project = access.project
        """The project in use; settled when the block is entered."""
        self.timeouts = Timeouts(first_byte_s=access.first_byte_s)
        """Time-outs of pixel requests."""
        self.workload_tag = access.workload_tag
        self.restricted = False
        """Whether the service said that the project's parallelism is restricted (docs/contract.md §2.2)."""
        self.limiter: Limiter | None = None
        """Limiter of which each call of `call` and `persist` takes a turn; None for no limit."""
        self.headers: dict[str, str] = {}
        """The last value of each header of an answer that may tell of costs and quotas; names in lower case."""
        self.on_retry: Callable[[FetchProblem], object] = lambda _: None
        """Callback for each problem after which `call` and `persist` ask again."""
        self.metadata_calls = 0
        """Calls of `call` and `persist` that were made, repeats included: everything but pixels of tiles."""
        self._access = access
        self._clock: Clock = clock or MonotonicClock()
        self._policy = RetryPolicy(_RETRIES, access.patience_s)
        self._emulator: str | None = None

    async def __aenter__(self) -> Self:
        self._tokens = await TokenSource.open(self._access.auth, clock=self._clock)
        self.project = resolve_project(self.project, self._tokens.found)
        if self.project is None and self._tokens.found.is_user:
            raise JobError(
                f"service.project: none is known, and the service answers a person's credentials ({self.credentials_in_use}) "
                "only with one; set it to a Cloud project of yours that is registered for Earth Engine"
            )
        self._transport = Transport(clock=self._clock, connections=self._access.concurrency)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()
        await self._tokens.aclose()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines about the credentials that the user should see."""
        hosts = {
            parts.hostname or ""
            for parts in map(urlsplit, (self.standard, self.high_volume))
            if parts.scheme == "http" and not is_this_machine(parts.hostname or "")
        }
        if not hosts or self._tokens.found.issuer is None:
            return self._tokens.found.warnings
        open_line = f"access tokens go unencrypted to {min(hosts)}: give service.endpoint an https address"
        return (*self._tokens.found.warnings, open_line)

    @property
    def credentials_in_use(self) -> str:
        """Description of the credentials, such as `service account a@b.c (key file sa.json)`."""
        return self._tokens.found.description

    @property
    def token_calls(self) -> int:
        """Calls made for access tokens so far."""
        return self._tokens.calls

    @property
    def service_identity(self) -> str:
        """Identity of the service: `earthengine`, `emulator DATASET` or `host:NAME`; known from the first answer on."""
        if self._emulator is not None:
            return f"emulator {self._emulator}".rstrip()
        parts = urlsplit(self.high_volume)
        host = parts.hostname or ""
        return "earthengine" if host.endswith(".googleapis.com") else f"host:{parts.netloc}"

    def renewal(self) -> Task[None] | None:
        """Return the renewal of the access token to wait for before a request is sent, if there is one."""
        return self._tokens.renewal()

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        subject: str = "",
    ) -> dict[str, Any]:
        """Return a JSON document that the job needs; ask again, with growing waits, while that may help.

        Args:
            method: GET or POST.
            path: resource name, with `:method` where one is meant; percent-encoded here.
            params: query parameters.
            body: sent as JSON.
            subject: what messages say this was about.

        Raises:
            DownloadError: as the error table says: JobError, AuthenticationError, StoppedError.
        """
        url = self.url(self.standard, path, params)
        timeouts = _METADATA if body is None else replace(_METADATA, first_byte_s=COMPUTE_S)
        sent: Mapping[str, Any] | bytes | None = body
        headers = _JSON
        if method == "GET" and params and len(url) > _LONG_URL:
            method, url, headers = "POST", self.url(self.standard, path), _FORM
            sent = urlencode(params).encode()

        async def attempt() -> dict[str, Any]:
            reply = await self.exchange(
                method, url, body=sent, headers=headers, max_bytes=_MAX_DOCUMENT_BYTES, timeouts=timeouts
            )
            document = _parsed(bytes(reply.body))
            # An error in a document's place would read as a document whose members are all at their defaults.
            if document is None or isinstance(document.get("error"), dict):
                raise TileError(error_table.unusable(reply, "no JSON object"))
            return document

        return await self.persist(attempt, subject)

    def url(self, base: str, path: str, params: Mapping[str, str] | None = None) -> str:
        """Return the absolute URL of a resource, percent-encoded."""
        query = f"?{urlencode(params)}" if params else ""
        return f"{base}/{_VERSION}/{quote(path, safe='/:')}{query}"

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] = _JSON,
        max_bytes: int,
        timeouts: Timeouts,
    ) -> Reply:
        """Send one request and return its answer, which has status 200. Nothing is repeated here.

        Args:
            method: GET or POST.
            url: absolute.
            body: sent as JSON, or JSON itself.
            headers: of the request, if it has a body.
            max_bytes: ceiling for the answer's body.
            timeouts: what it may take.

        Raises:
            TileError: anything else came, or nothing; its problem says what to do.
        """
        token = await self._tokens.token()
        content = json.dumps(body, separators=(",", ":")).encode() if isinstance(body, Mapping) else body
        sent = {} if content is None else dict(headers)
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        if self.project is not None:
            sent["x-goog-user-project"] = self.project
        try:
            reply = await self._transport.send(
                method, url, headers=sent, content=content, max_bytes=max_bytes, timeouts=timeouts
            )
        except WireError as error:
            raise TileError(error_table.lost(error)) from error
        self._note(reply.headers)
        if token is not None and reply.status < 500 and reply.status != 401:
            self._tokens.accepted(token)
        if reply.status == 200:
            return reply
        problem = error_table.failed(reply)
        if reply.status == 401 and token is not None:
            problem = self._tokens.refused(token, problem)
        raise TileError(problem)

    async def persist(self, attempt: Callable[[], Awaitable[T]], subject: str = "") -> T:
        """Return what `attempt` returns; repeat it, within bounds, while its `TileError` says that this may help.

        Each attempt takes a turn of the limiter.

        Args:
            attempt: sends one request.
            subject: what messages say this was about.

        Raises:
            DownloadError: the error that ends the job, where it never came.
        """
        rng = random.Random()  # noqa: S311  # jitter, no secret
        tries = Tries(self._policy, self._clock, rng, self.on_retry)
        try:
            return await repeat(partial(self._in_turn, attempt), tries.wait_after, self._clock)
        except TileError as error:
            raise error_table.ending(error.problem, subject) from error

    async def _in_turn(self, attempt: Callable[[], Awaitable[T]]) -> T:
        limiter = self.limiter
        if limiter is None:
            self.metadata_calls += 1
            return await attempt()
        ticket = await limiter.acquire()
        self.metadata_calls += 1
        problem: FetchProblem | None = _CANCELLED
        try:
            value = await attempt()
            problem = None
        except TileError as error:
            problem = error.problem
            raise
        finally:
            limiter.release(ticket, problem)
        return value

    def _note(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if name.startswith(("x-earth-engine-", "server-timing", "retry-after")):
                self.headers[name] = value[:100]
        emulator = headers.get("x-earth-engine-emulator")
        if emulator is not None:
            self._emulator = emulator.strip()[:100]
        if "parallelism_restricted=true" in headers.get("x-earth-engine-quota-status", ""):
            self.restricted = True
            if self.limiter is not None:
                self.limiter.restrict()


def _parsed(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`; None where it is none, or so dense that it would take too much memory."""
    containers, commas = body.count(b"[") + body.count(b"{"), body.count(b",")
    if containers > _MAX_PARTS[0] or commas > _MAX_PARTS[1]:
        return None
    try:
        document = json.loads(body)
        if _SURROGATE.search(body):
            # Half of a pair is text that cannot be written anywhere.
            whole = json.dumps(document, ensure_ascii=False).encode(errors="replace")
            document = json.loads(whole)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
